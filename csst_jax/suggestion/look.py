"""What a trained network sees in an image, and how unsure it is of it."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from csst_jax.evaluation.inference import windows
from csst_jax.evaluation.memory import advice, memory_told, require_room
from csst_jax.evaluation.whole_image import Averaging
from csst_jax.runtime.interruptible import interruptible
from csst_jax.runtime.patience import told

if TYPE_CHECKING:
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

    def __init__(self, trained: Trained, averaging: Averaging | None = None):
        """Puts the network's state on the device.

        Args:
          trained: the network.
          averaging: of `config.label`: its windows count, and nothing else; None for whole images.
        """
        averaging = averaging or Averaging()
        self._state = jax.device_put(jax.tree.map(np.asarray, trained.weights))
        self._program = jax.jit(functools.partial(_see, trained, averaging.window_px, averaging.window_overlap))
        self._fix = advice(averaging.window_px, "label.window_px")
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> Seen:
        """What it sees; SIGTERM and Ctrl-C are heard meanwhile.

        Raises:
          CsstError: the image does not fit the memory.
        """
        height, width, _ = image.shape
        padded = np.pad(image, ((0, -height % _PAD_PX), (0, -width % _PAD_PX), (0, 0)), mode="edge")[None]
        size = np.array([height, width], np.int32)
        if padded.shape not in self._compiled:
            with told(f"compiling the network for images of {padded.shape[2]} x {padded.shape[1]} px"):
                compiled = interruptible(self._program.lower(padded, size, *self._state).compile)
            require_room(compiled, padded.shape[1:3], self._fix)
            self._compiled[padded.shape] = compiled
        see = self._compiled[padded.shape]
        with memory_told(f"an image of {width} x {height} px", self._fix):
            classes, entropy, features = interruptible(lambda: jax.device_get(see(padded, size, *self._state)))
        return Seen(classes[:height, :width], entropy[:height, :width], features)


def _see(
    trained: Trained,
    window_px: int,
    overlap: float,
    images: jax.Array,
    size: jax.Array,
    params: dict[str, jax.Array],
    batch_stats: dict[str, jax.Array],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Classes and entropy "h w" of one padded image, and its mean features "d" over the part that is not padding.

    Probabilities are means over the windows that see a pixel. Features that several windows see count several times.
    """
    region, corners = windows((images.shape[1], images.shape[2]), 1, window_px, overlap)
    normalised = trained.expects(images.astype(jnp.float32) / 255)

    def look(corner: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Probabilities "h w c" in a window, the sum of its features "d" within the image, and how many these are."""
        part = jax.lax.dynamic_slice(normalised, (0, corner[0], corner[1], 0), (1, *region, 3))
        outputs = trained.network.apply_eval(params, batch_stats, part)
        p = jax.nn.softmax(outputs["logits"][0].astype(jnp.float32))
        maps = [value for value in outputs["features"].values() if value.ndim == 4]
        last = maps[-1][0].astype(jnp.float32) if maps else p
        # A position counts if its middle lies in the image.
        inside = [
            (jnp.arange(side) + 0.5) * (full / side) < own
            for side, full, own in zip(last.shape[:2], region, size - corner, strict=True)
        ]
        weights = (inside[0][:, None] & inside[1])[..., None].astype(jnp.float32)
        return p, (last * weights).sum((0, 1)), weights.sum()

    def add(total: tuple[jax.Array, jax.Array, jax.Array], corner: jax.Array) -> tuple[Any, None]:
        p, features, count = look(corner)
        at = (corner[0], corner[1], 0)
        seen = jax.lax.dynamic_slice(total[0], at, p.shape) + p
        return (jax.lax.dynamic_update_slice(total[0], seen, at), total[1] + features, total[2] + count), None

    shapes = jax.eval_shape(look, jnp.zeros(2, jnp.int32))
    start = (jnp.zeros((*images.shape[1:3], shapes[0].shape[-1])), jnp.zeros(shapes[1].shape), jnp.zeros(()))
    (p, features, count), _ = jax.lax.scan(add, start, jnp.array(corners, jnp.int32))
    p /= p.sum(-1, keepdims=True)  # which is the number of windows
    entropy = jax.scipy.special.entr(p).sum(-1) / np.log(p.shape[-1])
    return p.argmax(-1).astype(jnp.uint8), entropy, features / jnp.maximum(count, 1)
