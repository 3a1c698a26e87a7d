"""Self-training for semantic segmentation in JAX. `load` gives a trained network; all else are commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from csst_jax.models.weights.loaded import Loaded


def load(path: str | os.PathLike[str]) -> Loaded:
    """A network with its weights: a function from normalised images to logits at their size.

    Images are float32 `b h w 3`, and logits float32 `b h w c`. The attributes of what is returned say the rest:
    `preprocessing` normalises images, `classes` and `palette` are names and colours, `description` is all that the
    file says of itself.

    Args:
      path: a `model.safetensors` of a training stage or a file that `python -m csst_jax.import_weights` wrote; or the
        directory of a finished training stage; or a workdir, whose student is meant. Each on a disk or at `gs://…`.

    Raises:
      CsstError: nothing is there, or it is damaged or not of csst_jax, or the workdir has no finished student.
    """
    # Imported here: `import csst_jax` need not wait for JAX.
    from csst_jax import models

    return models.load(path)
