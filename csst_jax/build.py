"""From configuration to objects: the only reader of ConfigDict below the pipeline."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from csst_jax.data.augment import Augmentation
from csst_jax.data.joined import join, named_splits
from csst_jax.data.sampling import LabelledSource, Strategy, check_crop, make_sampler
from csst_jax.data.selection import Selection, images_alone, select
from csst_jax.data.stored import encoded
from csst_jax.data.stored.pseudo_labels import PseudoLabelled
from csst_jax.data.stored.store import DataSet
from csst_jax.evaluation.whole_image import Averaging, WholeImagePredictor
from csst_jax.methods.supervised import Supervised
from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.rematerialisation import rematerialised
from csst_jax.models.weights import files, pretrained
from csst_jax.precision import compute_dtype
from csst_jax.schedules import crops
from csst_jax.schedules.learning_rate import learning_rate
from csst_jax.train import sharding
from csst_jax.train.step import Recipe, sgd
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flax import nnx
    from ml_collections import ConfigDict

    from csst_jax.data.batches import Sampler
    from csst_jax.data.stored.centroid_index import CentroidIndex
    from csst_jax.types import Phase

# Of an auxiliary head's loss: PSPNet's and most code bases' since.
_AUX_WEIGHT = 0.4


def dataset(config: ConfigDict) -> DataSet:
    """The prepared data set that `data.dir` names."""
    if not config.data.dir:
        raise CsstError("data.dir is empty; set --config.data.dir=DIR to a prepared data set (see data_prep).")
    return DataSet.open(config.data.dir)


def training_selection(config: ConfigDict, data: DataSet) -> Selection:
    """The training split, divided into labelled and unlabelled images, and what the configuration joins to it."""
    own = select(data, config.data.train_split, config.data.labelled_ids)
    more = [select(*named, "") for named in named_splits(config.data.more_labelled, "data.more_labelled")]
    more += [images_alone(*named) for named in named_splits(config.data.more_unlabelled, "data.more_unlabelled")]
    return join([own, *more]) if more else own


def validation_selection(config: ConfigDict, data: DataSet) -> Selection:
    """The labelled images of the validation split."""
    return select(data, config.data.val_split, "")


def evaluation_selection(config: ConfigDict, data: DataSet) -> Selection:
    """The validation split, whether any image is labelled or not: a test split has no masks."""
    split = config.data.val_split
    if data.labelled_ids(split):
        return validation_selection(config, data)
    return Selection(data, split, (), tuple(range(len(data.ids(split)))))


def real_labels(selection: Selection, stage: ConfigDict) -> LabelledSource:
    """The labelled images as a source of crops; the index is checked against the labels."""
    index = selection.dataset.centroids(selection.split)
    return LabelledSource(selection.source, selection.labelled, index, stage.sampler.min_area_px)


def pseudo_labels(labelled: PseudoLabelled, index: CentroidIndex, stage: ConfigDict) -> LabelledSource:
    """Pseudo-labelled images as a source of crops."""
    return LabelledSource(labelled, range(len(labelled)), index, stage.sampler.pseudo_min_area_px)


def check_stage(
    stage: ConfigDict, selection: Selection, records: Sequence[int], num_classes: int, device_mesh: jax.sharding.Mesh
) -> None:
    """Refuses settings that a stage would stumble over, before the stages ahead of it take hours.

    Args:
      stage: its settings.
      selection: the training split.
      records: the images of the split that the stage trains on.
      num_classes: classes of the data set.
      device_mesh: the devices.

    Raises:
      CsstError: names the key or value and the mend.
    """
    _builder(stage, num_classes)
    if stage.epochs == 0:
        pretrained.check_complete(stage.pretrained, selection.dataset.description.classes)
        return
    planned = phases(stage, len(records), device_mesh)
    for phase in planned:
        sharding.check_divisible(phase.global_batch, phase.crop_px, device_mesh, stage.accumulate)
    _learning_rate(stage, planned)
    _strategy(stage)
    check_crop(stage.crop_px, [encoded.size(selection.source.label_bytes(record)) for record in records])


def sampler(stage: ConfigDict, sources: Sequence[LabelledSource], classes: Sequence[str]) -> Sampler:
    """Which crops an epoch takes (paper §3.2).

    Raises:
      CsstError: unknown sampler, or nothing to sample.
    """
    return make_sampler(_strategy(stage), sources, classes)


def _strategy(stage: ConfigDict) -> Strategy:
    c = stage.sampler
    return Strategy(c.name, None if c.real_share < 0 else c.real_share, c.tile_px, c.class_uniform_share)


def mesh(config: ConfigDict, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
    """The given devices, or all of all processes, as (`data`, `spatial`)."""
    return sharding.make_mesh(jax.devices() if devices is None else devices, config.mesh.spatial, config.mesh.data)


def phases(stage: ConfigDict, num_images: int, device_mesh: jax.sharding.Mesh) -> list[Phase]:
    """One phase an epoch (paper §3.3); none where a pretrained network is taken as it is."""
    if stage.epochs == 0:
        return []
    return crops.phases(
        stage.schedule.kind,
        stage.crop_px,
        stage.batch_size,
        stage.epochs,
        stage.samples_per_epoch or num_images,
        num_sizes=stage.schedule.num_sizes,
        stride=stage.schedule.stride,
        max_batch_factor=stage.schedule.max_batch_factor,
        batch_unit=batch_unit(stage, device_mesh),
    )


def batch_unit(stage: ConfigDict, device_mesh: jax.sharding.Mesh) -> int:
    """What every batch of a stage is a multiple of: each device takes as many crops of each micro-batch."""
    return device_mesh.shape[sharding.DATA] * max(1, stage.accumulate)


def lengthened(
    stage: ConfigDict, num_images: int, steps: int, device_mesh: jax.sharding.Mesh, longer_by: str
) -> ConfigDict:
    """The stage, so long that it takes about `steps` steps (the control of the paper's Table 1b).

    Args:
      stage: its settings.
      num_images: images that it trains on.
      steps: how many to take.
      device_mesh: the devices.
      longer_by: "epochs" for more of them; "copies" for as many, each with as many crops as it takes, so that all
        images are repeated within it equally often, as Table 1b duplicates the real labels.

    Raises:
      CsstError: `longer_by` is neither, or the stage does not train.
    """
    if longer_by not in ("epochs", "copies"):
        raise CsstError(f"baseline.longer_by={longer_by!r}; give epochs or copies.")
    if stage.epochs == 0:
        raise CsstError("baseline: a teacher of epochs=0 has no training to lengthen; leave baseline out of stages.")
    longer = stage.copy_and_resolve_references()

    def steps_with(samples_per_epoch: int) -> int:
        longer.samples_per_epoch = samples_per_epoch
        return sum(phase.steps for phase in phases(longer, num_images, device_mesh))

    if longer_by == "copies":
        most = steps * max(phase.global_batch for phase in phases(stage, num_images, device_mesh))
        longer.samples_per_epoch = 1 + bisect.bisect_left(range(1, most), steps, key=steps_with)
    else:
        own = sum(phase.steps for phase in phases(stage, num_images, device_mesh))
        longer.epochs = max(1, round(stage.epochs * steps / own))
    return longer


def learning_rates(stage: ConfigDict, planned: Sequence[Phase]) -> np.ndarray:
    """float32 [total steps]: the schedule at every step."""
    if not planned:
        return np.zeros(0, np.float32)
    at_step = _learning_rate(stage, planned)
    return np.asarray(jax.vmap(at_step)(jnp.arange(sum(phase.steps for phase in planned))))


def _learning_rate(stage: ConfigDict, planned: Sequence[Phase]) -> Callable[[jax.typing.ArrayLike], jax.Array]:
    return learning_rate(
        planned,
        base_lr=stage.lr.base,
        power=stage.lr.power,
        per=stage.lr.per,
        batch_rule=stage.lr.batch_rule,
        base_batch=stage.batch_size,
        warmup_steps=stage.lr.warmup_steps,
    )


def network(stage: ConfigDict, num_classes: int, seed: int | None) -> nnx_io.Network:
    """The stage's network with its own initial values or pretrained ones; with shapes alone where `seed` is None."""
    build = _builder(stage, num_classes)
    if seed is None:
        return nnx_io.abstract(build)
    created = nnx_io.create(build, seed)
    return pretrained.from_file(created, stage.pretrained) if stage.pretrained else created


def _builder(stage: ConfigDict, num_classes: int) -> Callable[..., nnx.Module]:
    build = zoo.builder(stage.network, num_classes, dtype=compute_dtype(stage.dtype), **network_options(stage))
    return rematerialised(build) if stage.remat else build


def network_options(stage: ConfigDict) -> dict[str, Any]:
    """The builder's options that the stage sets, and those that its pretrained weights were made for.

    Options that only some networks have are left to the network, or to its weights, where nothing sets them.

    Raises:
      CsstError: the pretrained weights cannot be read, or are for another network or other options.
    """
    options: dict[str, Any] = {"lineage": stage.lineage} if stage.lineage else {}
    options |= {"output_stride": stage.output_stride} if stage.output_stride else {}
    options |= {"width": stage.width} if stage.width != 1 else {}
    options |= {"depth": stage.depth} if stage.depth != 1 else {}
    return pretrained.options(stage.pretrained, stage.network, options) if stage.pretrained else options


def preprocessing(config: ConfigDict, stage: ConfigDict) -> Preprocessing:
    """What the stage's network expects of its input: what its pretrained weights saw, or the configuration's."""
    if stage.pretrained:
        return files.describe(stage.pretrained).preprocessing
    return Preprocessing(tuple(config.normalisation.mean), tuple(config.normalisation.std))


def recipe(config: ConfigDict, stage: ConfigDict, net: nnx_io.Network, device_mesh: jax.sharding.Mesh) -> Recipe:
    """What the stage's training step is made of."""
    augment, loss = stage.augment, stage.loss
    own = loss.aux_weight < 0
    aux = (_AUX_WEIGHT if own else loss.aux_weight, net.aux_weights if own else {})
    return Recipe(
        network=net,
        method=Supervised(loss.ohem, loss.ohem_threshold, loss.ohem_min_kept, *aux),
        augmentation=Augmentation(augment.flip, augment.jitter, augment.blur, preprocessing(config, stage)),
        optimizer=sgd(stage.momentum, stage.weight_decay),
        mesh=device_mesh,
        split_state=config.mesh.split_state,
        accumulate=stage.accumulate,
    )


def predictor(
    config: ConfigDict, how: ConfigDict, net: nnx_io.Network, weights: Any, expects: Preprocessing
) -> WholeImagePredictor:
    """Whole-image prediction with a trained network.

    Args:
      config: the run's.
      how: `config.label` or `config.evaluate`: what `prediction` in configs/base.py holds.
      net: the network.
      weights: its trained (params, batch_stats).
      expects: what it expects of its input.
    """
    return WholeImagePredictor(
        net,
        *weights,
        averaging=averaging(how),
        preprocessing=expects,
        batch_size=config.evaluate.batch_size,
        spatial=mesh(config).shape[sharding.SPATIAL],
    )


def averaging(how: ConfigDict) -> Averaging:
    """Over what `config.label` or `config.evaluate` averages."""
    return Averaging(tuple(how.scales), how.flip, how.tile_px, how.tile_overlap, how.pad_px)
