"""Tables, chart and JSON of made-up scores, whose means and deviations are known."""

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from csst_jax.studying import chart, engine, page, results
from csst_jax.studying.arms import Arm
from csst_jax.studying.results import Spread
from tests.studying import grid
from tests.studying.grid import Made

SCORES = {"alone": (0.50, 0.52), "student": (0.54, 0.60), "one stage": (0.51, 0.51)}


def made(directory, own=None, skip=()):
    """The study's runs, of which some were not finished."""
    own = own or grid.study()
    runs = grid.runs(directory, own)
    start = Made(lambda run: None if run.name in skip else SCORES[run.arm.name][run.seed])
    engine.run_all(runs, 1, lambda: None, start=start, look_every_s=0.0)
    return own, runs


def test_rows_have_mean_deviation_and_gains_seed_by_seed(tmp_path):
    own, runs = made(tmp_path)
    alone, student, one = results.rows(own, runs)
    assert [row.name for row in (alone, student, one)] == ["alone", "student", "one stage"]
    assert student.miou.mean == pytest.approx(0.57)
    assert student.miou.deviation == pytest.approx(0.03 * 2**0.5), "of two values: their distance over root two"
    assert student.gain.mean == pytest.approx(0.06) and (student.better, student.gain.count) == (2, 2)
    assert one.gain.mean == pytest.approx(0.0) and one.better == 1
    assert alone.gain is None
    assert student.iou["pole"].mean == pytest.approx(0.47)
    assert (student.steps.mean, student.steps_before.mean, one.steps_before.mean) == (500, 500, 0)
    assert student.training_s.mean == 60 and alone.total_s.mean == 64
    assert student.total_s.mean == 60 * 3 + 2, "teacher, labels, student, and its half of the evaluation"
    assert student.label_bytes.mean == 2**20 and alone.label_bytes.mean is None
    assert student.memory_bytes.mean == 2**23


def test_a_run_in_rounds_counts_all_of_them(tmp_path):
    _, runs = made(tmp_path)
    path = runs[1].workdir / "results.json"
    found = json.loads(path.read_text())
    found["rounds"] = [{"student": {"steps": 300}}, {"student": {"steps": 500}}]
    found["wall_s"] |= {"rounds/1/pseudo_labels": 10.0, "rounds/1/student": 30.0, "evaluate": 6.0}
    path.write_text(json.dumps(found))
    (runs[1].workdir / "rounds/1/pseudo_labels").mkdir(parents=True)
    (runs[1].workdir / "rounds/1/pseudo_labels/labels-0").write_bytes(bytes(2**20))
    score = results._score(found, "student", runs[1].workdir)
    assert (score.steps, score.steps_before, score.training_s) == (500, 500 + 300, 60)
    assert score.total_s == 60 * 3 + 40 + 4, "both students' share of the evaluation of three networks"
    assert score.label_bytes == 2**21


def test_soft_labels_are_files_of_labels(tmp_path):
    (tmp_path / "pseudo_labels").mkdir()
    for name, size in (("labels-00000-of-00001.array_record", 3), ("soft-00000-of-00001.array_record", 40)):
        (tmp_path / "pseudo_labels" / name).write_bytes(bytes(size))
    assert results._bytes(tmp_path) == 43


def test_gains_are_of_seeds_that_both_have(tmp_path):
    own, runs = made(tmp_path, skip=("alone, seed 1", "one stage, seed 0", "one stage, seed 1"))
    alone, student = results.rows(own, runs)
    assert student.miou.count == 2 and student.gain == Spread(pytest.approx(0.04), None, 1) and student.better == 1
    assert alone.miou.deviation is None


def test_an_arm_may_show_several_networks(tmp_path):
    arms = (Arm("alone", networks=("teacher", "student")), Arm("student"))
    own, runs = made(tmp_path, grid.study(arms=arms, reference=""))
    assert [row.name for row in results.rows(own, runs)] == ["alone: teacher", "alone: student", "student"]


