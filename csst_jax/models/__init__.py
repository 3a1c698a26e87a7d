"""Networks. `load` gives one with its weights; it is `csst_jax.load`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from csst_jax.models.weights.loaded import Loaded


def load(path: str | os.PathLike[str]) -> Loaded:
    """See `csst_jax.load`."""
    # Imported here: the networks' own modules need not wait for the readers of files.
    from csst_jax.models.weights.loaded import Loaded

    return Loaded(path)
