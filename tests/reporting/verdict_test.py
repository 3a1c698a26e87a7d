"""What the first lines of a report say, and what they keep to themselves."""

import json
import re

from csst_jax import report
from csst_jax.reporting import verdict
from tests.reporting import made_workdir
from tests.reporting.made_workdir import changed
from tests.reporting.written_page import head, read


def test_the_cause_of_a_difference_is_told_only_where_it_is_the_labels(tmp_path):
    workdir = made_workdir.whole(tmp_path / "run")
    done = json.loads((workdir / "teacher" / "DONE").read_text())
    made_workdir.put(workdir / "teacher" / "DONE", {**done, "network": "pspnet_resnet101"})
    words = " ".join(read(report.write_report(workdir)).text.split())
    assert "a significant difference on these images." in words and "pseudo labels helped" not in words
    assert "masks alone" not in words


def test_a_student_that_saw_more_pixels_is_not_better_by_its_labels(tmp_path):
    workdir = made_workdir.whole(tmp_path / "run")
    changed(workdir / "student" / "plan.json", epochs=[[20, 64, 32], [20, 128, 8]])
    words = head(workdir)
    assert "a significant difference on these images. The student trained on 2 times as many pixels" in words
    assert "pseudo labels helped" not in words
    (workdir / "student" / "plan.json").unlink()
    assert "pseudo labels helped" not in head(workdir), "nobody knows"


def test_a_teacher_that_learned_from_other_images_saw_no_masks_alone(tmp_path):
    workdir = made_workdir.whole(tmp_path / "run")
    changed(workdir / "teacher" / "plan.json", images={"real": 3, "unlabelled": 321})
    words = head(workdir)
    assert "alone" not in words and "pseudo labels helped" not in words and "significant difference" in words


def test_scores_by_other_masks_are_not_compared(tmp_path):
    """Of the same images, after their masks were corrected or made at another size."""
    found, workdir = made_workdir.counts(0.8), made_workdir.whole(tmp_path / "run")
    found[:, 1] += 7
    made_workdir.put_counts(workdir / "student" / "evaluation" / "images.npz", found)
    assert "scored with different masks of these images" in head(workdir)
    one, page = made_workdir.whole(tmp_path / "one"), tmp_path / "comparison.html"
    report.write_comparison([one, workdir], str(page))
    assert "different masks of the same images: scores cannot be compared" in read(page).text


def test_means_of_different_classes_are_not_compared(tmp_path):
    """The teacher alone predicts a class that no mask shows: its mean has a 0 that the student's has not."""
    workdir = made_workdir.whole(tmp_path / "run")
    gain = re.search(r"That is (\S+ points)", head(workdir))[1]
    done = workdir / "teacher" / "evaluation" / "DONE"
    scores = json.loads(done.read_text())
    changed(done, iou={**scores["iou"], "<Bus>": 0.0}, miou=scores["miou"] * 2 / 3)
    words = head(workdir)
    assert "the two means are of different classes. No mask shows <Bus>, and only one of the networks" in words
    assert f"Over the other classes it is {gain}." in words and "pseudo labels helped" not in words
    mean = next(row for row in read(workdir / "report.html").tables[0] if row[0] == "mIoU")
    assert mean[-2:] == ["–", "–"] and "<Bus>" not in (workdir / "report.html").read_text(encoding="utf-8")
    other, page = made_workdir.whole(tmp_path / "other"), tmp_path / "comparison.html"
    changed(other / "student" / "evaluation" / "DONE", iou={**scores["iou"], "<Bus>": 0.0})
    report.write_comparison([workdir, other], str(page))
    assert [row[-2:] for row in read(page).tables[0][1:]] == [["–", "–"]] * 2


def test_the_head_names_a_few_classes_and_none_that_is_equal(tmp_path, monkeypatch):
    monkeypatch.setattr(verdict, "_MOST_CLASSES", 1)
    workdir = made_workdir.whole(tmp_path / "run")
    words = head(workdir)
    assert words.count("Significantly better: ") == 1 and " and 1 more in the table." in words
    iou = json.loads((workdir / "student" / "evaluation" / "DONE").read_text())["iou"]
    for name in ("teacher", "student"):
        changed(workdir / name / "evaluation" / "DONE", iou={**iou, "Sky": 0.5001 if name == "student" else 0.5})
    assert "Sky" not in head(workdir) and "−0.0" not in head(workdir)
    assert '<td class="n unsure">+0.0</td>' in (workdir / "report.html").read_text(encoding="utf-8")
