"""Whether a training stage can be what its settings ask for: found out before the stages ahead of it take hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from csst_jax import build, registry
from csst_jax.data import sampling
from csst_jax.data.stored import encoded
from csst_jax.methods import METHODS
from csst_jax.models.layers import OneValueError
from csst_jax.models.weights import pretrained
from csst_jax.streams import PSEUDO, REAL, UNLABELLED, crops_of, total_parts
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from csst_jax.data.selection import Selection
    from csst_jax.settings.training import Training


def require_trainable(training: Training, pool: Selection, device_mesh: jax.sharding.Mesh, pseudo: bool) -> None:
    """Refuses settings that a stage would stumble over, before the stages ahead of it take hours.

    Args:
      training: its settings.
      pool: the training split.
      device_mesh: the devices.
      pseudo: whether it will have pseudo labels.

    Raises:
      CsstError: names the key or value and the fix.
    """
    classes = pool.dataset.description.classes
    if not pseudo and any(stream.origins == (PSEUDO,) for stream in training.streams):
        raise CsstError(
            f"method.name={training.method.name} learns pseudo labels, and this stage has none; take supervised, or "
            "set method.real_and_pseudo.pseudo_parts to 0."
        )
    both = any({REAL, PSEUDO} <= set(stream.origins) for stream in training.streams)
    if training.sampling.real_share is not None and not (pseudo and both):
        lacks = f"{training.method.name} takes these apart" if pseudo else "there are no pseudo labels here"
        raise CsstError(
            f"sampler.real_share is {training.sampling.real_share}. It divides crops between real and pseudo labels, "
            f"and {lacks}; set it to -1."
        )
    given = training.loss.class_weights
    if given and len(given) != len(classes):
        raise CsstError(
            f"loss.class_weights has {len(given)} numbers, and {pool.dataset.description.name} has {len(classes)} "
            f"classes; give one for each, in this order: {', '.join(classes)}."
        )
    name = training.method.name
    method = registry.resolve("method", METHODS, name)
    if training.average_decay and method.predicts_average:
        raise CsstError(
            f"method.name={name} predicts with an average of its own, which method.{name}.decay sets, so average_decay "
            f"would change nothing. It is {training.average_decay}; set it to 0."
        )
    choice = training.network
    if name == "cps" and choice.pretrained and pretrained.fills_all(choice.pretrained, len(classes), choice.start_rows):
        raise CsstError(
            f"method.name=cps trains two networks that must begin differently, and {choice.pretrained} gives both all "
            "of its weights. Take pretrained weights without a classifier, such as imagenet, leave out start_from, or "
            "take another method."
        )
    if choice.remat or choice.options:  # which some networks refuse when they are built
        build.network(choice, len(classes), None)
    if training.crops.epochs == 0:
        pretrained.require_complete(choice.pretrained, classes)
        return
    count = build.num_images(training, len(pool.labelled), len(pool.unlabelled), pseudo)
    for phase in dict.fromkeys(build.phases(training, count, device_mesh)):
        counts = crops_of(training.streams, phase.global_batch)
        for stream in training.streams:
            crops_a_step = counts[stream.name]
            seen = phase.global_batch if method.joint else crops_a_step
            if seen == training.accumulate:
                _require_statistics(training, phase.crop_px, len(classes))
            if crops_a_step == training.accumulate and method.mixes(training.method.settings, stream):
                raise CsstError(
                    f"method.{name}.cutmix mixes a crop with the next one of its kind. batch_size is "
                    f"{training.crops.batch_size}{_divided(training)}, so that a {stream.name} crop is alone, and "
                    f"nothing would be mixed. Give a batch_size of at least {_of_two(training)}, or set "
                    f"method.{name}.cutmix to 0."
                )
    if training.optimizer.rate_factors or training.optimizer.decay_factors:
        # Refuses a rule that matches no parameter.
        build.optimizer(training, build.method(training, len(classes), None))
    takes_pool = UNLABELLED in training.origins or (pseudo and PSEUDO in training.origins)
    records = [*(pool.labelled if REAL in training.origins else ()), *(pool.unlabelled if takes_pool else ())]
    sampling.require_crop_fits(training.crops.crop_px, (encoded.size(pool.reader.label_bytes(r)) for r in records))


def _require_statistics(training: Training, crop_px: int, num_classes: int) -> None:
    """Refuses to train a network on one crop at a time if any of its layers would have one value to normalise.

    Which networks have such a layer, behind a pooling of the whole crop or at a large stride, is found by tracing.
    """
    net = build.network(training.network, num_classes, None)
    crop = jax.ShapeDtypeStruct((1, crop_px, crop_px, 3), jnp.float32)
    try:
        jax.eval_shape(net.apply_train, net.params, net.batch_stats, crop, jax.random.key(0))
    except OneValueError as error:
        raise CsstError(
            f"batch_size is {training.crops.batch_size}{_divided(training)}. "
            f"{training.network.name} then sees one crop of {crop_px} px at a time, and one of its layers has a single "
            "value a channel. Normalised by its own statistics, this value is always zero. Give a batch_size of at "
            f"least {_of_two(training)}."
        ) from error


def _divided(training: Training) -> str:
    """What shares a batch, for messages; empty where nothing does."""
    streams = total_parts(training.streams)
    return f" for {training.accumulate} micro-batches of {streams} kinds of crops" * (training.accumulate * streams > 1)


def _of_two(training: Training) -> int:
    """The batch that has two crops of each kind in a micro-batch."""
    return 2 * training.accumulate * total_parts(training.streams)
