"""The seam between encoder and decoder, where a method may change features (UniMatch, UniMatch V2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Array

Features: TypeAlias = dict[str, Array]
"""By name, each float "b h w c": all that a decoder sees of the image. Sizes, channels and dtypes differ."""

Perturb: TypeAlias = Callable[[Features], Features]
"""Gives features of the same names and shapes, but for the batch: a decoder takes as many as come.

A network may call it several times, with other names each time.
"""


def perturbed(features: Features, perturb: Perturb | None) -> Features:
    """What the decoder gets: the features as they are, or what `perturb` makes of them."""
    return features if perturb is None else perturb(features)
