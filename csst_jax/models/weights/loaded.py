"""A trained network as one function, from its file alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array, Float

from csst_jax.models.weights import files

if TYPE_CHECKING:
    import os


class Loaded:
    """A network with weights, as one function.

    Attributes:
      classes: names of the classes, in the order of the logits; empty if the file does not know them.
      num_classes: number of classes of the logits.
      palette: one RGB colour (0 to 255) a class; empty if the file does not know them.
      preprocessing: what the images have gone through; a function of float32 RGB images `b h w 3` whose white is 1.
      description: all that the file says of itself, see `files.Description`.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Builds the network that the file names.

        Args:
          path: see `files.locate`.

        Raises:
          CsstError: there is no such file, or it is damaged, or its arrays are not exactly the network's.
        """
        arrays, self.description = files.read(path)
        d = self.description
        self.classes, self.num_classes, self.palette = d.classes, d.num_classes, d.palette
        self.preprocessing = d.preprocessing
        built = files.network(arrays, d, path)
        self._params = {name: jax.numpy.asarray(arrays[name]) for name in built.params}
        self._stats = {name: jax.numpy.asarray(arrays[name]) for name in built.batch_stats}
        self._apply = jax.jit(lambda params, stats, images: built.apply_eval(params, stats, images)["logits"])

    def __call__(self, images: Float[Array | np.ndarray, "b h w 3"]) -> Float[Array, "b h w c"]:
        """Logits at the images' size, whole-image inference; the images are normalised, see `preprocessing`."""
        return self._apply(self._params, self._stats, images)
