"""What the networks of mmsegmentation 1.x share: preprocessing, trunks, the fully convolutional heads."""

from __future__ import annotations

from typing import Any

from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.models.weights.sources.resnet import DEEP_STEM, inside

# mmsegmentation reads BGR and turns it into RGB (`bgr_to_rgb`) before it subtracts.
PREPROCESSING = Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "RGB", 255.0)

LAYER = r"\.(conv|bn)"
"""What a `ConvModule` consists of there and a `ConvBN` here."""

TRUNK = inside(DEEP_STEM, r"backbone\.")
"""ResNetV1c of the encoder-decoders."""


def fcn_head(theirs: str, ours: str) -> tuple[tuple[str, str], ...]:
    """`FCNHead` there to `heads.fcn.FCNHead` here; `theirs` is a pattern without groups."""
    return (
        (rf"{theirs}\.convs\.(\d+){LAYER}", rf"{ours}.convs.\1.\2"),
        (rf"{theirs}\.conv_cat{LAYER}", rf"{ours}.conv_cat.\1"),
        (rf"{theirs}\.conv_seg", rf"{ours}.conv_seg"),
    )


def source(*pairs: tuple[str, str], drop: tuple[tuple[str, str], ...] = (), **options: Any) -> Source:
    """A source of mmsegmentation's from (pattern, replacement) pairs of modules and further builder's options."""
    return Source("mmseg", modules(*pairs), (BATCH_COUNTER, *drop), PREPROCESSING, {"lineage": "mmseg", **options})


def config(num_classes: int, preprocessing: Preprocessing) -> str:
    """What a config of mmsegmentation's has to say for a network of ours, besides the network."""
    mean, std = (
        [round(255 / preprocessing.value_range * value, 4) for value in values]
        for values in (preprocessing.mean, preprocessing.std)
    )
    bgr_to_rgb = preprocessing.channels == "RGB"
    return f"num_classes={num_classes}, data_preprocessor=dict(mean={mean}, std={std}, bgr_to_rgb={bgr_to_rgb})"
