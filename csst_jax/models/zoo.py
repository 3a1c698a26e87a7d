"""Networks by name, resolved when one is asked for."""

from __future__ import annotations

import difflib
import functools
import importlib
from typing import TYPE_CHECKING, Any

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flax import nnx

NETWORKS = {
    "fast_scnn": "csst_jax.models.fast_scnn:build",
}


def builder(name: str, num_classes: int, **options: Any) -> Callable[..., nnx.Module]:
    """A function of `rngs` alone that builds the named network.

    Args:
      name: a key of `NETWORKS`.
      num_classes: classes of the logits.
      **options: the network's own options.

    Raises:
      CsstError: unknown name; lists the known ones and the nearest.
    """
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise CsstError(f"unknown network {name!r}; known are: {', '.join(sorted(NETWORKS))}.{hint}")
    module, _, function = NETWORKS[name].partition(":")
    return functools.partial(getattr(importlib.import_module(module), function), num_classes, **options)
