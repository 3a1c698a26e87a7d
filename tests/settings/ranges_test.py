"""Every key of configs/base.py is looked at before a run begins."""

import math
import re

import pytest

from configs import base
from csst_jax.models import zoo
from csst_jax.schedules import learning_rate
from csst_jax.settings import ranges, resolve
from csst_jax.train import OPTIMIZERS
from csst_jax.types import CsstError
from tests.settings.method_values import OWN_MODULES

NAN, INF = math.nan, math.inf
FINITE = (NAN, INF, "1", None)
COUNT = (0, -1, 1.5, True)
SIZE = (-1, 0.5, False)
SHARE = (-0.1, 1.1, NAN, "half")
LESS = (-0.1, 1.0, NAN)
NOT_NEGATIVE = (-1e-9, *FINITE)
POSITIVE = (0.0, -1.0, *FINITE)
SWITCH = (1, 0, "yes")
TEXT = (3, "two\nlines", None)
NAME = ("nonsense", "", 1)
RULES = ((("(", 1.0),), (("a", -1.0),), ("a",), (("a", NAN),), "a")

# -1 leaves a size open.
OPEN_SIZE, OPEN_COUNT = ([value for value in values if value != -1] + [-2] for values in (SIZE, COUNT))

TRAINING = {
    "network": NAME,
    "lineage": TEXT,
    "output_stride": (4, 7, -8, "8"),
    "width": POSITIVE,
    "depth": POSITIVE,
    "pretrained": TEXT,
    "dtype": ("float16", "", 32),
    "remat": SWITCH,
    "epochs": SIZE,
    "samples_per_epoch": OPEN_SIZE,
    "crop_px": OPEN_COUNT,
    "batch_size": OPEN_COUNT,
    "accumulate": COUNT,
    "schedule.kind": NAME,
    "schedule.num_sizes": OPEN_COUNT,
    "schedule.smallest_share": (0.0, 1.1, NAN),
    "schedule.stride": COUNT,
    "schedule.max_batch_factor": (0, 0.5, NAN),
    "snapshots": SIZE,
    "lr.base": POSITIVE,
    "lr.power": NOT_NEGATIVE,
    "lr.per": NAME,
    "lr.batch_rule": NAME,
    "lr.warmup_steps": SIZE,
    "nonfinite_steps": SIZE,
    "optimizer.name": NAME,
    "optimizer.sgd.momentum": LESS,
    "optimizer.sgd.weight_decay": NOT_NEGATIVE,
    "optimizer.adamw.b1": LESS,
    "optimizer.adamw.b2": LESS,
    "optimizer.adamw.eps": POSITIVE,
    "optimizer.adamw.weight_decay": NOT_NEGATIVE,
    "optimizer.rate_factors": RULES,
    "optimizer.decay_factors": RULES,
    "method.name": NAME,
    "method.real_and_pseudo.real_parts": SIZE,
    "method.real_and_pseudo.pseudo_parts": SIZE,
    "method.real_and_pseudo.real_view": NAME,
    "method.real_and_pseudo.pseudo_view": NAME,
    "method.real_and_pseudo.real_weight": NOT_NEGATIVE,
    "method.real_and_pseudo.pseudo_weight": NOT_NEGATIVE,
    "method.real_and_pseudo.real_ohem": SWITCH,
    "method.real_and_pseudo.pseudo_ohem": SWITCH,
    "method.real_and_pseudo.classmix": SHARE,
    "method.real_and_pseudo.cutmix": SHARE,
    "method.real_and_pseudo.cutout": SHARE,
    "method.mean_teacher.decay": LESS,
    "method.mean_teacher.confidence_threshold": LESS,
    "method.mean_teacher.weight": NOT_NEGATIVE,
    "method.mean_teacher.ramp_up_steps": SIZE,
    "method.consistency.confidence_threshold": LESS,
    "method.consistency.weight": NOT_NEGATIVE,
    "method.consistency.cutmix": SHARE,
    "method.unimatch.confidence_threshold": LESS,
    "method.unimatch.strong_weight": NOT_NEGATIVE,
    "method.unimatch.feature_weight": NOT_NEGATIVE,
    "method.unimatch.dropout": LESS,
    "method.unimatch.cutmix": SHARE,
    "method.unimatch_v2.decay": LESS,
    "method.unimatch_v2.confidence_threshold": LESS,
    "method.unimatch_v2.strong_weight": NOT_NEGATIVE,
    "method.unimatch_v2.cutmix": SHARE,
    "method.cps.weight": NOT_NEGATIVE,
    "method.cps.cutmix": SHARE,
    "method.model_regulariser.weight": NOT_NEGATIVE,
    "method.model_regulariser.over_classes": NAME,
    **OWN_MODULES,
    "average_decay": LESS,
    "precise_bn_steps": SIZE,
    "loss.name": NAME,
    "loss.ohem": SWITCH,
    "loss.ohem_threshold": (0.0, 1.1, NAN),
    "loss.ohem_min_kept": SHARE,
    "loss.class_weights": ((-1.0,), ("road",), 1.0, (NAN,), (1.0, INF)),
    "loss.aux_weight": (-0.5, -2.0, NAN),
    "sampler.name": NAME,
    "sampler.min_area_px": (-2, 0.5, False),
    "sampler.pseudo_min_area_px": (-2, 0.5, False),
    "sampler.real_share": (-0.5, 1.1, NAN),
    "sampler.class_uniform_tiles.tile_px": COUNT,
    "sampler.class_uniform_tiles.share": SHARE,
    "augment.scale_min": (*POSITIVE, 3.0),  # above scale_max
    "augment.scale_max": (*POSITIVE, 0.1),
    "augment.flip": SHARE,
    "augment.jitter": SHARE,
    "augment.blur": SHARE,
    "augment.strong.jitter": SHARE,
    "augment.strong.jitter_share": SHARE,
    "augment.strong.grey": SHARE,
    "augment.strong.blur": SHARE,
}
PREDICTION = {
    "scales": ((), (0.0,), (-1.0,), ("big",), 1.0, (NAN,), (1.0, INF)),
    "flip": SWITCH,
    "window_px": SIZE,
    "window_overlap": LESS,
    "pad_px": COUNT,
}
WRONG = {
    "seed": (-1, 2**32 - 1, 0.5, True),
    "stages": (*TEXT, "", "teacher,nonsense", "baseline"),
    "rounds": COUNT,
    "start_from": TEXT,
    "finetune_teacher": SWITCH,
    "data.dir": TEXT,
    "data.train_split": (*TEXT, "", " "),
    "data.val_split": (*TEXT, ""),
    "data.labelled_ids": TEXT,
    "data.more_labelled": TEXT,
    "data.more_unlabelled": TEXT,
    **{f"{stage}.{key}": wrong for stage in ("teacher", "student") for key, wrong in TRAINING.items()},
    "baseline.longer_by": NAME,
    **{f"{section}.{key}": wrong for section in ("label", "evaluate") for key, wrong in PREDICTION.items()},
    "label.confidence_threshold": LESS,
    "label.class_portion": SHARE,
    "label.class_portion_growth": SHARE,
    "label.lower_of_two": SWITCH,
    "label.void_missed": SWITCH,
    "label.soft.k": (1, -1, 129, 2.5, True),
    "label.soft.bits": (0, 3, 16, "8"),
    "label.reliable_share": LESS,
    "label.shard_size": COUNT,
    "evaluate.boundary_ratio": LESS,
    "evaluate.batch_size": COUNT,
    "evaluate.num_pictures": SIZE,
    "evaluate.every_epochs": (-2, 0.5, True),
    "evaluate.images_while_training": COUNT,
    "normalisation.mean": ((0.5,), (0.5,) * 4, (0.5, 0.5, 124.0), (0.5, 0.5, NAN), 0.5),
    "normalisation.std": ((0.5,), (0.5, 0.5, 0.0), (58.0,) * 3, (0.5, 0.5, "a")),
    "mesh.data": (0, -2, 1.5),
    "mesh.spatial": (0, -2, 1.5),
    "mesh.split_state": SWITCH,
    "input.parallel_batches": COUNT,
    "input.prefetch": SIZE,
    "input.cache_mb": SIZE,
    "checkpoint.every_s": NOT_NEGATIVE,
    "checkpoint.keep": COUNT,
    "log_every_steps": COUNT,
    "profile.steps": ((5,), (0, 4), (5, 4), (1.5, 2), 5),
    "wandb.project": TEXT,
    "compilation_cache_dir": TEXT,
}
KEYS = sorted(ranges.flattened(base.get_config()))


