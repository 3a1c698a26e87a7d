"""Networks. `load(FILE)` gives one with its weights from a file that `python -m csst_jax.import_weights` wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from csst_jax.models.weights.files import Loaded


def load(path: str | os.PathLike[str]) -> Loaded:
    """A network with its weights: a function from normalised images `b h w 3` to logits `b h w c` at input size.

    Its attributes `classes` and `preprocessing` say what the logits and the images are.

    Raises:
      CsstError: the file is missing, damaged or not of csst_jax.
    """
    # Imported here: the networks' own modules need not wait for the readers of files.
    from csst_jax.models.weights import files

    return files.Loaded(path)
