"""The page of a run, and the one that compares runs."""

import json
import shutil

import pytest

from csst_jax import report
from csst_jax.reporting import matrix
from csst_jax.types import CsstError
from tests.reporting import made_workdir
from tests.reporting.made_workdir import changed
from tests.reporting.written_page import head, read


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return made_workdir.whole(tmp_path_factory.mktemp("runs") / "mine")


@pytest.fixture(scope="module")
def page(finished):
    return read(report.write_report(finished))


def test_it_is_one_file_and_loads_nothing(finished, page):
    assert page.links and all(link.startswith("data:") for link in page.links)
    text = (finished / "report.html").read_text()
    assert "url(" not in text and "@import" not in text and "pygal.js" not in text
    assert str(finished.parent) not in text, "a path of this machine"
    assert "<Bus>" not in text and "&lt;Bus&gt;" in text


def test_it_begins_with_what_was_found_and_how_sure_that_is(page):
    words = " ".join(page.text.split())
    assert "The student reaches 65.6 % mIoU on 12 validation images; the teacher, trained on 3 masks alone" in words
    assert "points (95 % interval +" in words and "pseudo labels helped here." in words
    assert "Significantly better: " in words and "Significantly worse" not in words
    assert "Only 12 validation images" in words
    assert "No validation mask shows <Bus>. The mIoU says nothing about that." in words
    assert "Pseudo labels: The teacher never predicts <Bus>, which the masks show." in words


def test_of_very_few_images_nothing_is_sure(tmp_path, monkeypatch):
    monkeypatch.setattr(made_workdir, "NUM_IMAGES", 3)
    words = " ".join(read(report.write_report(made_workdir.whole(tmp_path / "mine"))).text.split())
    assert "Whether that is significant is unknown: 3 validation images are too few." in words
    assert (
        "Only 3 validation images: other images could give other scores. Trust no difference. Intervals need 8" in words
    )
    assert "Significantly" not in words and "pseudo labels helped" not in words


def test_sections(page):
    assert page.sections == ["stages", "scores", "gallery", "worst", "confusion", "curves", "labels", "draws", "data"]
    for words in (
        "trained on 3 masks",
        "in percent",
        "python -m csst_jax.main --workdir=<there>",
        "image2: Pole IoU 3 %",
        "among images that show enough of the class; 8 images at most. pictures/failures.png",
    ):
        assert words in page.text
    scores, matrix, labels, wall, compilations = page.tables
    assert scores[0] == ["class", "0 to 100 %", "teacher", "student", "gain over teacher", "95 % interval"]
    assert [row[0] for row in scores[1:]] == ["Sky", "Pole", "<Bus>", "mIoU", "pixel accuracy"]
    assert scores[3][2:] == ["–", "–", "–", "–"] and scores[1][4].startswith("+")
    assert len(matrix) == 4 and matrix[1] == ["Sky", "100", "", ""]
    assert labels[1] == ["Sky", "50.00", "60.00", "60.00", "97.0", "90.0", "70.0"]
    assert wall[1][:2] == ["teacher", "1 min 40 s"] and wall[-1][:2] == ["total", "22 min 30 s"]
    assert compilations[1] == ["teacher", "1", "64", "16", "19.5", "3.5", "150.0"]


def test_it_grows_with_the_run(tmp_path):
    workdir = tmp_path / "run"
    made_workdir.begun(workdir)
    assert "Nothing is evaluated yet" in read(report.write_report(workdir)).text
    made_workdir.network(workdir, "teacher", 0.7)
    shutil.rmtree(workdir / "teacher" / "evaluation")
    (workdir / "teacher" / "DONE").unlink()
    found = read(report.write_report(workdir))
    assert "in training: step 40 of 40" in found.text and "curves" in found.sections
    made_workdir.network(workdir, "teacher", 0.7)
    assert "There is no student yet" in read(report.write_report(workdir)).text


def test_a_workdir_of_an_earlier_version(tmp_path):
    """It has results.json and contact sheets alone."""
    result = {"miou": 0.45, "iou": {"Sky": 0.9, "Pole": 0.0}, "network": "fast_scnn", "steps": 1200}
    made_workdir.put(tmp_path / "results.json", {"teacher": result, "student": {**result, "miou": 0.501}})
    found = read(report.write_report(tmp_path))
    assert (
        "Whether that is significant is unknown: not every evaluation kept counts" in found.text
        and "+5.1 points" in found.text
    )
    assert [row[2:4] for row in found.tables[0][1:]] == [["90.0", "90.0"], ["0.0", "0.0"], ["45.0", "50.1"]]