def configured(key, value):
    config = base.get_config()
    with config.unlocked(), config.ignore_type():
        config.update_from_flattened_dict({key: value})
    return config


def test_every_key_has_a_range_and_a_wrong_value_here():
    assert set(ranges.ALL) == set(WRONG) <= set(KEYS)
    others = [key.split(".") for key in KEYS if key not in ranges.ALL]
    assert all(len(key) == 4 and key[1] in ranges.CHOICES for key in others), "a key that nobody looks at"


@pytest.mark.parametrize("key", WRONG)
def test_wrong_values_are_refused_with_key_value_and_what_is_allowed(key):
    for value in WRONG[key]:
        with pytest.raises(CsstError) as refused:
            resolve.run(configured(key, value))
        said = str(refused.value)
        assert key in said and (str(value) in said or repr(value) in said)
        assert re.search(r"; (give|swap) |: give |; add ", said), said


def test_the_defaults_are_allowed():
    ranges.require_sound(base.get_config())


@pytest.mark.parametrize(
    "key,value",
    [
        ("teacher.epochs", 0),
        ("student.average_decay", 0.999),
        ("teacher.loss.aux_weight", -1),
        ("teacher.loss.class_weights", ()),
        ("teacher.loss.class_weights", (0, 0.5, 1)),
        ("teacher.loss.aux_weight", 0),
        ("teacher.sampler.real_share", 1),
        ("label.scales", [0.5, 1, 2]),
        ("profile.steps", (3, 3)),
        ("evaluate.every_epochs", 0),
        ("mesh.spatial", -1),
        ("teacher.optimizer.rate_factors", (("^backbone", 0),)),
        ("teacher.lineage", "mmseg"),
        ("compilation_cache_dir", ""),
        ("seed", 2**32 - 2),
    ],
)
def test_values_at_the_edges_are_allowed(key, value):
    ranges.require_sound(configured(key, value))


