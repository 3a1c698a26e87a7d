"""docs/performance.md comes from the benchmarks' logs alone."""

import dataclasses
import json

import pytest

from benchmarks import performance
from csst_jax.types import CsstError

PRINTS = """import json, sys
print("| side | s |\\n| --- | --: |\\n| one | 2.0 |\\n")
print(json.dumps({"ratio": 2.0}) if "--json" in sys.argv else "no json")
sys.exit("--fail" in sys.argv)
"""


@pytest.fixture
def sections(monkeypatch, tmp_path):
    program = tmp_path / "prints.py"
    program.write_text(PRINTS)
    made = [
        dataclasses.replace(section, command=f"python {program} --json", text=f"About {section.name}.")
        for section in performance.SECTIONS[:2]
    ]
    monkeypatch.setattr(performance, "SECTIONS", made)
    return made


def test_what_is_recorded_is_what_the_page_shows(sections, tmp_path):
    logs = tmp_path / "logs"
    for section in sections:
        log = performance.record(section.name, logs=logs)
        command, machine, *printed, last = log.read_text().splitlines()
        assert command == section.command and "cores; Python 3." in machine and "; jax 0." in machine
        assert printed == ["| side | s |", "| --- | --: |", "| one | 2.0 |", ""]
        assert json.loads(last) == {"ratio": 2.0}
    text = performance.page(logs)
    assert text.count("| --- | --: |\n| one | 2.0 |\n\n`python ") == 2 and "ratio" not in text.split("##", 1)[1]
    for section in sections:
        assert f"## {section.title}\n\n{section.text}\n\n| side" in text
        assert f"[{section.name}.txt](results/logs/performance/{section.name}.txt)" in text


def test_what_was_not_measured_is_said_with_the_command_that_does(sections, tmp_path):
    performance.record(sections[0].name, logs=tmp_path)
    text = performance.page(tmp_path)
    assert text.count("Not measured yet") == 1
    assert text.endswith(f"Not measured yet: `python -m benchmarks.performance --record={sections[1].name}`.\n")


def test_rows_of_another_section_join_its_table(sections, tmp_path):
    sections[1] = dataclasses.replace(sections[1], rows_of=sections[0].name)
    performance.record(sections[0].name, logs=tmp_path)
    before = performance.page(tmp_path)
    assert f"{sections[1].title}: not measured yet" in before and before.count("| one | 2.0 |") == 1
    performance.record(sections[1].name, logs=tmp_path)
    text = performance.page(tmp_path)
    assert text.count("| --- | --: |\n| one | 2.0 |\n| one | 2.0 |\n\n`python ") == 1
    assert f"## {sections[1].title}" not in text and f"{sections[1].title}: [{sections[1].name}.txt]" in text


@pytest.mark.parametrize("flag,said", [("--json --fail", "ended with status 1"), ("", "no JSON in the last line")])
def test_a_run_that_failed_leaves_no_log(sections, tmp_path, flag, said):
    command = sections[0].command.replace("--json", flag)
    with pytest.raises(CsstError, match=said):
        performance.record(sections[0].name, command, tmp_path / "logs")
    assert not list((tmp_path / "logs").glob("*"))


def test_an_unknown_benchmark_lists_the_known(capsys):
    assert performance.main(["--record=schedul"]) == 2
    assert "known are: train_step, step_profile, schedule, schedule_cold, start" in capsys.readouterr().err


def test_the_committed_document_is_what_the_command_writes_from_the_committed_logs():
    if not performance.DOCUMENT.exists():
        pytest.skip("docs/performance.md is not written: some benchmark has no log yet")
    assert performance.DOCUMENT.read_text(encoding="utf-8") == performance.page(performance.LOGS)
