"""Blocks that keep their input alone for the backward pass and compute the rest again: less memory, more operations."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from flax import nnx

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable


def may_rematerialise(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A module's `__call__` that computes itself again in the backward pass where the module's `remat` is true.

    Running statistics move once: what is computed again is not kept.
    """
    again = nnx.remat(forward)

    @functools.wraps(forward)
    def call(module: Any, *inputs: Any) -> Any:
        return again(module, *inputs) if module.remat else forward(module, *inputs)

    return call


def rematerialised(build: Callable[..., nnx.Module]) -> Callable[..., nnx.Module]:
    """The builder of the same network, with every block that may be rematerialised set to be.

    Raises:
      CsstError: (from the builder) the network has no such block.
    """

    def build_with_remat(*, rngs: nnx.Rngs) -> nnx.Module:
        network = build(rngs=rngs)
        blocks = [module for _, module in nnx.iter_modules(network) if hasattr(module, "remat")]
        if not blocks:
            raise CsstError(
                "remat=True: this network has no blocks that can be computed again. Blocks of ResNets, HRNet, "
                "WideResNet38, EfficientNet-Lites and vision transformers can; for others set remat to False."
            )
        for block in blocks:
            block.remat = True
        return network

    return build_with_remat