def test_all_wrong_values_are_told_at_once():
    config = configured("label.shard_size", 0)
    config.update_from_flattened_dict({"teacher.lr.base": -1.0})
    with pytest.raises(CsstError) as refused:
        resolve.run(config)
    assert str(refused.value).splitlines() == [
        "label.shard_size is 0; give a whole number of at least 1.",
        "teacher.lr.base is -1.0; give a number above 0.",
    ]


def test_the_nearest_name_is_told():
    with pytest.raises(
        CsstError, match="teacher.network is 'fast_scn'; give 'fast_scnn' or another one of: fast_scnn,"
    ):
        ranges.require_sound(configured("teacher.network", "fast_scn"))


def test_a_key_that_is_unknown_or_missing_is_told():
    with pytest.raises(CsstError, match="unknown configuration key 'teacher.epoch'. Near ones: teacher.epochs"):
        ranges.require_sound(configured("teacher.epoch", 3))
    config = base.get_config()
    del config.label["shard_size"]
    with pytest.raises(CsstError, match="lacks 1 keys, such as label.shard_size; begin with .*base.get_config"):
        resolve.run(config)


def test_names_are_those_that_are_known_elsewhere():
    assert set(ranges.TRAINING["optimizer.name"].known) == set(OPTIMIZERS)
    assert set(ranges.TRAINING["lr.batch_rule"].known) == set(learning_rate.BATCH_RULES)
    assert ranges.TRAINING["network"].known is zoo.NETWORKS
