"""From a configuration to a run's settings: with `command_line`, the only reader of ConfigDict.

Every value is checked here, for all stages, before anything is read or written: alone by `ranges`, together with others
by what is made of it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from csst_jax import registry
from csst_jax.data.augment import Photometry
from csst_jax.data.chosen import Data
from csst_jax.evaluation.whole_image import Averaging
from csst_jax.methods import METHODS
from csst_jax.models import zoo
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.weights import files, importing, pretrained
from csst_jax.samplers import SAMPLERS
from csst_jax.settings import ranges, rounds
from csst_jax.settings import run as runs
from csst_jax.settings import training as stages
from csst_jax.settings.training import RequestedSettings
from csst_jax.streams import STRONG, STRONG_2, WEAK
from csst_jax.train import OPTIMIZERS, optimizers
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

STAGES = ("teacher", "label", "student", "baseline", "evaluate")


def run(config: ConfigDict) -> runs.Run:
    """The settings of a run.

    Args:
      config: as `configs/base.py` defines it.

    Raises:
      CsstError: a value is out of range, unknown, or does not fit others; names its key.
    """
    ranges.require_sound(config)
    normalisation = Preprocessing(tuple(config.normalisation.mean), tuple(config.normalisation.std))
    teacher = _named("teacher", training, config.teacher, normalisation, _start(config, "teacher"))
    found = runs.Run(
        seed=config.seed,
        stages=frozenset(wanted_stages(config.stages)),
        rounds=config.rounds,
        start_from=config.start_from,
        data=data(config),
        teacher=teacher,
        student=_student(config, normalisation, teacher.network),
        finetune_teacher=config.finetune_teacher,
        longer_by=config.baseline.longer_by,
        label=labelling(config.label),
        evaluate=evaluation(config),
        mesh=mesh(config),
        input=runs.Input(**config.input.to_dict()),
        checkpoint_every_s=config.checkpoint.every_s,
        checkpoints_kept=config.checkpoint.keep,
        log_every_steps=config.log_every_steps,
        profile_steps=tuple(config.profile.steps),
        wandb_project=config.wandb.project,
    )
    rounds.require_sound(found)
    return found


def data(config: ConfigDict) -> Data:
    """Which images."""
    return Data(**config.data.to_dict())


def mesh(config: ConfigDict) -> runs.Mesh:
    """How devices share the work."""
    return runs.Mesh(**config.mesh.to_dict())


def labelling(block: ConfigDict) -> runs.Labelling:
    """How the pool is labelled."""
    counts = block.to_dict() if block.soft.k else _without(block.to_dict(), "soft")  # bits of nothing have no effect
    return runs.Labelling(
        _named("label", averaging, block),
        block.confidence_threshold,
        block.class_portion,
        block.class_portion_growth,
        block.lower_of_two,
        block.void_missed,
        block.reliable_share,
        block.shard_size,
        block.soft.k,
        block.soft.bits,
        requested(counts, ranges.defaults().label.to_dict()),
    )


def evaluation(config: ConfigDict) -> runs.Evaluation:
    """How networks are scored.

    Raises:
      CsstError: a value is out of range.
    """
    block = config.evaluate
    # These change no score.
    own = ("batch_size", "num_pictures", "every_epochs", "images_while_training")
    counts = _without(block.to_dict(), *own)
    return runs.Evaluation(
        _named("evaluate", averaging, block),
        block.boundary_ratio,
        block.batch_size,
        block.num_pictures,
        block.every_epochs,
        block.images_while_training,
        requested(counts, ranges.defaults().evaluate.to_dict()),
    )


def wanted_stages(text: str) -> set[str]:
    """The stages that `config.stages` lists.

    Raises:
      CsstError: an unknown stage, or one without the stage it needs.
    """
    wanted = {name.strip() for name in text.split(",") if name.strip()}
    unknown = sorted(wanted - set(STAGES))
    if unknown or not wanted:
        raise CsstError(f"stages={text!r}: give a comma-separated list of {', '.join(STAGES)}.")
    if "baseline" in wanted and "student" not in wanted:
        raise CsstError(f"stages={text!r}: baseline trains for the student's number of steps; add student.")
    return wanted


def _start(config: ConfigDict, stage: str) -> str:
    """The file that a stage trains on from; "" for none, and for a stage that is not asked for and is of another kind.

    Raises:
      CsstError: `start_from` has no network of the stage's kind.
    """
    if not config.start_from:
        return ""
    asked_for = stage in wanted_stages(config.stages)
    return _named(stage, pretrained.of_run, config.start_from, config[stage].network, asked_for)


def _student(config: ConfigDict, normalisation: Preprocessing, teacher: stages.NetworkChoice) -> stages.Training:
    """The settings of `config.student`, whose labels may be soft, and which may be the fine-tuned teacher.

    Raises:
      CsstError: as `training`; or it is to be the teacher, and its network is another one.
    """
    found = _named("student", training, config.student, normalisation, _start(config, "student"))
    found = dataclasses.replace(found, soft_k=config.label.soft.k)
    if not config.finetune_teacher:
        return found
    for key in ("network", "lineage", "output_stride", "width", "depth"):
        if config.student[key] != config.teacher[key]:
            raise CsstError(
                f"student.{key} is {config.student[key]!r}, and teacher.{key} is {config.teacher[key]!r}. With "
                "finetune_teacher the student is the teacher itself: give both the same."
            )
    own = found.network
    return dataclasses.replace(found, network=dataclasses.replace(teacher, dtype=own.dtype, remat=own.remat))


def training(stage: ConfigDict, normalisation: Preprocessing, start_from: str = "") -> stages.Training:
    """The settings of `config.teacher` or `config.student`.

    Args:
      stage: the block.
      normalisation: of networks without pretrained weights.
      start_from: a file that takes the place of the block's `pretrained`; empty for none.

    Raises:
      CsstError: as `run`.
    """
    c, augment, loss = stage, stage.augment, stage.loss
    strong = Photometry(**augment.strong.to_dict())
    schedule = {name: c[name] for name in ("epochs", "samples_per_epoch", "crop_px", "batch_size")}
    return stages.Training(
        network=network(stage, normalisation, start_from),
        crops=stages.CropSchedule(**schedule, **c.schedule.to_dict()),
        accumulate=c.accumulate,
        learning_rate=stages.LearningRate(**c.lr.to_dict()),
        optimizer=stages.Optimizer(
            registry.settings("optimizer", OPTIMIZERS, c.optimizer.name, _block(c.optimizer, c.optimizer.name)),
            *(tuple(optimizers.Rule(*pair) for pair in c.optimizer[key]) for key in ("rate_factors", "decay_factors")),
        ),
        method=stages.Choice(
            c.method.name, registry.settings("method", METHODS, c.method.name, _block(c.method, c.method.name))
        ),
        average_decay=c.average_decay,
        precise_bn_steps=c.precise_bn_steps,
        loss=stages.Loss(
            loss.name,
            tuple(loss.class_weights),
            loss.ohem,
            loss.ohem_threshold,
            loss.ohem_min_kept,
            None if loss.aux_weight < 0 else loss.aux_weight,
        ),
        sampling=stages.Sampling(
            sampler=sampler(c.sampler, c.sampler.name),
            min_area_px=None if c.sampler.min_area_px == -1 else c.sampler.min_area_px,
            pseudo_min_area_px=None if c.sampler.pseudo_min_area_px == -1 else c.sampler.pseudo_min_area_px,
            real_share=None if c.sampler.real_share == -1 else c.sampler.real_share,
            scale_range=(augment.scale_min, augment.scale_max),
        ),
        flip=augment.flip,
        views={WEAK: Photometry(augment.jitter, augment.blur), STRONG: strong, STRONG_2: strong},
        nonfinite_steps=c.nonfinite_steps,
        snapshots=c.snapshots,
        # The content of pretrained weights counts, not their place.
        request=requested(_without(c.to_dict(), "pretrained", "nonfinite_steps"), ranges.defaults().teacher.to_dict()),
    )


def network(stage: ConfigDict, normalisation: Preprocessing, start_from: str = "") -> stages.NetworkChoice:
    """Which network a stage trains; its name and options are looked up. For the arguments see `training`.

    Raises:
      CsstError: as `run`; or the pretrained weights are not there, or another network's.
    """
    # Options that only some networks have are left to the network, or to its weights, where nothing sets them.
    options: dict[str, Any] = {"lineage": stage.lineage} if stage.lineage else {}
    options |= {"output_stride": stage.output_stride} if stage.output_stride else {}
    options |= {"width": stage.width} if stage.width != 1 else {}
    options |= {"depth": stage.depth} if stage.depth != 1 else {}
    preprocessing, start = normalisation, start_from or stage.pretrained
    if start == importing.IMAGENET:
        zoo.builder(stage.network, 2, **options)
        start = importing.imagenet(stage.network, options)
    if start:
        options = pretrained.options(start, stage.network, options)
        preprocessing = files.describe(start).preprocessing
    zoo.builder(stage.network, 2, **options)  # refuses unknown names and options
    return stages.NetworkChoice(stage.network, options, stage.dtype, stage.remat, start, preprocessing)


def sampler(section: ConfigDict, name: str) -> stages.Choice:
    """The settings of a sampler, the chosen one or another."""
    return stages.Choice(name, registry.settings("sampler", SAMPLERS, name, _block(section, name)))


def averaging(block: ConfigDict) -> Averaging:
    """Over what `config.label` or `config.evaluate` averages."""
    return Averaging(tuple(block.scales), block.flip, block.window_px, block.window_overlap, block.pad_px)


def requested(block: Mapping[str, Any], default: Mapping[str, Any]) -> RequestedSettings:
    """A block as plain values, without what has no effect, and what of it differs from the defaults."""
    whole = copy.deepcopy(dict(block))
    for section in ranges.CHOICES:  # the blocks of other names have no effect
        if section in whole:
            chosen = whole[section]["name"]
            others = [k for k, v in whole[section].items() if isinstance(v, Mapping) and k != chosen]
            whole[section] = _without(whole[section], *others)
    return RequestedSettings(whole, _differing(whole, default))


def _differing(whole: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in whole.items():
        if isinstance(value, Mapping):
            inner = _differing(value, default.get(key, {}))
            found |= {key: inner} if inner else {}
        elif key not in default or value != default[key]:
            found[key] = value
    return found


def _named(section: str, make: Any, *arguments: Any) -> Any:
    """What `make` returns; its error names the section of the configuration."""
    try:
        return make(*arguments)
    except CsstError as error:
        raise CsstError(f"{section}: {error}") from error


def _block(section: ConfigDict, name: str) -> dict[str, Any]:
    """A name's own block; {} where it has none."""
    return section[name].to_dict() if name in section else {}


def _without(block: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key not in keys}
