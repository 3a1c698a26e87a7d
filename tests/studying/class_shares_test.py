"""The table of classes in the crops, on a study's page."""

from csst_jax import command_line
from csst_jax.studying import arms, class_shares
from csst_jax.studying.arms import Arm, Study


def test_a_column_for_each_arm_that_trains_a_teacher_beside_its_masks(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(class_shares, "_CROPS", 20)
    common = {"data.dir": str(tiny_data), "teacher.crop_px": 32, "stages": "teacher,evaluate"}
    own = (
        Arm("uniform", common | {"teacher.sampler.name": "uniform"}),
        Arm("centroid", common),
        Arm("student alone", common | {"stages": "student,evaluate", "student.method.name": "mean_teacher"}),
        Arm("as it is", common | {"teacher.epochs": 0, "teacher.pretrained": "there.safetensors"}),
    )
    study = Study("s", "base", own, seeds=(0, 1))
    found = arms.runs(study, tmp_path, lambda chosen: command_line.with_overrides(chosen, []))
    class_shares.note(tmp_path, found)
    text = (tmp_path / "notes.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert rows[0] == ["", "masks", "uniform", "centroid"]
    shares = [[float(cell) for cell in row[1:]] for row in rows[2:]]
    assert len(shares) == 4 and all(abs(sum(column) - 100) < 0.1 for column in zip(*shares, strict=True))
    assert [row[2] for row in rows[2:]] != [row[3] for row in rows[2:]]


def test_a_study_without_teachers_has_no_table(tmp_path):
    class_shares.note(tmp_path, [])
    assert not (tmp_path / "notes.md").exists()
