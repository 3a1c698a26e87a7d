"""What report, status and results.json say of a run in rounds, from files alone."""

import json

import pytest

from csst_jax import report, status
from csst_jax.reporting import rounds
from tests.reporting import made_workdir

LABELS = {
    "teacher_sha256": "t", "labels_sha256": "l", "ignored_share": 0.25, "settings": {"class_portion": 0.2},
    "class_share": {"Sky": 0.6, "Pole": 0.3, "<Bus>": 0.1}, "images": 321,
}  # fmt: skip


@pytest.fixture
def workdir(tmp_path):
    """The first of two rounds is finished, the second one has its labels."""
    found = made_workdir.whole(tmp_path / "run")
    (found / "student").rename(found / "first")
    (found / "rounds").mkdir()
    (found / "rounds" / "1").mkdir()
    (found / "first").rename(found / "rounds" / "1" / "student")
    done = found / "rounds" / "1" / "student" / "DONE"
    done.write_text(json.dumps({**json.loads(done.read_text()), "weights_sha256": "w"}))
    made_workdir.put(found / "config.json", {"stages": "teacher,label,student,evaluate", "rounds": 2})
    for directory, share in (("rounds/1/pseudo_labels", 0.6), ("pseudo_labels", 0.5)):
        shares = {**LABELS["class_share"], "Sky": share}
        made_workdir.put(found / directory / "DONE", {**LABELS, "class_share": shares})
        made_workdir.put(found / directory / "parts" / "00000.json", {})
    made_workdir.put(found / "rounds/1/pseudo_labels/parts/reliability-00000.json", [])
    made_workdir.put(found / "rounds/1/pseudo_labels/reliability.json", {"a": 0.75, "b": 0.25})
    made_workdir.put(found / "pseudo_labels/change.json", {"changed": 0.125, "agreement": 0.9, "miou": 0.8})
    (found / "results.json").unlink()
    return found


def test_rounds_are_gathered_as_far_as_they_are(workdir):
    first, second = rounds.gathered(workdir, 2)
    assert (first["round"], first["mean_reliability"], first["labels"]["class_portion"]) == (1, 0.5, 0.2)
    assert first["student"]["steps"] == 40 and 0 < first["student"]["miou"] < 1 and "change" not in first
    assert second["change"]["changed"] == 0.125 and "student" not in second
    assert rounds.gathered(workdir, 1) == [], "one round has nothing to be compared with"
    assert rounds.lines([first, second])[1] == "round 2: mIoU – %; 12.5 % of the labels changed"


def test_the_report_has_a_row_for_each_round(workdir):
    text = report.write_report(workdir).read_text(encoding="utf-8")
    section = text.partition('<section id="rounds">')[2].partition("</section>")[0]
    assert section.count("12.5") == 1 and "60.00" in section and "50.00" in section and "&lt;Bus&gt;" in section
    made_workdir.put(workdir / "config.json", {"stages": "teacher,label,student,evaluate"})
    assert 'id="rounds"' not in report.write_report(workdir).read_text(encoding="utf-8")


def test_the_status_lists_every_round(workdir):
    found = status.status(workdir)["stages"]
    assert {name: stage["state"] for name, stage in found.items()} == {
        "teacher": "done", "rounds/1/pseudo_labels": "done", "rounds/1/student": "done", "pseudo_labels": "done",
        "student": "waiting", "evaluate": "waiting",
    }  # fmt: skip
    assert found["rounds/1/student"]["step"] == 40 and found["rounds/1/pseudo_labels"]["step"] == 1
    assert "rounds/1/pseudo_labels  done" in status.words(status.status(workdir))
