"""Sources by name, resolved when one is asked for."""

from __future__ import annotations

import fnmatch
import importlib
from typing import TYPE_CHECKING

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from csst_jax.models.weights.rules import Source

_HERE = "csst_jax.models.weights.sources"

_DILATED = "resnet*"  # resnet18, resnet50, resnet101

SOURCES: dict[str, dict[str, str]] = {
    "torchvision": {"*": f"{_HERE}.torchvision:BACKBONE"},
    "torchvision_segmentation": {
        f"fcn_{_DILATED}": f"{_HERE}.torchvision:FCN",
        f"deeplab_v3_{_DILATED}": f"{_HERE}.torchvision:DEEPLAB_V3",
    },
    "timm": {
        "*_hrnet_w48": f"{_HERE}.timm:HRNETS",
        "*_efficientnet_lite?": f"{_HERE}.efficientnet_lite:TIMM",
        "*_dinov2_*": f"{_HERE}.dinov2:TIMM",
        "*_dinov3_*": f"{_HERE}.dinov3:TIMM",
        "*": f"{_HERE}.timm:RESNETS",
    },
    "dinov2": {"*_dinov2_*": f"{_HERE}.dinov2:RELEASE"},
    "dinov3": {"*_dinov3_*": f"{_HERE}.dinov3:RELEASE"},
    "hugging_face": {"*_dinov2_*": f"{_HERE}.dinov2:HUGGING_FACE", "*_dinov3_*": f"{_HERE}.dinov3:HUGGING_FACE"},
    "efficientnet_lite": {"*_efficientnet_lite0": f"{_HERE}.efficientnet_lite:PACKAGE"},
    "mmseg": {
        "fast_scnn": f"{_HERE}.mmseg_fast_scnn:SOURCE",
        "bisenet_*": f"{_HERE}.mmseg_real_time:BISENET",
        "icnet_*": f"{_HERE}.mmseg_real_time:ICNET",
        f"fcn_{_DILATED}": f"{_HERE}.mmseg_heads:FCN",
        "fcn_hrnet_w48": f"{_HERE}.mmseg_context:FCN_HRNET",
        f"pspnet_{_DILATED}": f"{_HERE}.mmseg_heads:PSPNET",
        f"deeplab_v3_{_DILATED}": f"{_HERE}.mmseg_heads:DEEPLAB_V3",
        f"deeplab_v3_plus_{_DILATED}": f"{_HERE}.mmseg_heads:DEEPLAB_V3_PLUS",
        "ocr_hrnet_w48": f"{_HERE}.mmseg_context:OCR",
        f"encnet_{_DILATED}": f"{_HERE}.mmseg_context:ENCNET",
    },
    "smp": {
        f"pspnet_{_DILATED}": f"{_HERE}.smp:PSPNET",
        f"deeplab_v3_plus_{_DILATED}": f"{_HERE}.smp:DEEPLAB_V3_PLUS",
        "deeplab_v3_plus_resnext50_32x4d": f"{_HERE}.smp:DEEPLAB_V3_PLUS",
        "deeplab_v3_plus_se_resnext50_32x4d": f"{_HERE}.smp:DEEPLAB_V3_PLUS_SE",
        "deeplab_v3_plus_efficientnet_lite0": f"{_HERE}.smp:DEEPLAB_V3_PLUS_LITE",
        "fpn_efficientnet_lite?": f"{_HERE}.smp:FPN_LITE",
        "fpn_*": f"{_HERE}.smp:FPN",
        "unet_efficientnet_lite?": f"{_HERE}.smp:UNET_LITE",
        "unet_*": f"{_HERE}.smp:UNET",
    },
    "vplr": {
        f"deeplab_v3_plus_{_DILATED}": f"{_HERE}.vplr:DEEPLAB_V3_PLUS",
        "deeplab_v3_plus_*resnext50_32x4d": f"{_HERE}.vplr:DEEPLAB_V3_PLUS",
        "deeplab_v3_plus_wide_resnet38": f"{_HERE}.vplr:DEEPLAB_V3_PLUS",
    },
    "hrnet_ocr": {"ocr_hrnet_w48": f"{_HERE}.hrnet:OCR", "fcn_hrnet_w48": f"{_HERE}.hrnet:FCN"},
    "semseg": {f"pspnet_{_DILATED}": f"{_HERE}.original:PSPNET"},
    "encoding": {
        f"fcn_{_DILATED}": f"{_HERE}.original:ENCODING_FCN",
        f"deeplab_v3_{_DILATED}": f"{_HERE}.original:ENCODING_DEEPLAB_V3",
        f"encnet_{_DILATED}": f"{_HERE}.original:ENCODING_ENCNET",
    },
    "torchseg": {"bisenet_*": f"{_HERE}.original:BISENET"},
    "unimatch_v2": {"dpt_dinov2_*": f"{_HERE}.dinov2:UNIMATCH_V2"},
    "advsemiseg": {"deeplab_v2_*": f"{_HERE}.original:DEEPLAB_V2"},
}
"""Source -> shell pattern of a network's name in the zoo -> "module:attribute". The first that matches counts."""


def source(name: str, network: str) -> Source:
    """How checkpoints of a source are read into a network.

    Args:
      name: a key of `SOURCES`.
      network: a key of the zoo.

    Raises:
      CsstError: unknown source, or one without this network; lists what there is.
    """
    if name not in SOURCES:
        raise CsstError(f"unknown source {name!r}; known are: {', '.join(SOURCES)}.")
    fitting = _fitting(name, network)
    if not fitting:
        raise CsstError(f"source {name!r} has no {network!r}; it has: {', '.join(SOURCES[name])}.")
    module, _, attribute = SOURCES[name][fitting[0]].partition(":")
    return getattr(importlib.import_module(module), attribute)


def knows(name: str, network: str) -> bool:
    """Whether a source has a network of the zoo."""
    return bool(_fitting(name, network))


def sources_of(network: str) -> tuple[str, ...]:
    """Names of the sources that know a network of the zoo by name; others may fill its backbone."""
    return tuple(name for name in SOURCES if set(_fitting(name, network)) - {"*"})


def _fitting(name: str, network: str) -> list[str]:
    return [pattern for pattern in SOURCES[name] if fnmatch.fnmatchcase(network, pattern)]
