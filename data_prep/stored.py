"""From a checked example to what is stored of it: image and label in their stored forms, and the components."""

from __future__ import annotations

import argparse
import dataclasses

from csst_jax.data.stored import centroid_index, encoded, tiles
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
    """

    id: str
    image: bytes
    label: bytes
    labelled: bool
    components: centroid_index.Found


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
      CsstError: a label value is neither a class nor 255; names the id.
    """
    found = centroid_index.find(example.id, example.label, num_classes)
    image = image_form(example.image_bytes, storage)
    return StoredExample(example.id, image, encoded.encode_label(example.label), example.labelled, found)


def image_form(image: bytes, storage: str) -> bytes:
    """The stored form of an encoded image.

    Images no larger than a tile stay as they are, since no crop could skip a part; JPEGs do, since decoding and
    encoding them once more would lose more, or store their noise without loss in three times the space.
    """
    if storage == "original" or image[:4] != _PNG or max(encoded.size(image)) <= tiles.TILE_PX:
        return image
    return tiles.encode(encoded.decode_rgb(image), _JPEG_QUALITY if storage == "jpeg95" else None)
