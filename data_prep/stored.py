"""From a checked example to what is stored of it: image and label in their stored forms, and the components."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib

from csst_jax.data.stored import centroid_index, encoded, tiles
from csst_jax.types import CsstError
from data_prep.raw import RawExample

STORAGES = ("tiles", "jpeg95", "original")
"""Forms of images (docs/adr/0008-images-in-tiles.md). Labels are stored alike in all: without loss."""

_JPEG_QUALITY = 95
_PNG = b"\x89PNG"


@dataclasses.dataclass(frozen=True)
class StoredExample:
    """What one record stores.

    Attributes:
      id: unique in the split.
      image: the encoded image.
      label: the encoded label.
      labelled: whether the image came with a mask.
      components: see `centroid_index.Found`.
      image_digest: hash of the image as it came, in 16 hexadecimal digits.
      turned: whether its pixels were turned, as its EXIF tag says.
      like_mask: its file if it has the values of masks alone; empty otherwise.
    """

    id: str
    image: bytes
    label: bytes
    labelled: bool
    components: centroid_index.Found
    image_digest: str
    turned: bool
    like_mask: str


def add_argument(arguments: argparse.ArgumentParser) -> None:
    """Adds --storage."""
    arguments.add_argument(
        "--storage",
        choices=STORAGES,
        default=STORAGES[0],
        help="how PNG images are kept: tiles (default; lossless, and a crop decodes its part alone), jpeg95 (the same "
        "in a third of the space, lossy), original (as they are). JPEG images stay as they are",
    )


def store_form(example: RawExample, num_classes: int, storage: str) -> StoredExample:
    """Encodes an example and finds its components.

    Raises:
      CsstError: a label value is neither a class nor 255, or training could not decode the image; names the id.
    """
    found = centroid_index.find(example.id, example.label, num_classes)
    try:
        image = image_form(example.image_bytes, storage)
    except CsstError as error:
        raise CsstError(f"{example.id}: the image cannot be decoded ({error}) Save it as PNG.") from error
    return StoredExample(
        example.id,
        image,
        encoded.encode_label(example.label),
        example.labelled,
        found,
        hashlib.sha256(example.image_bytes).hexdigest()[:16],
        example.turned,
        example.like_mask,
    )


def image_form(image: bytes, storage: str) -> bytes:
    """The stored form of an encoded image.

    Images no larger than a tile stay as they are, since no crop could skip a part; JPEGs do, since decoding and
    encoding them once more would lose more, or store their noise without loss in three times the space.

    Raises:
      CsstError: OpenCV, which training decodes with, cannot read what Pillow could.
    """
    pixels = encoded.decode_rgb(image)
    if storage == "original" or image[:4] != _PNG or max(pixels.shape[:2]) <= tiles.TILE_PX:
        return image
    return tiles.encode(pixels, _JPEG_QUALITY if storage == "jpeg95" else None)
