"""The PyTorch side of benchmarks.input_pipeline: a Dataset of PNG files that crops, for a DataLoader."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from csst_jax.runtime.host_memory import keep_freed_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclasses.dataclass(frozen=True)
class Crop:
    """One sample: which files, and where it is taken and put (both as (top, left, height, width))."""

    image: str
    label: str
    scale: float
    source: tuple[int, int, int, int]
    place: tuple[int, int, int, int]


class Crops(torch.utils.data.Dataset):
    """Reads, decodes, crops and scales with OpenCV, which is faster at all of it than Pillow."""

    def __init__(self, crops: Sequence[Crop], crop_px: int, whole_first: bool):
        """Takes the samples.

        Args:
          crops: the samples.
          crop_px: side of the result.
          whole_first: scale the whole image and crop then, as most code bases do; otherwise only the window is scaled.
        """
        self._crops, self._crop_px, self._whole_first = crops, crop_px, whole_first

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._crops)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 [s, s, 3] and uint8 [s, s]."""
        crop = self._crops[i]
        image, label = cv2.imread(crop.image, cv2.IMREAD_COLOR_RGB), cv2.imread(crop.label, cv2.IMREAD_UNCHANGED)
        top, left, height, width = crop.source
        if self._whole_first:
            image = cv2.resize(image, None, fx=crop.scale, fy=crop.scale, interpolation=cv2.INTER_LINEAR)
            label = cv2.resize(label, None, fx=crop.scale, fy=crop.scale, interpolation=cv2.INTER_NEAREST_EXACT)
            height, width = crop.place[2:]
            top = min(round(top * crop.scale), len(label) - height)
            left = min(round(left * crop.scale), label.shape[1] - width)
        image, label = image[top : top + height, left : left + width], label[top : top + height, left : left + width]
        y, x, height, width = crop.place
        if self._whole_first:
            height, width = label.shape  # a pixel less where OpenCV rounds the size of the whole image down
        if not self._whole_first:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
            label = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        if (height, width) != (self._crop_px, self._crop_px):
            border = (y, self._crop_px - height - y, x, self._crop_px - width - x)
            image = cv2.copyMakeBorder(image, *border, cv2.BORDER_CONSTANT, value=(124, 116, 104))
            label = cv2.copyMakeBorder(label, *border, cv2.BORDER_CONSTANT, value=255)
        return torch.from_numpy(np.ascontiguousarray(image)), torch.from_numpy(np.ascontiguousarray(label))


class Loader:
    """A DataLoader whose workers stay, so that starting them costs no measurement anything."""

    def __init__(self, crops: Sequence[Crop], crop_px: int, whole_first: bool, batch: int, num_workers: int):
        """Starts nothing yet; see `Crops`."""
        self._loader = torch.utils.data.DataLoader(
            Crops(crops, crop_px, whole_first),
            batch_size=batch,
            num_workers=num_workers,
            persistent_workers=True,
            prefetch_factor=2,
            multiprocessing_context="forkserver",  # forking a process in which TensorFlow has threads can hang
            worker_init_fn=_one_thread,
        )

    def __call__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """One epoch of batches."""
        for image, label in self._loader:
            yield image.numpy(), label.numpy()


def _one_thread(_: int) -> None:
    keep_freed_memory()  # as training with csst_jax does
    cv2.setNumThreads(1)  # the workers are what runs in parallel
    torch.set_num_threads(1)
