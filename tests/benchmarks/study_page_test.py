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
        "command": ["/usr/python", f"{workdir}/runs/a-0", "--config.data.dir=/home/x/data/camvid"],
        "versions": {},
    }
    (runs[0].workdir / "run.json").write_text(json.dumps(noted))
    page.write(own, runs, workdir)
    (results / "logs").mkdir(parents=True)
    (results / "logs" / "study-mine-notes.txt").write_text("It works.\n")
    assert study_page.main(words) == 0
    text = (results / "mine.md").read_text(encoding="utf-8")
    assert text.startswith("# A study\n\nWritten by ") and "\n\nIt works.\n\n" in text and "| a " in text
    assert "](mine.svg)" in text and "](mine-curves.svg)" in text and str(tmp_path) not in text
    assert {path.name for path in results.iterdir()} == {"mine.md", "mine.svg", "mine-curves.svg", "logs"}
    log = json.loads((results / "logs" / "study-mine.json").read_text(encoding="utf-8"))
    assert log["runs"]["a, seed 0"] == {
        "command": ["python", "runs/mine/runs/a-0", "--config.data.dir=data/camvid"],
        "versions": {},
    }


def test_rows_join_those_that_are_kept_if_both_agree(tmp_path, monkeypatch, capsys):
    results = tmp_path / "results"

    def left(name, scores):
        own = grid.study(arms=tuple(Arm(arm) for arm in scores), reference="alone", seeds=(0,))
        runs = grid.runs(tmp_path / name, own)
        for run, miou in zip(runs, scores.values(), strict=True):
            run.workdir.mkdir(parents=True)
            grid.leave(run, miou)
            noted = {"asked": {}, "command": ["python", str(run.workdir)], "versions": {}}
            (run.workdir / "run.json").write_text(json.dumps(noted))
        page.write(own, runs, tmp_path / name)
        return [f"--workdir={tmp_path / name}", "--name=mine", f"--results={results}"]

    whole = grid.study(arms=tuple(map(Arm, ("alone", "between", "last"))), reference="alone", seeds=(0,))
    monkeypatch.setattr(study_page.study_file, "load", lambda _: whole)
    assert study_page.main(left("first", {"alone": 0.5, "last": 0.4})) == 0
    assert study_page.main([*left("second", {"alone": 0.5, "between": 0.6}), "--add"]) == 0
    text = (results / "mine.md").read_text(encoding="utf-8")
    named = [
        line.split("|")[1].strip() for line in text.partition("## IoU by class")[0].splitlines() if " 1 of 1 " in line
    ]
    assert named == ["between"] and "+10.0" in text and "−10.0" in text
    log = json.loads((results / "logs" / "study-mine.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in log["rows"]] == ["alone", "between", "last"]
    assert log["runs"].keys() == {"alone, seed 0", "between, seed 0", "last, seed 0"}
    assert study_page.main([*left("third", {"alone": 0.51, "between": 0.6}), "--add"]) == 2
    assert "alone, seed 0: 0.51 here and 0.5 in the log" in capsys.readouterr().err
