"""docs/paper.md: it is what its command writes, has every row, and counts operations as it says."""

import json

import pytest

from benchmarks import paper_page
from csst_jax.models.counting import counted


def test_the_page_is_current_and_has_a_line_for_every_row():
    text = paper_page.page()
    assert paper_page.PAGE.read_text(encoding="utf-8") == text, paper_page.COMMAND
    lines = [line for line in text.splitlines() if line.startswith("| ") and "`--config=`" not in line]
    rows = [row for table in paper_page.TABLES for row in paper_page.module(table).ROWS.values()]
    assert len(lines) - len(paper_page.TABLES) == len(rows)
    assert sum("| – | – |" in line for line in lines) == sum(row.make is None for row in rows) > 0


def test_operations_are_those_of_crops_labels_and_evaluation():
    c = paper_page.config("table4", "constant")
    per_px = counted()[c.teacher.network]["gflop"] * 1e9 / (1024 * 2048)
    trained = 180 * 800**2 * 16 * (-(-2975 // 16) + -(-(2975 + 39_997) // 16))
    labelled = 19_997 * 1024 * 2048 + 20_000 * 8_000_000
    judged = 2 * 500 * 1024 * 2048
    assert paper_page.operations(c) == pytest.approx(per_px * (3 * trained + labelled + judged))
    c = paper_page.config("table2", "consistency")
    trained = 3.5 * paper_page.crops.pixels(paper_page.phases(c.teacher, 2975 + 39_997))
    assert paper_page.operations(c) == pytest.approx(per_px * (trained + judged / 2))
    # The full chip for an hour.
    assert paper_page.chip_hours(197e12 * 3600 * paper_page.UTILISATION) == pytest.approx(1)


def test_a_trained_teacher_saves_its_training_and_views_are_counted():
    with_teacher = paper_page.config("table3", "bisenet_csst")
    given = paper_page.module("table3").get_config("row=bisenet_csst,trained=runs/t/teacher")
    saved = paper_page.operations(with_teacher) - paper_page.operations(given)
    alone = paper_page.operations(paper_page.config("table1", "teacher_cs"))
    assert saved == pytest.approx(alone - 500 * paper_page._per_px(given.teacher.network) * 1024 * 2048)
    assert paper_page._views(paper_page.config("table8", "csst").evaluate) == pytest.approx(5.25 * 2 * 2.25)


def test_a_kept_result_takes_the_place_of_the_estimate(tmp_path, monkeypatch):
    monkeypatch.setattr(paper_page, "LOGS", tmp_path)
    assert paper_page.ours("table3", "icnet").startswith("not run: needs ")
    (tmp_path / "paper-table3-icnet.json").write_text(json.dumps({"teacher": {"miou": 0.7012}}))
    assert paper_page.ours("table3", "icnet") == "70.1"
    both = {"teacher": {"miou": 0.5}, "student": {"miou": 0.6}}
    (tmp_path / "paper-table3-icnet.json").write_text(json.dumps(both))
    assert paper_page.ours("table3", "icnet") == "60.0"
    assert paper_page.ours("table8", "pspnet") == "quoted from its own paper"


def test_the_command_writes_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paper_page, "PAGE", tmp_path / "paper.md")
    monkeypatch.setattr(paper_page, "page", lambda: "a page\n")
    assert paper_page.main([]) == 0
    assert (tmp_path / "paper.md").read_text(encoding="utf-8") == "a page\n"
    assert "wrote" in capsys.readouterr().out
