"""What a trained network sees in an image, and how unsure it is of it."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from csst_jax.runtime.interruptible import interruptible
from csst_jax.runtime.patience import told

if TYPE_CHECKING:
    from csst_jax.models.nnx_io import Network
    from csst_jax.models.preprocessing import Preprocessing
    from csst_jax.stages.model_file import Trained

_PAD_PX = 32


@dataclasses.dataclass(frozen=True)
class Seen:
    """One image.

    Attributes:
      classes: uint8 [h, w], the most probable class.
      entropy: float32 [h, w], of the class probabilities, from 0 (sure) to 1 (all classes are as probable).
      features: float32 [d], the mean over the image of the network's last feature map; of the class probabilities in
        networks that name no features.
    """

    classes: UInt8[np.ndarray, "h w"]
    entropy: Float[np.ndarray, "h w"]
    features: Float[np.ndarray, " d"]


class Looker:
    """Looks at images of any size, one after another; a program is compiled for each size, in steps of 32 px."""

    def __init__(self, trained: Trained):
        """Puts the network's state on the device."""
        self._state = jax.device_put(jax.tree.map(np.asarray, trained.weights))
        self._program = jax.jit(functools.partial(_see, trained.network, trained.expects))
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> Seen:
        """What it sees; SIGTERM and Ctrl-C are heard meanwhile."""
        height, width, _ = image.shape
        padded = np.pad(image, ((0, -height % _PAD_PX), (0, -width % _PAD_PX), (0, 0)), mode="edge")[None]
        size = np.array([height, width], np.int32)
        if padded.shape not in self._compiled:
            with told(f"compiling the network for images of {padded.shape[2]} x {padded.shape[1]} px"):
                lowered = self._program.lower(padded, size, *self._state)
                self._compiled[padded.shape] = interruptible(lowered.compile)
        see = self._compiled[padded.shape]
        classes, entropy, features = interruptible(lambda: jax.device_get(see(padded, size, *self._state)))
        return Seen(classes[:height, :width], entropy[:height, :width], features)


def _see(
    network: Network,
    expects: Preprocessing,
    images: jax.Array,
    size: jax.Array,
    params: dict[str, jax.Array],
    batch_stats: dict[str, jax.Array],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Classes and entropy "h w" of one padded image, and its mean features "d" over the part that is not padding."""
    outputs = network.apply_eval(params, batch_stats, expects(images.astype(jnp.float32) / 255))
    log_p = jax.nn.log_softmax(outputs["logits"][0].astype(jnp.float32))
    entropy = -(jnp.exp(log_p) * log_p).sum(-1) / np.log(log_p.shape[-1])
    maps = [value for value in outputs["features"].values() if value.ndim == 4]
    last = maps[-1][0].astype(jnp.float32) if maps else jnp.exp(log_p)
    # A position counts if its middle lies in the image.
    inside = [
        (jnp.arange(side) + 0.5) * (full / side) < own
        for side, full, own in zip(last.shape[:2], images.shape[1:3], size, strict=True)
    ]
    weights = (inside[0][:, None] & inside[1])[..., None].astype(jnp.float32)
    features = (last * weights).sum((0, 1)) / jnp.maximum(weights.sum(), 1)
    return log_p.argmax(-1).astype(jnp.uint8), entropy, features
