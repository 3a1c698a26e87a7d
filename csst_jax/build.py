"""From settings to the objects that stages work with."""

from __future__ import annotations

import bisect
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from csst_jax import registry
from csst_jax.data import sampling
from csst_jax.data.augment import Augmentation
from csst_jax.data.sampling import Images, WithoutLabels
from csst_jax.data.statistics import class_statistics
from csst_jax.evaluation.whole_image import WholeImagePredictor
from csst_jax.losses import LOSSES
from csst_jax.losses.heads import HeadLosses
from csst_jax.methods import METHODS
from csst_jax.methods.average import WeightAverage
from csst_jax.methods.averaged import Averaged
from csst_jax.methods.base import Method, Parts
from csst_jax.models import nnx_io, zoo
from csst_jax.models.rematerialisation import rematerialised
from csst_jax.models.weights import pretrained
from csst_jax.precision import compute_dtype
from csst_jax.samplers import SAMPLERS
from csst_jax.schedules import crops
from csst_jax.schedules.learning_rate import learning_rate
from csst_jax.streams import PSEUDO, REAL, UNLABELLED
from csst_jax.train import optimizers, sharding
from csst_jax.train.step import Recipe
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import optax
    from flax import nnx
    from jax.sharding import Mesh

    from csst_jax.data.crop_plan import Sampler
    from csst_jax.data.selection import Selection
    from csst_jax.data.stored.centroid_index import CentroidIndex
    from csst_jax.data.stored.pseudo_labels import PseudoLabelled
    from csst_jax.evaluation.whole_image import Averaging
    from csst_jax.models.nnx_io import Network
    from csst_jax.models.preprocessing import Preprocessing
    from csst_jax.settings.run import Mesh as MeshSettings
    from csst_jax.settings.training import NetworkChoice, Training
    from csst_jax.types import Phase

_AUX_WEIGHT = 0.4  # of an auxiliary head's loss: PSPNet's, and most code bases' since


def images(
    training: Training, pool: Selection, pseudo: tuple[PseudoLabelled, CentroidIndex] | None = None
) -> dict[str, Images]:
    """What a stage trains on, by origin: of what there is, what its method takes.

    Args:
      training: the stage's settings.
      pool: the training split; its index is checked against the labels.
      pseudo: pseudo labels of the unlabelled images, and their components; None for a stage that has none.
    """
    found, wanted = {}, training.origins
    if REAL in wanted:
        index = pool.dataset.centroids(pool.split)
        smallest = _min_area_px(training.sampling.min_area_px, index, pool.labelled)
        found[REAL] = Images(pool.reader, pool.labelled, index, smallest)
    if PSEUDO in wanted and pseudo is not None:
        labelled, index = pseudo
        records = range(len(labelled))
        smallest = _min_area_px(training.sampling.pseudo_min_area_px, index, records)
        found[PSEUDO] = Images(labelled, records, index, smallest)
    if UNLABELLED in wanted:
        found[UNLABELLED] = Images(WithoutLabels(pool.reader), pool.unlabelled)
    return found


def _min_area_px(wanted: int | None, index: CentroidIndex, records: Sequence[int]) -> int | np.ndarray:
    """The smallest component that may be a crop's centre; None takes by class what leaves out specks alone."""
    return class_statistics(index, records).speck_area_px if wanted is None else wanted


def num_images(training: Training, labelled: int, unlabelled: int, pseudo: bool) -> int:
    """How many images a stage trains on.

    Args:
      training: the stage's settings.
      labelled: images with real masks.
      unlabelled: images without.
      pseudo: whether the stage has pseudo labels of the latter.
    """
    has_pool = UNLABELLED in training.origins or (pseudo and PSEUDO in training.origins)
    return labelled * (REAL in training.origins) + unlabelled * has_pool


