"""How large and how long a stage trains where the configuration leaves it open: a pure function of data and machine.

A first result is wanted within minutes on a laptop, and the paper's sizes on an accelerator. What is chosen enters the
stage's request like a number that the user gave (`csst_jax.settings.sized`).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.runtime.machine import Machine

OPEN = -1
"""Value of a key that is left open."""
KEYS = ("crop_px", "batch_size", "schedule.num_sizes", "samples_per_epoch")
"""The keys of a stage that may be."""

# Measured with FastSCNN, whose image of 1024x2048 takes 27 GFLOP, in float32: memory of a step, and its speed on two
# cores of an AMD EPYC. Both grow about with the root of a network's GFLOP: BiSeNet-R18 (8 times the GFLOP) takes 2.0
# times the memory and 4.8 times the time, DeepLabV3+ of EfficientNet-Lite0 (27 times) 4.9 and 3.2 times.
_REFERENCE_GFLOP = 27.0
_BYTES_PER_PX = 860.0
_PX_PER_CORE_S = 300e3

_LARGEST_CROP_PX = 800  # the paper's (§4.2)
_ASSUMED_BYTES = 8 * 2**30
_MANY_IMAGES = 1000
_MOST_S = 10.0  # of an epoch on a CPU


@dataclasses.dataclass(frozen=True)
class Question:
    """What a stage's sizes are chosen for. Of equal questions the answer is kept, whatever machine a run goes on on.

    Attributes:
      images: that the stage trains on.
      pool: whether images without masks are among them.
      image_px: height and width of the image whose shorter side is the median.
      network: its name.
      gflop: that it takes for an image of 1024x2048.
      parts: what every batch is a multiple of on one device: kinds of crops, times micro-batches.
      per_real: crops of a batch for each one with a real mask; 1 where all crops are of one kind.
      spatial: devices that share an image's rows.
      stride: sizes of crops are multiples of this.
      given: by key of `KEYS` the values that the user set.
    """

    images: int
    pool: bool
    image_px: tuple[int, int]
    network: str
    gflop: float
    parts: int
    per_real: float
    spatial: int
    stride: int
    given: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was chosen.

    Attributes:
      values: by key of `KEYS`, of those that were open.
      reasons: a few words on each.
    """

    values: Mapping[str, int]
    reasons: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class _Platform:
    """How much a kind of machine is asked for.

    Attributes:
      crop_share: of an image's shorter side that a crop has.
      largest_crop_px: whatever the image.
      where: words for it.
      share_words: words for `crop_share`.
      batch: crops per step; of several kinds, crops with real masks.
      memory_share: of the device's memory that a step may take.
      least_steps: of such batches in an epoch, however few images there are: a network needs steps.
    """

    crop_share: float
    largest_crop_px: int
    where: str
    share_words: str
    batch: int
    memory_share: float
    least_steps: int


# On a CPU a crop of 5/8 of the side, as configs/camvid.py has it, takes 0.4 of the time; a laptop has other programs.
_CPU = _Platform(0.625, 320, "on a CPU", "about 5/8 of the images' shorter side,", 8, 0.25, 12)
_ACCELERATOR = _Platform(1.0, _LARGEST_CROP_PX, "that is chosen", "about the images' shorter side,", 16, 0.6, 16)
_FITS = "the most that fits the memory"


def choose(asked: Question, machine: Machine) -> Answer:
    """Sizes for a stage's open keys.

    >>> from csst_jax.runtime.machine import Machine
    >>> photos = Question(10, False, (360, 480), "fast_scnn", 27.0, 1, 1.0, 1, 32, {})
    >>> dict(choose(photos, Machine("cpu", 1, 16 * 2**30, 2)).values)
    {'crop_px': 224, 'batch_size': 8, 'schedule.num_sizes': 2, 'samples_per_epoch': 96}
    """
    platform = _CPU if machine.platform == "cpu" else _ACCELERATOR
    weight = math.sqrt(asked.gflop / _REFERENCE_GFLOP)
    sharing = max(1, machine.devices // asked.spatial)
    unit = sharing * asked.parts
    memory = (machine.memory_bytes or _ASSUMED_BYTES) * asked.spatial
    most_px = platform.memory_share * memory / (_BYTES_PER_PX * weight)  # of a step, on the devices of one image

    crop_px = asked.given.get("crop_px") or _crop(asked, platform)
    least = -(-2 * asked.parts // unit) * unit  # two crops of each kind: one has no statistics and is mixed with none
    batch = asked.given.get("batch_size") or max(int(platform.batch * asked.per_real) // unit * unit, least)
    wanted = crop_px, batch
    while batch * crop_px**2 / sharing > most_px:
        if "batch_size" not in asked.given and batch > least:
            batch = max(batch // 2 // unit * unit, least)
        elif "crop_px" not in asked.given and crop_px > 2 * asked.stride:
            crop_px -= asked.stride
        else:
            break
    num_sizes = asked.given.get("schedule.num_sizes") or _num_sizes(asked, machine)
    samples = asked.given.get("samples_per_epoch", OPEN)
    if samples == OPEN:
        samples = _samples(asked, machine, platform.least_steps * max(batch, platform.batch), crop_px, weight)
    found = {
        "crop_px": (crop_px, _FITS if crop_px != wanted[0] else _of_the_side(crop_px, asked, platform)),
        "batch_size": (batch, _FITS if batch != wanted[1] else "the memory holds it"),
        "schedule.num_sizes": (num_sizes, "each is a program to compile"),
        "samples_per_epoch": (samples, _of_the_images(samples, asked.images)),
    }
    still_open = [key for key in KEYS if key not in asked.given]
    return Answer({key: found[key][0] for key in still_open}, {key: found[key][1] for key in still_open})


def _of_the_side(crop_px: int, asked: Question, platform: _Platform) -> str:
    side = min(asked.image_px)
    if crop_px >= platform.largest_crop_px < side:
        return f"images have a side of {side} px, this is the largest crop {platform.where}"
    return f"{platform.share_words} {side} px"


def _of_the_images(samples: int, images: int) -> str:
    if samples > images:
        return f"{images} images, but training needs steps"
    return "every image" if samples == images else f"of {images} images, for the time that they take"


def _crop(asked: Question, platform: _Platform) -> int:
    """The multiple of the stride that is nearest to the share, no longer than the image's shorter side if it can be."""
    side = min(asked.image_px)
    most = min(side, platform.largest_crop_px) // asked.stride
    wanted = min(round(platform.crop_share * side / asked.stride), most)
    return min(max(wanted, 1) * asked.stride, max(asked.image_px))


def _num_sizes(asked: Question, machine: Machine) -> int:
    """Six as in the paper where training takes long enough to be worth six compilations."""
    if machine.platform == "cpu":
        return 2
    return 6 if asked.images >= _MANY_IMAGES else 3


def _samples(asked: Question, machine: Machine, least: int, crop_px: int, weight: float) -> int:
    """Every image once an epoch; more where they are few, and on a CPU fewer where they are many.

    On an accelerator a student has at least twice the steps of its teacher. On two cores that would take another half
    an hour, and a teacher of half as many would label worse: there it has about as many.
    """
    if machine.platform != "cpu":
        return max(asked.images, 2 * least if asked.pool else least)
    mean_px = 2 / 3 * crop_px**2  # half of the epochs have crops of half the side, rounded up
    most = int(_MOST_S * machine.cores * _PX_PER_CORE_S / weight / mean_px)
    return max(min(asked.images, most), least)
