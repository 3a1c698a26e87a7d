"""Type and range of every key in configs/base.py: the one place that knows them.

What depends on more than one key, on a file or on the data is checked where it is used. Nothing here imports JAX, so
that a wrong value is told at once, for all stages, before anything is read or written.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from csst_jax.losses import LOSSES
from csst_jax.methods import METHODS
from csst_jax.models import zoo
from csst_jax.samplers import SAMPLERS
from csst_jax.schedules.crops import KINDS
from csst_jax.settings.kinds import (
    LESS_THAN_ALL,
    POSITIVE,
    SHARE,
    Kind,
    Number,
    Numbers,
    OneOf,
    Rules,
    Steps,
    Switch,
    Text,
    whole,
)
from csst_jax.settings.method_ranges import OWN_MODULES
from csst_jax.settings.sizes import OPEN
from csst_jax.streams import STRONG, WEAK
from csst_jax.train import OPTIMIZERS
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_collections import ConfigDict


def _open(low: int) -> Number:
    return whole(low, or_else=OPEN, meaning="a number that fits the data and the machine")


TRAINING: dict[str, Kind] = {
    "network": OneOf(zoo.NETWORKS),
    "lineage": Text(),
    "output_stride": OneOf((0, 8, 16)),
    "width": POSITIVE,
    "depth": POSITIVE,
    "pretrained": Text(),
    "dtype": OneOf(("float32", "bfloat16")),
    "remat": Switch(),
    "epochs": whole(0),
    "samples_per_epoch": _open(0),
    "crop_px": _open(1),
    "batch_size": _open(1),
    "accumulate": whole(1),
    "schedule.kind": OneOf(KINDS),
    "schedule.num_sizes": _open(1),
    "schedule.smallest_share": Number(0, 1, above=True),
    "schedule.stride": whole(1),
    "schedule.max_batch_factor": Number(1),
    "lr.base": POSITIVE,
    "lr.power": Number(0),
    "lr.per": OneOf(("epoch", "step")),
    "lr.batch_rule": OneOf(("none", "sqrt", "linear")),
    "lr.warmup_steps": whole(0),
    "nonfinite_steps": whole(0),
    "snapshots": whole(0),
    "optimizer.name": OneOf(OPTIMIZERS),
    "optimizer.sgd.momentum": LESS_THAN_ALL,
    "optimizer.sgd.weight_decay": Number(0),
    "optimizer.adamw.b1": LESS_THAN_ALL,
    "optimizer.adamw.b2": LESS_THAN_ALL,
    "optimizer.adamw.eps": POSITIVE,
    "optimizer.adamw.weight_decay": Number(0),
    "optimizer.rate_factors": Rules(),
    "optimizer.decay_factors": Rules(),
    "method.name": OneOf(METHODS),
    "method.real_and_pseudo.real_parts": whole(0),
    "method.real_and_pseudo.pseudo_parts": whole(0),
    "method.real_and_pseudo.real_view": OneOf((WEAK, STRONG)),
    "method.real_and_pseudo.pseudo_view": OneOf((WEAK, STRONG)),
    "method.real_and_pseudo.real_weight": Number(0),
    "method.real_and_pseudo.pseudo_weight": Number(0),
    "method.real_and_pseudo.real_ohem": Switch(),
    "method.real_and_pseudo.pseudo_ohem": Switch(),
    "method.real_and_pseudo.classmix": SHARE,
    "method.real_and_pseudo.cutmix": SHARE,
    "method.real_and_pseudo.cutout": SHARE,
    "method.mean_teacher.decay": LESS_THAN_ALL,
    "method.mean_teacher.confidence_threshold": LESS_THAN_ALL,
    "method.mean_teacher.weight": Number(0),
    "method.mean_teacher.ramp_up_steps": whole(0),
    "method.consistency.confidence_threshold": LESS_THAN_ALL,
    "method.consistency.weight": Number(0),
    "method.consistency.cutmix": SHARE,
    "method.unimatch.confidence_threshold": LESS_THAN_ALL,
    "method.unimatch.strong_weight": Number(0),
    "method.unimatch.feature_weight": Number(0),
    "method.unimatch.dropout": LESS_THAN_ALL,
    "method.unimatch.cutmix": SHARE,
    "method.unimatch_v2.decay": LESS_THAN_ALL,
    "method.unimatch_v2.confidence_threshold": LESS_THAN_ALL,
    "method.unimatch_v2.strong_weight": Number(0),
    "method.unimatch_v2.cutmix": SHARE,
    "method.cps.weight": Number(0),
    "method.cps.cutmix": SHARE,
    "method.model_regulariser.weight": Number(0),
    "method.model_regulariser.over_classes": OneOf(("mean", "sum")),
    **OWN_MODULES,
    "average_decay": LESS_THAN_ALL,
    "precise_bn_steps": whole(0),
    "loss.name": OneOf(LOSSES),
    "loss.ohem": Switch(),
    "loss.ohem_threshold": Number(0, 1, above=True),
    "loss.ohem_min_kept": SHARE,
    "loss.class_weights": Numbers(Number(0), none="1 for each"),
    "loss.aux_weight": Number(0, or_else=-1, meaning="the network's own"),
    "sampler.name": OneOf(SAMPLERS),
    "sampler.min_area_px": whole(0, or_else=-1, meaning="the data's own"),
    "sampler.pseudo_min_area_px": whole(0, or_else=-1, meaning="the data's own"),
    "sampler.real_share": Number(0, 1, or_else=-1, meaning="the union"),
    "sampler.class_uniform_tiles.tile_px": whole(1),
    "sampler.class_uniform_tiles.share": SHARE,
    "augment.scale_min": POSITIVE,
    "augment.scale_max": POSITIVE,
    "augment.flip": SHARE,
    "augment.jitter": SHARE,
    "augment.blur": SHARE,
    "augment.strong.jitter": SHARE,
    "augment.strong.jitter_share": SHARE,
    "augment.strong.grey": SHARE,
    "augment.strong.blur": SHARE,
}
"""Of `teacher` and `student`."""

PREDICTION: dict[str, Kind] = {
    "scales": Numbers(POSITIVE),
    "flip": Switch(),
    "window_px": whole(0),
    "window_overlap": LESS_THAN_ALL,
    "pad_px": whole(1),
}
"""Of `label` and `evaluate`."""

_DEVICES = whole(1, or_else=-1, meaning="all that are left")
ALL: dict[str, Kind] = {
    "seed": whole(0, 2**32 - 2),  # a student's is greater by its round's number; the device takes 32 bits
    "stages": Text(empty=False),
    "rounds": whole(1),
    "start_from": Text(),
    "finetune_teacher": Switch(),
    "data.dir": Text(),
    "data.train_split": Text(empty=False),
    "data.val_split": Text(empty=False),
    "data.labelled_ids": Text(),
    "data.more_labelled": Text(),
    "data.more_unlabelled": Text(),
    **{f"{stage}.{key}": kind for stage in ("teacher", "student") for key, kind in TRAINING.items()},
    "baseline.longer_by": OneOf(("epochs", "copies")),
    **{f"{section}.{key}": kind for section in ("label", "evaluate") for key, kind in PREDICTION.items()},
    "label.confidence_threshold": LESS_THAN_ALL,
    "label.class_portion": SHARE,
    "label.class_portion_growth": SHARE,
    "label.lower_of_two": Switch(),
    "label.void_missed": Switch(),
    "label.soft.k": whole(2, 128, or_else=0, meaning="hard labels"),
    "label.soft.bits": OneOf((2, 4, 8)),
    "label.reliable_share": LESS_THAN_ALL,
    "label.shard_size": whole(1),
    "evaluate.boundary_ratio": LESS_THAN_ALL,
    "evaluate.batch_size": whole(1),
    "evaluate.num_pictures": whole(0),
    "evaluate.every_epochs": whole(0, or_else=-1, meaning="a few scores per stage"),
    "evaluate.images_while_training": whole(1),
    "normalisation.mean": Numbers(SHARE, count=3),
    "normalisation.std": Numbers(Number(0, 1, above=True), count=3),
    "mesh.data": _DEVICES,
    "mesh.spatial": _DEVICES,
    "mesh.split_state": Switch(),
    "input.parallel_batches": whole(1),
    "input.prefetch": whole(0),
    "input.cache_mb": whole(0),
    "checkpoint.every_s": Number(0),
    "checkpoint.keep": whole(1),
    "log_every_steps": whole(1),
    "profile.steps": Steps(),
    "wandb.project": Text(),
    "compilation_cache_dir": Text(),
}
"""Every key of a run, but for the blocks of methods, samplers and optimizers whose `Settings` alone look at them."""

CHOICES = ("method", "sampler", "optimizer")
"""Sections of a stage that hold a `name` and a block for each name."""


def known_keys() -> dict[str, Any]:
    """Every key of configs/base.py, with its default."""
    return flattened(defaults())


def defaults() -> ConfigDict:
    """The configuration of configs/base.py."""
    from configs import base  # a configuration file starts from it

    return base.get_config()


def require_sound(config: Mapping[str, Any]) -> None:
    """Refuses a configuration with other keys than configs/base.py's, or with a value that makes no sense.

    Args:
      config: a `ConfigDict`, or nested dicts.

    Raises:
      CsstError: a line for each unknown or missing key, or for each value that is out of range or of another type: its
        full key, the value, and what is allowed.
    """
    values, known = flattened(config), known_keys()
    if unknown := values.keys() - known.keys():
        raise CsstError("\n".join(f"unknown configuration key {key!r}. {near(key)}" for key in sorted(unknown)))
    if missing := sorted(known.keys() - values.keys()):
        raise CsstError(
            f"the configuration lacks {len(missing)} keys, such as {missing[0]}; begin with "
            "`c = base.get_config()` of configs/base.py, which defines every key, and change what should differ."
        )
    wrong = [
        f"{key} is {value!r}; {ALL[key].words(value)}."
        for key, value in values.items()
        if key in ALL and not ALL[key].allows(value)
    ]
    for stage in ("teacher", "student"):
        low, high = (values[f"{stage}.augment.scale_{end}"] for end in ("min", "max"))
        if not wrong and low > high:
            wrong.append(
                f"{stage}.augment.scale_min is {low}, above {stage}.augment.scale_max, which is {high}; swap them."
            )
    if wrong:
        raise CsstError("\n".join(wrong))


def near(key: str) -> str:
    """The keys that an unknown one may stand for, in a sentence."""
    keys = known_keys()
    by_last = {known.rpartition(".")[2]: known for known in keys}
    found = difflib.get_close_matches(key, keys, n=3) or [
        by_last[last] for last in difflib.get_close_matches(key.rpartition(".")[2], by_last, n=3)
    ]
    hint = f"Near ones: {', '.join(found)}." if found else f"Known: {', '.join(keys)}."
    return f"{hint} configs/base.py explains every key."


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a configuration by dotted name."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= flattened(value, f"{prefix}{key}.") if hasattr(value, "items") else {prefix + key: value}
    return found
