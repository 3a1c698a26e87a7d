"""Sizes of images: each is a program to compile when images are predicted, unless they are padded to fewer."""

from __future__ import annotations

from collections.abc import Collection

FEW = 3
"""Sizes that are worth no word."""

_SIDES = (32, 64, 128, 256, 512, 1024)


def padded(sizes: Collection[tuple[int, int]], pad_px: int) -> set[tuple[int, int]]:
    """The sizes that are left when sides are padded to multiples of `pad_px`.

    >>> sorted(padded([(500, 375), (500, 333), (375, 500)], 128))
    [(384, 512), (512, 384)]
    """
    return {(-(-width // pad_px) * pad_px, -(-height // pad_px) * pad_px) for width, height in sizes}


def advice(key: str, split: str, sizes: Collection[tuple[int, int]], pad_px: int = 1) -> str | None:
    """What to say of a split whose images are predicted at many sizes; None if they are few.

    Args:
      key: of the configuration, that says how they are predicted: "label" or "evaluate".
      split: its name.
      sizes: (width, height) of its images.
      pad_px: as it is set.
    """
    now = len(padded(sizes, pad_px))
    if now <= FEW or not (best := fewer(sizes, pad_px)):
        return None
    return (
        f"split {split!r} has images of {now} sizes, and a program is compiled for each of them. "
        f"--config.{key}.pad_px={best[0]} pads them to {best[1]} (docs/scores.md)."
    )


def fewer(sizes: Collection[tuple[int, int]], pad_px: int) -> tuple[int, int] | None:
    """The `pad_px` that leaves a few sizes, or else the fewest, and how many; None if none leaves fewer than now.

    >>> fewer([(500, 375), (500, 333), (375, 500), (400, 300)], 1)
    (128, 2)
    """
    left = {side: len(padded(sizes, side)) for side in _SIDES if side > pad_px}
    fewest = min(left, key=lambda side: left[side], default=0)
    best = next((side for side, count in left.items() if count <= FEW), fewest)
    return (best, left[best]) if best and left[best] < len(padded(sizes, pad_px)) else None
