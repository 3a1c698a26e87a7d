"""Sources by name, resolved when one is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from csst_jax.models.weights.rules import Source

_HERE = "csst_jax.models.weights.sources"

SOURCES: dict[str, dict[str, str]] = {
    "torchvision": {"": f"{_HERE}.torchvision:BACKBONE"},
    "torchvision_segmentation": {
        "fcn": f"{_HERE}.torchvision:FCN",
        "deeplab_v3": f"{_HERE}.torchvision:DEEPLAB_V3",
    },
    "timm": {
        "": f"{_HERE}.timm:RESNETS",
        "ocr": f"{_HERE}.timm:HRNETS",
        "fcn_hrnet_w48": f"{_HERE}.timm:HRNETS",
        "deeplab_v3_plus_efficientnet_lite0": f"{_HERE}.efficientnet_lite:TIMM",
    },
    "efficientnet_lite": {"deeplab_v3_plus_efficientnet_lite0": f"{_HERE}.efficientnet_lite:PACKAGE"},
    "mmseg": {
        "fast_scnn": f"{_HERE}.mmseg_fast_scnn:SOURCE",
        "bisenet": f"{_HERE}.mmseg_real_time:BISENET",
        "icnet": f"{_HERE}.mmseg_real_time:ICNET",
        "fcn": f"{_HERE}.mmseg_heads:FCN",
        "fcn_hrnet_w48": f"{_HERE}.mmseg_context:FCN_HRNET",
        "pspnet": f"{_HERE}.mmseg_heads:PSPNET",
        "deeplab_v3": f"{_HERE}.mmseg_heads:DEEPLAB_V3",
        "deeplab_v3_plus": f"{_HERE}.mmseg_heads:DEEPLAB_V3_PLUS",
        "ocr": f"{_HERE}.mmseg_context:OCR",
        "encnet": f"{_HERE}.mmseg_context:ENCNET",
    },
    "smp": {
        "pspnet": f"{_HERE}.smp:PSPNET",
        "deeplab_v3_plus": f"{_HERE}.smp:DEEPLAB_V3_PLUS",
    },
    "vplr": {"deeplab_v3_plus": f"{_HERE}.vplr:DEEPLAB_V3_PLUS"},
    "hrnet_ocr": {"ocr": f"{_HERE}.hrnet:OCR", "fcn_hrnet_w48": f"{_HERE}.hrnet:FCN"},
    "semseg": {"pspnet": f"{_HERE}.original:PSPNET"},
    "encoding": {
        "fcn": f"{_HERE}.original:ENCODING_FCN",
        "deeplab_v3": f"{_HERE}.original:ENCODING_DEEPLAB_V3",
        "encnet": f"{_HERE}.original:ENCODING_ENCNET",
    },
    "torchseg": {"bisenet": f"{_HERE}.original:BISENET"},
    "advsemiseg": {"deeplab_v2": f"{_HERE}.original:DEEPLAB_V2"},
}
"""Source -> beginning of a network's name in the zoo -> "module:attribute". The longest beginning counts."""


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
    networks = SOURCES[name]
    fitting = _fitting(name, network)
    if not fitting:
        raise CsstError(f"source {name!r} has no {network!r}; it has: {', '.join(networks)}.")
    module, _, attribute = networks[max(fitting, key=len)].partition(":")
    return getattr(importlib.import_module(module), attribute)


def sources_of(network: str) -> tuple[str, ...]:
    """Names of the sources that know a network of the zoo by name; others may fill its backbone."""
    return tuple(name for name in SOURCES if any(_fitting(name, network)))


def _fitting(name: str, network: str) -> list[str]:
    return [start for start in SOURCES[name] if network == start or network.startswith(f"{start}_") or not start]
