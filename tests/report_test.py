"""The HTML report of a run."""

import html.parser
import json

import pytest

from csst_jax import report
from csst_jax.types import CsstError

RESULTS = {
    "teacher": {"miou": 0.45, "iou": {"Sky": 0.9, "Pole": 0.0, "<Bus>": None}, "network": "fast_scnn", "steps": 1200},
    "student": {
        "miou": 0.501,
        "iou": {"Sky": 0.89, "Pole": 0.112, "<Bus>": None},
        "network": "fast_scnn",
        "steps": 4800,
    },
    "pseudo_labels": {
        "images": 321,
        "class_share": {"Sky": 0.6, "Pole": 0.0031, "<Bus>": 0.0},
        "mean_confidence": {"Sky": 0.97, "Pole": 0.4, "<Bus>": None},
        "ignored_share": 0.0,
    },
    "compilations": {
        "teacher": {
            "count": 2,
            "phases": [
                {"crop_px": 128, "global_batch": 32, "seconds": 19.46, "flops": 3.5e9, "memory_bytes": 2**20 * 150},
                {"crop_px": 256, "global_batch": 8, "seconds": 7.0, "flops": None, "memory_bytes": None},
            ],
        },
        "evaluate": {"count": 1, "phases": []},
    },
    "wall_s": {"teacher": 100.0, "label": 50.0, "student": 1250.0},
}


class Page(html.parser.HTMLParser):
    """Tables as lists of rows of cell texts, links, and a check that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.links, self.open = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


def write(workdir, results):
    workdir.mkdir(exist_ok=True)
    (workdir / "results.json").write_text(json.dumps(results))
    return report.write_report(workdir)


def test_report(tmp_path):
    workdir = tmp_path / "run"
    for name in ("pictures/a&b.png", "pictures/a.png", "pseudo_labels/contact_sheet.png", "pictures/notes.txt"):
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).write_bytes(b"")
    path = write(workdir, RESULTS)
    assert path == workdir / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    scores, pseudo, compilations, wall = page.tables
    assert [row[:4] for row in scores] == [
        ["class", "teacher", "student", "student − teacher"],
        ["Sky", "90.0", "89.0", "-1.0"],
        ["Pole", "0.0", "11.2", "+11.2"],
        ["<Bus>", "–", "–", "–"],
        ["mIoU", "45.0", "50.1", "+5.1"],
    ]
    assert [row[:3] for row in pseudo[1:]] == [
        ["Sky", "60.00", "97.0"],
        ["Pole", "0.31", "40.0"],
        ["<Bus>", "0.00", "–"],
    ]
    assert compilations[1:] == [
        ["teacher", "2", "128", "32", "19.5", "3.5", "150.0"],
        ["", "", "256", "8", "7.0", "–", "–"],
        ["evaluate", "1", "–", "–", "–", "–", "–"],
    ]
    assert [row[:2] for row in wall[1:]] == [
        ["teacher", "100.0"],
        ["label", "50.0"],
        ["student", "1,250.0"],
        ["total", "1,400.0"],
    ]
    assert sorted(set(page.links)) == ["pictures/a&b.png", "pictures/a.png", "pseudo_labels/contact_sheet.png"]
    assert not [p for p in workdir.iterdir() if p.name.endswith(".tmp")]
    assert str(tmp_path) not in path.read_text()


def test_baseline_and_missing_parts(tmp_path):
    with_baseline = Page(write(tmp_path / "a", {**RESULTS, "baseline": RESULTS["teacher"]}).read_text())
    assert with_baseline.tables[0][0][:6] == [
        "class",
        "teacher",
        "baseline",
        "student",
        "student − teacher",
        "student − baseline",
    ]
    teacher_only = Page(write(tmp_path / "b", {"teacher": RESULTS["teacher"]}).read_text())
    assert len(teacher_only.tables) == 1 and teacher_only.tables[0][-1][:2] == ["mIoU", "45.0"]
    assert not Page(write(tmp_path / "c", {}).read_text()).tables


@pytest.mark.parametrize(("content", "message"), [("{", "not valid JSON"), ("[]", "holds a list, not an object")])
def test_bad_results(tmp_path, content, message):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(CsstError, match=f"results.json.*{message}"):
        report.write_report(tmp_path)


def test_command(tmp_path, capsys):
    assert report.main([f"--workdir={tmp_path}"]) == 2
    assert "results.json does not exist; run the pipeline" in capsys.readouterr().err
    write(tmp_path, RESULTS)
    (tmp_path / "report.html").unlink()
    assert report.main([f"--workdir={tmp_path}"]) == 0
    assert (tmp_path / "report.html").is_file()


def test_other_scores_stand_below_the_mean(tmp_path):
    both = {"pixel_accuracy": 0.9, "boundary_miou": 0.2}
    results = {name: RESULTS[name] | both for name in ("teacher", "student")}
    rows = Page(write(tmp_path / "run", results).read_text()).tables[0]
    assert [row[0] for row in rows[-3:]] == ["mIoU", "boundary mIoU", "pixel accuracy"]
    assert rows[-1][1:4] == ["90.0", "90.0", "+0.0"] and rows[-2][1] == "20.0"
