"""Charts are SVG without script, whose values show as tooltips."""

import xml.etree.ElementTree as ET

import pytest

from csst_jax.reporting import charts


def svg(figure):
    return ET.fromstring(figure[figure.index("<svg") : figure.index("</figure>")])


def test_curves():
    made = charts.lines("Loss", {"teacher": [(0, 2.0), (100, 0.5)], "student": []}, ["#111", "#222"])
    root = svg(made)
    titles = [node.text for node in root.iter() if node.tag.endswith("title")]
    assert any("0.5" in (title or "") for title in titles)
    assert "<script" not in made and "pygal.js" not in made
    assert root.get("viewBox") and made.startswith('<figure class="chart"><figcaption>Loss</figcaption>')


def test_bars():
    root = svg(charts.bars("Draws", ["Sky", "<Bus>"], {"a": [50.0, None], "b": [1.0, 2.0]}, ["#111", "#222"]))
    words = "".join(root.itertext())
    assert "<Bus>" in words and "50 %" in words


def test_a_curve_without_points_leaves_the_others_their_colours():
    made = charts.lines("Loss", {"begun": [], "other": [(0, 2.0), (100, 0.5)]}, ["#111111", "#222222"], legend=True)
    assert "#222222" in made and "#111111" not in made and "other" in "".join(svg(made).itertext())


def test_a_long_name_leaves_room_for_the_bars():
    words = "".join(svg(charts.bars("Draws", ["x" * 90, "y"], {"a": [50.0, 1.0]}, ["#111"])).itertext())
    assert "x" * 12 + "…" in words and "x" * 13 not in words


def test_what_is_not_finite_is_a_gap():
    infinite, nan = float("inf"), float("nan")
    made = charts.lines("Loss", {"teacher": [(0, nan), (20, infinite), (40, 0.5), (60, 0.4)]}, ["#111"])
    assert "inf" not in made.lower() and "0.5" in "".join(svg(made).itertext())
    assert "40 %" in "".join(svg(charts.bars("Draws", ["a", "b"], {"x": [nan, 40.0]}, ["#111"])).itertext())


def test_nothing_to_draw():
    assert charts.lines("Loss", {"teacher": []}, ["#111"]) == "" == charts.bars("Draws", [], {}, [])
    assert charts.lines("Loss", {"teacher": [(1, None)]}, ["#111"]) == ""


@pytest.mark.parametrize(
    "low,high,expected",
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 500, [0, 100, 200, 300, 400, 500]),
        (0.31, 0.39, [0.3, 0.32, 0.34, 0.36, 0.38, 0.4]),
    ],
)
def test_ticks_are_round_and_cover_the_values(low, high, expected):
    assert charts._ticks(low, high) == expected
    for top in (1e-7, 0.003, 17, 8192):
        ticks = charts._ticks(0, top)
        assert 3 <= len(ticks) <= 7 and ticks[0] <= 0 and ticks[-1] >= top
