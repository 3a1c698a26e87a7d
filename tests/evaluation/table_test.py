"""The terminal table."""

from csst_jax.evaluation.table import format_table

TEACHER = {"miou": 0.45, "iou": {"Sky": 0.9, "Pole": 0.0, "Bus": None}}
STUDENT = {"miou": 0.501, "iou": {"Sky": 0.892, "Pole": 0.11, "Bus": None}}


def test_teacher_and_student():
    assert format_table({"teacher": TEACHER, "student": STUDENT, "wall_s": {}}).splitlines() == [
        "IoU %  teacher  student  student-teacher",
        "----------------------------------------",
        "Sky       90.0     89.2             -0.8",
        "Pole       0.0     11.0            +11.0",
        "Bus          -        -                -",
        "----------------------------------------",
        "mIoU      45.0     50.1             +5.1",
    ]


def test_baseline_stands_between():
    text = format_table({"student": STUDENT, "baseline": {"miou": 0.46, "iou": {"Sky": 0.9}}, "teacher": TEACHER})
    lines = text.splitlines()
    assert lines[0].split() == ["IoU", "%", "teacher", "baseline", "student", "student-teacher", "student-baseline"]
    assert lines[-1].split() == ["mIoU", "45.0", "46.0", "50.1", "+5.1", "+4.1"]
    assert lines[3].split() == ["Pole", "0.0", "-", "11.0", "+11.0", "-"]
    assert len({len(line) for line in lines}) == 1


def test_teacher_alone():
    assert format_table({"teacher": TEACHER}).splitlines()[-1].split() == ["mIoU", "45.0"]
