"""Which arithmetic a network computes in; parameters, statistics, resizing and softmax stay float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from jax.typing import DTypeLike

_COMPUTE_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def compute_dtype(name: str) -> DTypeLike:
    """The dtype that convolutions and activations use.

    Raises:
      CsstError: the name is not one of float32, bfloat16.
    """
    if name not in _COMPUTE_DTYPES:
        raise CsstError(f"dtype={name!r} is unknown; use one of {', '.join(_COMPUTE_DTYPES)}.")
    return _COMPUTE_DTYPES[name]
