"""What is refused before anything is trained, and what is only logged."""

import pytest

from csst_jax import pipeline
from csst_jax.data import readiness
from csst_jax.settings import resolve
from csst_jax.stages import experiment
from csst_jax.types import CsstError


@pytest.mark.parametrize(
    "change,message",
    [
        ({"data.dir": ""}, "data.dir is empty; set --config.data.dir=DIR"),
        ({"data.dir": "nowhere"}, "data set directory nowhere does not exist"),
        ({"data.train_split": "val"}, "the unlabelled pool is empty: all 3 images of split 'val'"),
        (
            {"data.train_split": "val", "stages": "teacher,evaluate", "teacher.method.name": "cps"},
            "the unlabelled pool is empty: .* or set teacher.method.name to supervised",
        ),
        (
            {"stages": "teacher,evaluate", "teacher.method.name": "real_and_pseudo", "teacher.batch_size": 16},
            "teacher: method.name=real_and_pseudo learns pseudo labels, and this stage has none; take supervised, or",
        ),
        (
            {"finetune_teacher": True, "student.method.name": "cps"},
            "student.method.name=cps trains two networks, and finetune_teacher gives both the teacher's weights",
        ),
        (
            {"stages": "teacher,evaluate", "teacher.method.name": "mean_teacher", "teacher.average_decay": 0.9},
            "teacher: method.name=mean_teacher predicts with an average of its own, .*It is 0.9; set it to 0",
        ),
        ({"data.val_split": "test"}, "no split 'test'; there are: train, val"),
        ({"stages": "teacher,studnet"}, "stages='teacher,studnet': give a comma-separated list of teacher, label"),
        (
            {"stages": "teacher,label,student,baseline", "baseline.longer_by": "copy"},
            "baseline.longer_by is 'copy'; give 'copies' or another one of: epochs",
        ),
        ({"stages": "teacher,baseline"}, "baseline trains for the student's number of steps; add student"),
        (
            {"teacher.network": "fastscnn"},
            "teacher.network is 'fastscnn'; give 'fast_scnn' or",
        ),
        ({"student.network": "fastscnn"}, "student.network is 'fastscnn'; give 'fast_scnn' or"),
        ({"teacher.epochs": 0}, "epochs=0 takes pretrained weights as they are; set pretrained=FILE"),
        ({"teacher.pretrained": "nowhere.safetensors"}, "there is no .*nowhere.safetensors"),
        ({"teacher.output_stride": 8}, "network 'toy' has no option output_stride; it has: "),
        ({"teacher.crop_px": 160}, r"crop_px=160 is larger than every training image \(the longest side is 128 px\)"),
        ({"student.crop_px": 160}, "crop_px=160 is larger than every training image"),
        (
            {"teacher.batch_size": 6},
            r"a global batch of 6 is not divisible by 8 = 8 \(devices",
        ),
        (
            {"student.batch_size": 6},
            r"a global batch of 6 is not divisible by 8 = 8 \(devices",
        ),
        ({"student.accumulate": 2}, r"divisible by 16 = 8 \(devices that share it\) x 2 \(micro-batches\) x 1 \(crops"),
        (
            {"stages": "student,evaluate", "student.method.name": "dst_cbc"},
            r"divisible by 64 = 8 .* x 1 \(micro-batches\) x 8 \(crops: 1 labelled, 7 unlabelled\)",
        ),
        ({"student.accumulate": 0}, "student.accumulate is 0; give a whole number of at least 1"),
        ({"mesh.data": 3}, "mesh.data=3 and mesh.spatial=1 do not make 8 devices"),
        ({"mesh.spatial": 2, "teacher.crop_px": 63}, "crop of 63 px is not divisible by mesh.spatial=2; set crop_px"),
        ({"mesh.spatial": 3}, "mesh.spatial=3 does not divide the 8 devices"),
        (
            {"teacher.dtype": "float16"},
            "teacher.dtype is 'float16'; give 'bfloat16' or another one of: float32, bfloat16",
        ),
        (
            {"teacher.sampler.name": "random"},
            "teacher.sampler.name is 'random'; give one of: centroid, class_uniform_tiles, uniform",
        ),
        (
            {"student.sampler.name": "class_uniform_tiles", "student.sampler.class_uniform_tiles.share": 1.5},
            "student.sampler.class_uniform_tiles.share is 1.5; give a number from 0 to 1",
        ),
        (
            {"student.sampler.real_share": 1.5},
            "student.sampler.real_share is 1.5; give a number from 0 to 1, or -1 for the union",
        ),
        (
            {"teacher.sampler.name": "class_uniform_tiles", "teacher.sampler.class_uniform_tiles.tile_px": 0},
            "teacher.sampler.class_uniform_tiles.tile_px is 0; give a whole number of at least 1",
        ),
        ({"student.method.name": "mean_techer"}, "student.method.name is 'mean_techer'; give 'mean_teacher' or"),
        ({"teacher.optimizer.rate_factors": (("^nowhere", 0.1),)}, "the rule '\\^nowhere' .* matches none of the"),
        (
            {"student.loss.class_weights": (1, 2)},
            r"student: loss.class_weights has 2 numbers, and .* has 4 classes; .* order: ground, box, post, sign\.",
        ),
        ({"teacher.lr.base": -0.1}, "teacher.lr.base is -0.1; give a number above 0"),
        ({"teacher.augment.scale_min": 3.0}, "teacher.augment.scale_min is 3.0, above teacher.augment.scale_max"),
        ({"label.shard_size": 0}, "label.shard_size is 0; give a whole number of at least 1"),
        ({"evaluate.scales": ()}, r"evaluate.scales is \(\); give one number or more"),
        (
            {"teacher.sampler.min_area_px": 10**6},
            "there is no centroid to sample: the masks .* lower sampler.min_area_px",
        ),
        ({"teacher.schedule.kind": "fast"}, "teacher.schedule.kind is 'fast'; give one of: constant, coarse2fine"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(config, tmp_path, no_training, change, message):
    config.update_from_flattened_dict(change)
    with pytest.raises(CsstError, match=message):
        pipeline.run(resolve.run(config), tmp_path)


def test_data_that_scores_would_be_wrong_on_is_refused_and_oddities_are_logged(
    config, tmp_path, no_training, monkeypatch, caplog
):
    config.data.val_split = "train"
    config.stages = "teacher"
    with pytest.raises(AssertionError, match="a stage was trained"):
        pipeline.run(resolve.run(config), tmp_path)
    assert "data: split 'train' is trained on and validated on" in caplog.text
    found = readiness.Findings(["a is wrong.", "b is wrong."], ["c is odd."])
    monkeypatch.setattr(experiment.readiness, "findings", lambda pool, validation: found)
    with pytest.raises(CsstError, match=r"a is wrong.\nb is wrong.\n`python -m csst_jax check` .* looks closer"):
        pipeline.run(resolve.run(config), tmp_path / "other")
    assert "data: c is odd." in caplog.text
