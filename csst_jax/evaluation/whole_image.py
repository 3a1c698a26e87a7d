"""Class maps and confidences of stored images, batch by batch, at original resolution."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from csst_jax.evaluation.inference import make_predictor
from csst_jax.train.sharding import DATA, make_mesh, replicated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from csst_jax.data.store import Source
    from csst_jax.models.nnx_io import Arrays, Network
    from csst_jax.models.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One image's prediction.

    Attributes:
      record: which image.
      image: uint8 [h, w, 3].
      classes: uint8 [h, w], the most probable class.
      confidence: float32 [h, w], its probability.
    """

    record: int
    image: np.ndarray
    classes: np.ndarray
    confidence: np.ndarray


class WholeImagePredictor:
    """Predicts whole images on this process's own devices; nothing is exchanged with other processes."""

    def __init__(
        self,
        network: Network,
        params: Arrays,
        batch_stats: Arrays,
        *,
        preprocessing: Preprocessing,
        scales: Sequence[float],
        flip: bool,
        batch_size: int,
    ):
        """Puts the network's state on the devices.

        Args:
          network: the network.
          params: its parameters.
          batch_stats: its running statistics.
          preprocessing: what the network expects of its input.
          scales: magnifications to average over.
          flip: whether to average with the mirrored image.
          batch_size: images a step; rounded up to a multiple of the devices.
        """
        mesh = make_mesh(jax.local_devices(), 1)
        everywhere = replicated(mesh)
        self._by_batch = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(DATA))
        self._batch_size = -(-batch_size // mesh.size) * mesh.size
        self._state = jax.device_put(jax.tree.map(np.asarray, (params, batch_stats)), everywhere)

        def logits(images: jax.Array, params: Arrays, batch_stats: Arrays) -> jax.Array:
            return network.apply_eval(params, batch_stats, images)["logits"]

        probabilities = make_predictor(logits, preprocessing, scales=scales, flip=flip)

        def predict(images: jax.Array, params: Arrays, batch_stats: Arrays) -> tuple[jax.Array, jax.Array]:
            p = probabilities(images, params, batch_stats)
            return jnp.argmax(p, -1).astype(jnp.uint8), jnp.max(p, -1)

        self._predict = jax.jit(predict, in_shardings=(self._by_batch, everywhere, everywhere))

    def __call__(self, source: Source, records: Sequence[int]) -> Iterator[Prediction]:
        """Predictions in the order of `records`. Each image size is compiled once."""
        batch: list[np.ndarray] = []
        waiting: list[int] = []
        for record in records:
            image = decode_rgb(source.image_bytes(record))
            if batch and (len(batch) == self._batch_size or image.shape != batch[0].shape):
                yield from self._run(waiting, batch)
                batch, waiting = [], []
            batch.append(image)
            waiting.append(record)
        if batch:
            yield from self._run(waiting, batch)

    def _run(self, records: list[int], images: list[np.ndarray]) -> Iterator[Prediction]:
        # A short batch is filled up with its first image, so that it needs no program of its own.
        full = np.stack(images + [images[0]] * (self._batch_size - len(images)))
        classes, confidence = jax.device_get(self._predict(jax.device_put(full, self._by_batch), *self._state))
        for i, record in enumerate(records):
            yield Prediction(record, images[i], classes[i], confidence[i])


def decode_rgb(encoded: bytes) -> np.ndarray:
    """uint8 [h, w, 3] from PNG or JPEG."""
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"))


def decode_label(encoded: bytes) -> np.ndarray:
    """uint8 [h, w] from a stored label: class indices, 255 = void."""
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image)


def encode_label(label: np.ndarray) -> bytes:
    """PNG of a uint8 [h, w] label map."""
    buffer = io.BytesIO()
    Image.fromarray(label).save(buffer, "PNG")
    return buffer.getvalue()
