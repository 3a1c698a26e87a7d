"""Images of two splits that look almost alike: frames of one scene, or copies that were saved or cut anew."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from csst_jax.data.readiness import listed

if TYPE_CHECKING:
    from data_prep.examination import Examined

_SIDE = 12
_ALIKE_BITS = 40
"""Of 288. Saved anew as JPEG, at half the size, brighter by 30 % or cut by 3 % a side, 95 % of CamVid's validation
images differ from themselves in 37 or fewer; and from the nearest image of training, of other scenes, in 79 or more."""
_LEAST_CONTRAST = 3.0
_ENOUGH_PX = 200
"""Of a larger image every second pixel is looked at, or every third and so on: the copy has 13 a side."""
_CHUNK = 512
_MOST_TOLD = 10


def look(image: np.ndarray) -> bytes | None:
    """What tells images of one look: where a tiny copy gets brighter to the right and downwards (a difference hash).

    Args:
      image: uint8 [h, w, 3].

    Returns:
      40 bytes, of which 288 bits are used; None of an image of nearly one colour, whose look says nothing.
    """
    step = max(1, min(image.shape[:2]) // _ENOUGH_PX)
    image = np.ascontiguousarray(image[::step, ::step])
    tiny = cv2.resize(image, (_SIDE + 1, _SIDE + 1), interpolation=cv2.INTER_AREA).sum(axis=2, dtype=np.int16)
    if tiny.std() < _LEAST_CONTRAST:
        return None
    corner = tiny[:-1, :-1]
    bits = np.concatenate([(tiny[:-1, 1:] > corner).ravel(), (tiny[1:, :-1] > corner).ravel()])
    return np.packbits(bits).tobytes().ljust(40, b"\0")


def nearest(looks: Sequence[bytes], others: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Of each look the nearest of some others: its place and the number of bits that differ, both int [looks]."""
    first, second = (np.frombuffer(b"".join(many), np.uint64).reshape(-1, 5) for many in (looks, others))
    places, bits = np.zeros(len(first), int), np.zeros(len(first), int)
    for start in range(0, len(first), _CHUNK):
        part = first[start : start + _CHUNK]
        differing = np.zeros((len(part), len(second)), np.uint16)
        for word in range(5):
            differing += np.bitwise_count(part[:, word, None] ^ second[None, :, word])
        places[start : start + _CHUNK] = differing.argmin(axis=1)
        bits[start : start + _CHUNK] = differing.min(axis=1)
    return places, bits


def warnings(examined: Mapping[str, Sequence[Examined]]) -> list[str]:
    """A sentence for each two splits that have images of one look; those with the same pixels are told elsewhere."""
    told = []
    for (split, records), (other, others) in itertools.combinations(examined.items(), 2):
        here, there = ([one for one in many if one.look is not None] for many in (records, others))
        if not here or not there:
            continue
        fewer, more, few, many = (there, here, other, split) if len(there) <= len(here) else (here, there, split, other)
        places, bits = nearest([one.look or b"" for one in fewer], [one.look or b"" for one in more])
        alike = [
            (int(bits[place]), one.id, more[places[place]].id)
            for place, one in enumerate(fewer)
            if bits[place] <= _ALIKE_BITS and one.image_sha256 != more[places[place]].image_sha256
        ]
        if alike:
            pairs = listed((f"{few}/{one} ≈ {many}/{another}" for _, one, another in sorted(alike)), _MOST_TOLD)
            told.append(
                f"{len(alike)} of {len(fewer)} images of split {few!r} look almost like one of {many!r}: {pairs}. "
                "Are they frames of one scene, or copies? Scores on them say little about new scenes. Keep each scene "
                "in one split: prepare again with --group_by and another --name, or with the validation images listed "
                "in --val_list=FILE."
            )
    return told
