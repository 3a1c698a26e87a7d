"""A study that is kept as a page of the documentation."""

import json

from benchmarks import study_page
from csst_jax.studying import page
from csst_jax.studying.arms import Arm, Point
from tests.studying import grid


def test_page_charts_and_log_name_no_place_of_the_machine(tmp_path, capsys):
    workdir, results = tmp_path / "w", tmp_path / "results"
    words = [f"--workdir={workdir}", "--name=mine", f"--results={results}"]
    assert study_page.main(words) == 2 and "run the study first" in capsys.readouterr().err
    own = grid.study(arms=(Arm("a", point=Point("c", "line", "1")),), reference="", seeds=(0,))
    runs = grid.runs(workdir, own)
    runs[0].workdir.mkdir(parents=True)
    grid.leave(runs[0], 0.5)
    noted = {
        "asked": {"data.labelled_ids": "/home/x"},
        "command": ["/usr/python", f"{workdir}/runs/a-0"],
        "versions": {},
    }
    (runs[0].workdir / "run.json").write_text(json.dumps(noted))
    page.write(own, runs, workdir)
    (tmp_path / "notes.txt").write_text("It works.\n")
    assert study_page.main([*words, f"--notes={tmp_path / 'notes.txt'}"]) == 0
    text = (results / "mine.md").read_text(encoding="utf-8")
    assert text.startswith("# A study\n\nWritten by ") and "\n\nIt works.\n\n" in text and "| a " in text
    assert "](mine.svg)" in text and "](mine-curves.svg)" in text and str(tmp_path) not in text
    assert {path.name for path in results.iterdir()} == {"mine.md", "mine.svg", "mine-curves.svg", "logs"}
    log = json.loads((results / "logs" / "study-mine.json").read_text(encoding="utf-8"))
    assert log["runs"]["a, seed 0"] == {"command": ["python", "runs/mine/runs/a-0"], "versions": {}}
