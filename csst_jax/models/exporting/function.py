"""What is exported of a trained network: one function of images, and what its user has to know."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, UInt8

from csst_jax.models import nnx_io
from csst_jax.models.weights import files
from csst_jax.platforms import traced_portably
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from jax.extend.core import ClosedJaxpr

BATCH = "batch"
"""Name of the axis of images, of which there may be any number."""

_SEED = 0  # of the images that an export is tried on


@dataclasses.dataclass(frozen=True)
class Exported:
    """A network with its weights, to be exported at one size of images.

    Attributes:
      description: all that its file says of it.
      size: height and width of the images in pixels.
      preprocess: whether it takes uint8 RGB images and prepares them itself; otherwise float32 ones that are prepared.
      argmax: whether it gives the numbers of classes [batch, height, width]; otherwise logits with the classes last.
    """

    description: files.Description
    size: tuple[int, int]
    preprocess: bool
    argmax: bool
    _network: nnx_io.Network
    _arrays: dict[str, np.ndarray]

    @property
    def output(self) -> str:
        """Name of what it gives."""
        return "class_ids" if self.argmax else "logits"

    @property
    def input_dtype(self) -> np.dtype:
        """Of the images."""
        return np.dtype(np.uint8 if self.preprocess else np.float32)

    @property
    def output_dtype(self) -> np.dtype:
        """Of what it gives."""
        few = self.description.num_classes <= np.iinfo(np.uint8).max + 1
        return np.dtype((np.uint8 if few else np.int32) if self.argmax else np.float32)

    def apply(
        self, arrays: dict[str, Any], images: Float[Array, "b h w 3"] | UInt8[Array, "b h w 3"]
    ) -> Float[Array, "b h w c"] | UInt8[Array, "b h w"] | Int32[Array, "b h w"]:
        """The function, of parameters and running statistics by name and images."""
        if self.preprocess:
            images = self.description.preprocessing(images.astype(jnp.float32) * (1.0 / 255.0))
        params, stats = ({n: arrays[n] for n in part} for part in (self._network.params, self._network.batch_stats))
        logits = self._network.apply_eval(params, stats, images)["logits"]
        return jnp.argmax(logits, -1).astype(self.output_dtype) if self.argmax else logits

    def compiled(self) -> Callable[[np.ndarray], np.ndarray]:
        """The function of images alone, as this machine computes it."""
        apply = jax.jit(self.apply)
        return lambda images: np.asarray(apply(self._arrays, images))

    def closed(self) -> Callable[[Array], Array]:
        """The function of images alone, with the weights in it."""
        return lambda images: self.apply({name: jnp.asarray(value) for name, value in self._arrays.items()}, images)

    def images(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of any number of images."""
        return jax.ShapeDtypeStruct((*jax.export.symbolic_shape(BATCH), *self.size, 3), self.input_dtype)

    def traced(self) -> tuple[ClosedJaxpr, list[Any]]:
        """The program of `apply` in its plain forms, and the arguments for it but the last, the images."""
        with traced_portably():
            program = jax.make_jaxpr(self.apply)(self._arrays, self.images())
        return program, jax.tree.leaves(self._arrays)

    def examples(self, count: int) -> np.ndarray:
        """Images to try an export on, [count, height, width, 3]: patches of colours with noise on them."""
        rng = np.random.default_rng(_SEED)
        patches = rng.integers(0, 256, (count, *(-(-side // 16) for side in self.size), 3))
        wide = patches.repeat(16, 1).repeat(16, 2)[:, : self.size[0], : self.size[1]]
        images = np.clip(wide + rng.normal(0, 16, wide.shape), 0, 255).astype(np.uint8)
        if self.preprocess:
            return images
        return np.asarray(self.description.preprocessing(jnp.asarray(images, jnp.float32) / 255))

    def metadata(self) -> dict[str, str]:
        """What stands beside the graph: texts, those of more than one word as JSON."""
        d = self.description
        lists = {"classes": d.classes, "palette": d.palette, "official_ids": d.official_ids, "options": d.options}
        return {
            "made_by": "csst_jax",
            "network": d.network,
            "num_classes": str(d.num_classes),
            "longest_side": str(d.longest_side),
            "weights_sha256": d.weights_sha256,
            "preprocessing": json.dumps(dataclasses.asdict(d.preprocessing)),
            "preprocessing_inside": json.dumps(self.preprocess),
            **{name: json.dumps(value) for name, value in lists.items()},
        }


def load(checkpoint: str | os.PathLike[str], size: tuple[int, int], preprocess: bool, argmax: bool) -> Exported:
    """A trained network, to be exported; it computes in float32, whatever it was trained in.

    Args:
      checkpoint: see `files.locate`.
      size: height and width of the images in pixels.
      preprocess: see `Exported`.
      argmax: see `Exported`.

    Raises:
      CsstError: there is no such network, or its file is damaged, or it cannot take images of this size.
    """
    arrays, description = files.read(checkpoint)
    network = files.network(arrays, dataclasses.replace(description, dtype="float32"), checkpoint)
    exported = Exported(description, size, preprocess, argmax, network, arrays)
    try:
        jax.eval_shape(exported.apply, arrays, exported.images())
    except jax.errors.InconclusiveDimensionOperation as error:
        raise CsstError(
            f"{description.network} cannot be exported, as its program depends on the number of images: "
            f"{str(error).splitlines()[0]}"
        ) from error
    except (TypeError, ValueError, ZeroDivisionError) as error:
        height, width = size
        raise CsstError(
            f"--size={height}x{width}: {description.network} cannot take images of this size; give a larger one, such "
            f"as 512x512 ({str(error).splitlines()[0] if str(error) else type(error).__name__})."
        ) from error
    return exported