@pytest.mark.parametrize(("content", "message"), [("{", "not valid JSON"), ("[]", "holds a list, not an object")])
def test_bad_results(tmp_path, content, message):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(CsstError, match=f"results.json.*{message}"):
        report.write_report(tmp_path)


def test_damaged_counts_are_named(tmp_path):
    workdir = made_workdir.whole(tmp_path / "run")
    counts = workdir / "student" / "evaluation" / "images.npz"
    whole = counts.read_bytes()
    for damaged in (b"PK nothing", b"", whole[:-40], whole[:100] + whole[140:]):
        counts.write_bytes(damaged)
        with pytest.raises(CsstError, match=r"images\.npz is damaged .*; delete the directory"):
            report.write_report(workdir)


def test_pictures_that_are_damaged_or_gone_are_left_out(tmp_path):
    workdir = made_workdir.whole(tmp_path / "run")
    (workdir / "pictures" / "gallery" / "normal_00_truth.png").unlink()
    sheet = workdir / "pictures" / "validation.png"
    sheet.write_bytes(b"x")
    assert "worst" in read(report.write_report(workdir)).sections


def test_validation_images_are_those_that_were_scored(tmp_path):
    """The data set has got more of them since the run began, and `evaluation` was made again."""
    workdir = made_workdir.whole(tmp_path / "run")
    for name in ("teacher", "student"):
        changed(workdir / name / "evaluation" / "DONE", images=60)
    words = head(workdir)
    assert "on 60 validation images" in words and "Only " not in words


def test_a_run_without_a_student_does_not_wait_for_one(tmp_path):
    workdir = tmp_path / "run"
    made_workdir.begun(workdir)
    made_workdir.network(workdir, "teacher", 0.7)
    made_workdir.put(workdir / "config.json", {"stages": "teacher, evaluate"})
    found = read(report.write_report(workdir))
    assert "This run has no student." in found.text and "not begun" not in found.text and "not made" not in found.text


def test_stages_may_have_scored_different_numbers_of_images_while_training(tmp_path):
    workdir = made_workdir.whole(tmp_path / "run")
    assert "Scores while training are of 2 validation images, always" in read(report.write_report(workdir)).text
    changed(workdir / "student" / "while_training" / "scores.json", images=["a", "b", "c"])
    assert "of a few validation images (teacher 2, student 3), always" in read(report.write_report(workdir)).text


def test_of_many_classes_the_confusion_shows_numbers_when_one_points_at_it(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix, "_WITH_NUMBERS", 2)
    path = report.write_report(made_workdir.whole(tmp_path / "run"))
    assert 'title="Sky as Sky: 100 %"' in path.read_text(encoding="utf-8")
    assert read(path).tables[1][1] == ["Sky", "", "", ""]


def test_command(tmp_path, finished, capsys):
    assert report.main([f"--workdir={tmp_path}"]) == 2
    assert "is no workdir of a run" in capsys.readouterr().err
    (tmp_path / "study.json").write_text("{}")
    assert report.main([f"--workdir={tmp_path}"]) == 2
    assert f"is the workdir of a study. Its page is {tmp_path / 'study.md'}" in capsys.readouterr().err
    (finished / "report.html").unlink(missing_ok=True)
    assert report.main([f"--workdir={finished}"]) == 0
    assert capsys.readouterr().out.strip() == str(finished / "report.html") and (finished / "report.html").is_file()


def test_several_workdirs_make_one_page(tmp_path, capsys):
    one = made_workdir.whole(tmp_path / "one")
    two = made_workdir.whole(tmp_path / "two", student=0.6)
    made_workdir.put(two / "config.json", {"stages": "teacher,label,student,evaluate", "seed": 1})
    assert report.main([f"--workdir={one}, {two}"]) == 0
    path = tmp_path / "comparison.html"
    assert capsys.readouterr().out.strip() == str(path)
    found = read(path)
    assert "one has the highest mIoU" in found.text and "seed: 0 in one, 1 in two" in found.text
    assert found.tables[0][1][:3] == ["one", "3", "321"] and found.tables[0][2][6].startswith("−")
    assert all(link.startswith("data:") for link in found.links)
    assert report.main([f"--workdir={one}", f"--workdir={one}"]) == 2
    assert "given twice" in capsys.readouterr().err
    scores = json.loads((two / "student" / "evaluation" / "DONE").read_text())
    scores["iou"] = {"Sea": 0.5}
    for name in ("teacher", "student"):
        made_workdir.put(two / name / "evaluation" / "DONE", scores)
    assert report.main([f"--workdir={one}", f"--workdir={two}"]) == 2
    assert "other classes" in capsys.readouterr().err
