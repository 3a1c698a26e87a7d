"""Crop schedules (paper §3.3, fig. 5): smaller crops in larger batches make training faster."""

from __future__ import annotations

from collections.abc import Sequence

from csst_jax.types import CsstError, Phase

KINDS = ("constant", "coarse2fine", "fine2coarse", "coarse2fine+", "fine2coarse+")
"""coarse2fine: the crop grows, each size for an equal block of epochs. With "+" the size changes in every epoch, and
starts over after the last size. fine2coarse is the reverse."""


def phases(
    kind: str,
    crop_px: int,
    global_batch: int,
    epochs: int,
    samples_per_epoch: int,
    *,
    num_sizes: int,
    smallest_share: float,
    stride: int,
    max_batch_factor: int | float,
    batch_unit: int,
) -> list[Phase]:
    """One phase for each epoch.

    The sizes are evenly spaced from smallest_share * crop_px to crop_px. The full size stays as given: 769 suits
    networks with align_corners. The others are rounded to a multiple of the stride, ties to the even multiple. Sizes
    that coincide are merged. With fewer epochs than sizes, there are only as many sizes as epochs, again evenly spaced,
    and the full size is one of them. The batch grows as the crop's area shrinks (paper §4.2: 16 to 64), so that
    pixels per step stay about constant. An epoch has as many whole batches as it takes to hold samples_per_epoch
    samples. It has at least one, and exceeds samples_per_epoch by less than one batch.

    Args:
      kind: one of KINDS.
      crop_px: side of the full crop, in pixels.
      global_batch: crops per step at the full size, over all devices.
      epochs: number of epochs, at least 1.
      samples_per_epoch: crops per epoch, at least 1.
      num_sizes: number of crop sizes (paper: 6 from 400 to 800).
      smallest_share: side of the smallest crop as a share of crop_px, above 0 and at most 1.
      stride: the network's output stride, in pixels.
      max_batch_factor: no batch is larger than this times global_batch.
      batch_unit: every batch is a multiple of it, as global_batch is: devices that share a batch, times micro-batches
        of a step, times the parts of the method's streams.

    Raises:
      CsstError: unknown kind, a number below 1, or smallest_share out of range.
    """
    if kind not in KINDS:
        raise CsstError(f"unknown crop schedule {kind!r}; known are {', '.join(KINDS)}.")
    for name, value in {
        "crop_px": crop_px,
        "global_batch": global_batch,
        "epochs": epochs,
        "samples_per_epoch": samples_per_epoch,
        "num_sizes": num_sizes,
        "stride": stride,
        "max_batch_factor": max_batch_factor,
        "batch_unit": batch_unit,
    }.items():
        if value < 1:
            raise CsstError(f"crop schedule: {name} is {value}; it must be at least 1.")
    if not 0 < smallest_share <= 1:
        raise CsstError(f"crop schedule: smallest_share is {smallest_share}; give a number above 0, up to 1.")
    sizes = [crop_px] if kind == "constant" else _sizes(crop_px, min(num_sizes, epochs), smallest_share, stride)
    if kind.startswith("fine2coarse"):
        sizes.reverse()
    result = []
    for epoch in range(epochs):
        size = sizes[epoch % len(sizes)] if kind.endswith("+") else sizes[epoch * len(sizes) // epochs]
        batch = min(global_batch * crop_px**2 // size**2, int(max_batch_factor * global_batch))
        batch = max(batch // batch_unit, 1) * batch_unit
        result.append(Phase(crop_px=size, global_batch=batch, steps=-(-samples_per_epoch // batch)))
    return result


def _sizes(crop_px: int, num_sizes: int, smallest_share: float, stride: int) -> list[int]:
    """Distinct sizes from small to full."""
    sizes = {crop_px}
    for i in range(num_sizes - 1):
        size = crop_px * (smallest_share + (1 - smallest_share) * i / (num_sizes - 1))
        # A crop smaller than the full size may round up past it: then it is the full size.
        sizes.add(min(max(round(size / stride), 1) * stride, crop_px))
    return sorted(sizes)


def pixels(phases: Sequence[Phase]) -> int:
    """Input pixels of all crops of all phases."""
    return sum(p.steps * p.global_batch * p.crop_px**2 for p in phases)


def speedup(phases: Sequence[Phase]) -> float:
    """Pixels of a constant schedule with the same number of samples, divided by the pixels of this schedule.

    The paper's value is 1.7 (table 4). The constant schedule's crop is the largest one here.
    """
    samples = sum(p.steps * p.global_batch for p in phases)
    return samples * max(p.crop_px for p in phases) ** 2 / pixels(phases)
