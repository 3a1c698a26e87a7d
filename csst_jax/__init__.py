"""Self-training for semantic segmentation in JAX. `load` gives a trained network; all else are commands.

import csst_jax

net = csst_jax.load("runs/mine")
found = net.predict("photo.jpg")
found.classes, found.confidence, net.classes, net.palette
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from csst_jax.prediction.loaded import Loaded


def load(path: str | os.PathLike[str]) -> Loaded:
    """A trained network: `import csst_jax; net = csst_jax.load("runs/mine")`.

    `net.predict(IMAGE)` is a path's, an array's or a Pillow picture's class of every pixel, with its confidence.
    `net.classes` and `net.palette` are names and colours of the classes. `net(images)` are the logits, float32
    `b h w c`, of images that `net.preprocessing` has normalised, float32 `b h w 3`. `net.description` is all that the
    file says of itself. See docs/predict.md.

    Args:
      path: a `model.safetensors` of a training stage or a file that `python -m csst_jax.import_weights` wrote; or the
        directory of a finished training stage; or a workdir, whose student is meant. Each on a disk or at `gs://…`.

    Raises:
      CsstError: nothing is there, or it is damaged or not of csst_jax, or the workdir has no finished student.
    """
    # Imported here: `import csst_jax` need not wait for JAX.
    from csst_jax.prediction.loaded import Loaded

    return Loaded(path)