def test_the_page_has_what_a_reader_needs(tmp_path):
    own, runs = made(tmp_path, skip=("one stage, seed 1",))
    page.write(own, runs, tmp_path)
    text = (tmp_path / "study.md").read_text(encoding="utf-8")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    header, rows = cells[0], {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[2:5]}
    assert header[1:5] == ["mIoU", "seeds", "− alone", "better in"]
    assert rows["student"]["mIoU"] == "57.0 ± 4.2" and rows["student"]["− alone"] == "+6.0 ± 2.8"
    assert rows["one stage"]["− alone"] == "+1.0"
    assert rows["student"]["better in"] == "2 of 2" and rows["student"]["labels, MiB"] == "1.00"
    assert rows["one stage"]["mIoU"] == "51.0" and rows["one stage"]["before"] == "–"
    assert ["pole", "41.0 ± 1.4", "47.0 ± 4.2", "41.0"] in cells
    assert ["student", "54.0", "60.0"] in cells and ["one stage", "51.0", "–"] in cells
    assert f"* one stage, seed 1: `{runs[-1].workdir / 'output.txt'}`" in text
    assert text.count("    python -m csst_jax.main --config=base") == 6 and "* jax: " in text
    kept = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    assert kept["rows"][1]["miou"]["mean"] == pytest.approx(0.57) and kept["missing"] == ["one stage, seed 1"]


def test_names_are_neither_columns_nor_html():
    assert page.table_of(["", "<unk>"], [["a|b", "1"]]).splitlines()[::2] == [
        "|      | \\<unk> |",
        "| a\\|b |      1 |",
    ]


def test_finished_runs_that_the_last_command_did_not_choose_are_named(tmp_path):
    own, runs = made(tmp_path)
    assert page.left_out(runs, tmp_path) == ""
    page.write(own, [run for run in runs if run.seed == 0 or run.arm.name == "student"], tmp_path)
    text = (tmp_path / "study.md").read_text(encoding="utf-8")
    assert "not in these tables, as the last command did not choose them: `alone-1`, `one_stage-1`." in text


def test_a_study_of_which_nothing_is_finished_has_a_page(tmp_path):
    own, runs = grid.study(), grid.runs(tmp_path)
    assert page.write(own, runs, tmp_path) == []
    assert "No run is finished." in (tmp_path / "study.md").read_text(encoding="utf-8")
    assert not (tmp_path / "study.svg").exists()


def test_the_chart_has_a_dot_for_each_seed_in_the_order_of_the_scores(tmp_path):
    own, runs = made(tmp_path)
    svg = ElementTree.fromstring(chart.dots(results.rows(own, runs), "a < b"))
    places = {dot[0].text: float(dot.get("cx")) for dot in svg.iter("{http://www.w3.org/2000/svg}circle")}
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}circle"))) == 6
    ordered = sorted(places, key=lambda words: float(words.partition(": ")[2]))
    assert sorted(places.values()) == [places[words] for words in ordered]
    width = float(svg.get("width"))
    assert all(0 < x < width for x in places.values())
    assert svg[0].text == "a < b"


@pytest.mark.parametrize("low,high", [(50.0, 50.0), (0.0, 0.1), (99.9, 100.0), (12.0, 73.0), (50.1, 50.4)])
def test_ticks_are_round_and_cover_the_range(low, high):
    ticks = chart.round_ticks(low, high)
    assert ticks[0] <= low and ticks[-1] >= high and 2 <= len(ticks) <= 9
    assert all(re.fullmatch(r"-?\d+(\.\d{1,2})?", f"{tick:g}") for tick in ticks)


def test_percent_has_a_true_minus_and_no_negative_zero():
    assert page._percent(Spread(-0.0123, 0.01, 2), sign=True) == "−1.2 ± 1.0"
    assert page._percent(Spread(-0.0001, None, 1), sign=True) == "+0.0"
    assert page._percent(Spread(None, None, 0)) == "–"


def test_names_with_bars_leave_the_table_whole():
    header, rule, row = page.table_of(["", "a|b"], [["c|d", "1"]]).splitlines()
    assert "a\\|b" in header and "c\\|d" in row and rule.count("|") == 3
