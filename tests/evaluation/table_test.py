"""The terminal table."""

from csst_jax.evaluation.table import format_by_method, format_table

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


def test_means_of_different_classes_have_no_difference():
    """Bus is in no mask. The teacher predicts it and has a 0 in its mean, the student has not."""
    text = format_table({"teacher": {"miou": 0.3, "iou": {**TEACHER["iou"], "Bus": 0.0}}, "student": STUDENT})
    *_, mean, note = text.splitlines()
    assert mean.split() == ["mIoU", "30.0", "50.1", "-"]
    assert note.startswith("The mIoU of student and teacher are of different classes: no mask shows Bus, and one")


def test_teacher_alone():
    assert format_table({"teacher": TEACHER}).splitlines()[-1].split() == ["mIoU", "45.0"]


def scored(classes, value=0.5, boundary=True):
    of_classes = {name: None if name == "bus" else value + i / 100 for i, name in enumerate(classes)}
    found = {"miou": value, "iou": of_classes, "pixel_accuracy": 0.9, "frequency_weighted_iou": 0.8}
    return found | ({"boundary_iou": of_classes, "boundary_miou": 0.25} if boundary else {})


def test_methods_are_rows_and_classes_columns():
    results = {
        "teacher": scored(("road", "traffic light", "bus")),
        "student": scored(("road", "traffic light", "bus"), 0.6),
    }
    assert format_by_method(results).splitlines() == [
        "IoU %     road  tlight    bus   mIoU",
        "teacher   50.0    51.0      -   50.0",
        "student   60.0    61.0      -   60.0",
        "",
        "boundary IoU %   road  tlight    bus   mean",
        "teacher          50.0    51.0      -   25.0",
        "student          60.0    61.0      -   25.0",
        "",
        "all pixels %  accuracy  frequency-weighted IoU",
        "teacher           90.0                    80.0",
        "student           90.0                    80.0",
    ]
    assert "boundary" not in format_by_method({"student": scored(("road",), boundary=False)})


def test_many_classes_go_on_below_and_every_value_is_shown_once():
    classes = tuple(f"class{i}" for i in range(40))
    lines = format_by_method({"student": scored(classes, boundary=False)}).splitlines()
    headings = [line.split()[2:] for line in lines[:-3] if line.startswith("IoU")]
    assert len(headings) > 1 and [name for line in headings for name in line] == [*classes, "mIoU"]
    values = [v for line in lines[:-3] if line.startswith("student") for v in line.split()[1:]]
    assert values == [f"{50 + i:.1f}" for i in range(40)] + ["50.0"]
    assert max(map(len, lines)) <= 118


def test_short_names_that_are_not_unique_are_not_shortened():
    text = format_by_method({"student": scored(("construction flat", "construction fence"), boundary=False)})
    assert text.splitlines()[0].split()[2:] == ["cflat", "cfence", "mIoU"]
    text = format_by_method({"student": scored(("pedestrian", "pedestrians"), boundary=False)})
    assert text.splitlines()[0].split()[2:] == ["pedestrian", "pedestrians", "mIoU"]
