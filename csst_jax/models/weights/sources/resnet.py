"""Names inside residual trunks, which many sources share; each puts its own prefix before them."""

from __future__ import annotations

RESNET = (
    (r"(conv1|bn1)", r"\1"),
    (r"(layer[1-4]\.\d+\.(?:conv[1-3]|bn[1-3]|downsample\.[01]))", r"\1"),
)
"""torchvision's, timm's and Caffe descendants' ResNets: the names that ours have."""

DEEP_STEM = (
    (r"(layer[1-4]\.\d+\.(?:conv[1-3]|bn[1-3]|downsample\.[01]))", r"\1"),
    (r"stem\.0", "conv1"),
    (r"stem\.1", "bn1"),
    (r"stem\.3", "conv2"),
    (r"stem\.4", "bn2"),
    (r"stem\.6", "conv3"),
    (r"stem\.7", "bn3"),
)
"""mmsegmentation's ResNetV1c."""

SE_RESNEXT = (
    (r"layer0\.(conv1|bn1)", r"\1"),
    (r"(layer[1-4]\.\d+\.(?:conv[1-3]|bn[1-3]|downsample\.[01]|se_module\.fc[12]))", r"\1"),
)
"""Cadene's pretrained-models, and timm's `legacy_seresnext50_32x4d` after it."""

HRNET = (
    (r"(conv[12]|bn[12])", r"\1"),
    (r"(layer1\.\d+\.(?:conv[1-3]|bn[1-3]|downsample\.[01]))", r"\1"),
    (r"(stage[2-4]\.\d+\.branches\.\d+\.\d+\.(?:conv[12]|bn[12]))", r"\1"),
    (r"(stage[2-4]\.\d+\.fuse_layers\.\d+\.\d+(?:\.\d+)?)\.0", r"\1.conv"),
    (r"(stage[2-4]\.\d+\.fuse_layers\.\d+\.\d+(?:\.\d+)?)\.1", r"\1.bn"),
    (r"(transition[1-3]\.\d+(?:\.\d+)?)\.0", r"\1.conv"),
    (r"(transition[1-3]\.\d+(?:\.\d+)?)\.1", r"\1.bn"),
)
"""HRNet-Semantic-Segmentation's, timm's and mmsegmentation's HRNet."""


def inside(pairs: tuple[tuple[str, str], ...], theirs: str, ours: str = "backbone.") -> tuple[tuple[str, str], ...]:
    """The pairs with a prefix on either side; `theirs` is a pattern."""
    return tuple((theirs + pattern, ours + replacement) for pattern, replacement in pairs)