def samplers(training: Training, given: Mapping[str, Images], classes: Sequence[str]) -> dict[str, Sampler]:
    """Which crops of each stream an epoch takes (paper §3.2).

    Raises:
      CsstError: nothing to sample.
    """
    choice = training.sampling.sampler
    kind = registry.resolve("sampler", SAMPLERS, choice.name)
    real_share = training.sampling.real_share
    return sampling.samplers(training.streams, given, classes, real_share, lambda c: kind.make(choice.settings, c))


def mesh(settings: MeshSettings, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
    """The given devices, or all of all processes, as (`data`, `spatial`)."""
    return sharding.make_mesh(jax.devices() if devices is None else devices, settings.spatial, settings.data)


def phases(training: Training, num_images: int, device_mesh: jax.sharding.Mesh) -> list[Phase]:
    """One phase an epoch (paper §3.3); none where a pretrained network is taken as it is.

    Raises:
      CsstError: the devices cannot share a batch, or an image's rows.
    """
    if training.crops.epochs == 0:
        return []
    keys = dataclasses.asdict(training.crops)
    samples, batch = keys.pop("samples_per_epoch") or num_images, keys.pop("batch_size")
    unit = batch_unit(training, device_mesh)
    sharding.require_whole_units(batch, training.streams, device_mesh, training.accumulate)
    found = crops.phases(samples_per_epoch=samples, global_batch=batch, batch_unit=unit, **keys)
    sharding.require_whole_rows(found, device_mesh)
    return found


def batch_unit(training: Training, device_mesh: jax.sharding.Mesh) -> int:
    """What every batch of a stage is a multiple of: each device takes as many crops of each stream and micro-batch."""
    return sharding.batch_unit(training.streams, device_mesh, training.accumulate)


def lengthened(
    training: Training, num_images: int, steps: int, device_mesh: jax.sharding.Mesh, longer_by: str
) -> Training:
    """The stage, so long that it takes about `steps` steps (the control of the paper's Table 1b).

    Args:
      training: its settings.
      num_images: images that it trains on.
      steps: how many to take.
      device_mesh: the devices.
      longer_by: "epochs" for more of them; "copies" for as many, each with as many crops as it takes, so that all
        images are repeated within it equally often, as Table 1b duplicates the real labels.

    Raises:
      CsstError: the stage does not train.
    """
    if training.crops.epochs == 0:
        raise CsstError("baseline: a teacher of epochs=0 has no training to lengthen; leave baseline out of stages.")

    def steps_with(samples_per_epoch: int) -> int:
        longer = training.longer(samples_per_epoch=samples_per_epoch)
        return sum(phase.steps for phase in phases(longer, num_images, device_mesh))

    own = phases(training, num_images, device_mesh)
    if longer_by == "copies":
        most = steps * max(phase.global_batch for phase in own)
        return training.longer(samples_per_epoch=1 + bisect.bisect_left(range(1, most), steps, key=steps_with))
    return training.longer(epochs=max(1, round(training.crops.epochs * steps / sum(phase.steps for phase in own))))


def learning_rates(training: Training, planned: Sequence[Phase]) -> np.ndarray:
    """float32 [total steps]: the schedule at every step."""
    if not planned:
        return np.zeros(0, np.float32)
    rate = training.learning_rate
    at_step = learning_rate(
        planned,
        base_lr=rate.base,
        power=rate.power,
        per=rate.per,
        batch_rule=rate.batch_rule,
        base_batch=training.crops.batch_size,
        warmup_steps=rate.warmup_steps,
    )
    return np.asarray(jax.vmap(at_step)(jnp.arange(sum(phase.steps for phase in planned))))


def network(choice: NetworkChoice, num_classes: int, seed: int | None) -> Network:
    """The stage's network with its own initial values or pretrained ones, NumPy arrays; shapes where `seed` is None."""
    build = network_builder(choice, num_classes)
    if seed is None:
        return nnx_io.abstract(build)
    created = nnx_io.create(build, seed).on_host()  # the method keeps it for the whole training
    if choice.start_rows is None:
        return pretrained.from_file(created, choice.pretrained) if choice.pretrained else created
    wider = nnx_io.abstract(network_builder(choice, num_classes + 1))
    return pretrained.by_name(created, wider, choice.pretrained, choice.start_rows)


def network_builder(choice: NetworkChoice, num_classes: int) -> Callable[..., nnx.Module]:
    """What builds the network from `rngs` alone."""
    build = zoo.builder(choice.name, num_classes, dtype=compute_dtype(choice.dtype), **choice.options)
    return rematerialised(build) if choice.remat else build


def method(training: Training, num_classes: int, seed: int | None, steps: int = 0) -> Method:
    """What the stage minimises; with shapes alone where `seed` is None. `steps` as in `recipe`."""
    net, loss, choice = network(training.network, num_classes, seed), training.loss, training.method
    heads = HeadLosses(
        registry.resolve("loss", LOSSES, loss.name),
        loss.ohem,
        loss.ohem_threshold,
        loss.ohem_min_kept,
        *((_AUX_WEIGHT, net.aux_weights) if loss.aux_weight is None else (loss.aux_weight, {})),
        loss.class_weights,
    )

    @functools.cache
    def another(number: int) -> Network:
        # Away from the seeds that users give: the student's is the teacher's and one.
        return network(training.network, num_classes, None if seed is None else seed ^ (number << 20))

    parts = Parts(net, heads, another, nnx_io.own_modules(seed), steps, num_classes=num_classes)
    chosen = registry.resolve("method", METHODS, choice.name)(choice.settings, parts)
    average = training.average_decay
    return Averaged(WeightAverage(average), parts, chosen) if average else chosen


def recipe(
    training: Training, num_classes: int, seed: int | None, settings: MeshSettings, device_mesh: Mesh, steps: int = 0
) -> Recipe:
    """What the stage's training step is made of.

    Args:
      training: its settings.
      num_classes: of the data set.
      seed: of the initial values; None for shapes alone.
      settings: how devices share the state.
      device_mesh: the devices.
      steps: of the whole training, for methods whose settings are shares of it; 0 where they do not matter.

    Raises:
      CsstError: a rule of the optimizer matches no parameter.
    """
    chosen = method(training, num_classes, seed, steps)
    return Recipe(
        method=chosen,
        augmentation=Augmentation(training.flip, training.views, training.network.preprocessing),
        optimizer=optimizer(training, chosen),
        mesh=device_mesh,
        split_state=settings.split_state,
        accumulate=training.accumulate,
        soft=training.soft_maps,
    )


def optimizer(training: Training, chosen: Method) -> optax.GradientTransformationExtraArgs:
    """The optimizer of what the method trains.

    Raises:
      CsstError: a rule matches no parameter.
    """
    o = training.optimizer
    return optimizers.make(o.settings, chosen.trained()[0], o.rate_factors, o.decay_factors)


def predictor(
    averaging: Averaging,
    net: Network,
    weights: tuple[dict[str, Any], dict[str, Any]],
    expects: Preprocessing,
    batch_size: int,
    settings: MeshSettings,
    ranks: int = 1,
    window_key: str = "window_px",
) -> WholeImagePredictor:
    """Whole-image prediction with a trained network.

    Args:
      averaging: over what probabilities are averaged.
      net: the network.
      weights: its trained (params, batch_stats).
      expects: what it expects of its input.
      batch_size: images per step.
      settings: how devices share an image.
      ranks: how many of the most probable classes are told.
      window_key: what sets `averaging.window_px`, for messages.
    """
    return WholeImagePredictor(
        net,
        *weights,
        averaging=averaging,
        preprocessing=expects,
        batch_size=batch_size,
        spatial=mesh(settings).shape[sharding.SPATIAL],
        ranks=ranks,
        window_key=window_key,
    )
