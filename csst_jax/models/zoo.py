"""Networks by name, resolved when one is asked for."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import inspect
from typing import TYPE_CHECKING, Any

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flax import nnx


@dataclasses.dataclass(frozen=True)
class Entry:
    """One name of the zoo.

    Attributes:
      builder: "module:function" or "module:class", called as build(num_classes, rngs=…, **options).
      options: what the name stands for among the builder's options: the backbone.
    """

    builder: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _entries(network: str, *backbones: str) -> dict[str, Entry]:
    builder = f"csst_jax.models.{network}:build"
    return {f"{network}_{backbone}": Entry(builder, {"backbone": backbone}) for backbone in backbones}


# Of `backbones.pyramid`, which is not imported for its names alone.
_PYRAMID = (
    "resnet18",
    "resnet50",
    "resnet101",
    "resnext50_32x4d",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
)

NETWORKS: dict[str, Entry] = {
    "fast_scnn": Entry("csst_jax.models.fast_scnn:build"),
    **_entries("bisenet", "resnet18"),
    **_entries("icnet", "resnet50"),
    **_entries("fcn", "resnet50", "hrnet_w48"),
    **_entries("pspnet", "resnet50", "resnet101"),
    **_entries("deeplab_v2", "resnet101"),
    **_entries("deeplab_v3", "resnet50", "resnet101"),
    **_entries(
        "deeplab_v3_plus",
        "resnet18",
        "resnet50",
        "resnet101",
        "resnext50_32x4d",
        "se_resnext50_32x4d",
        "wide_resnet38",
        "efficientnet_lite0",
    ),
    **_entries("light_fpn", "efficientnet_lite0"),
    **_entries("fpn", *_PYRAMID),
    **_entries("unet", *_PYRAMID),
    **_entries("ocr", "hrnet_w48"),
    **_entries("encnet", "resnet50", "resnet101"),
    **_entries("dpt", *(f"dinov{version}_{size}" for version in (2, 3) for size in ("small", "base", "large"))),
}


def entry(name: str) -> Entry:
    """The entry of a name.

    Raises:
      CsstError: unknown name; lists the known ones and the nearest.
    """
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise CsstError(f"unknown network {name!r}; known are: {', '.join(sorted(NETWORKS))}.{hint}")
    return NETWORKS[name]


def builder(name: str, num_classes: int, **options: Any) -> Callable[..., nnx.Module]:
    """A function of `rngs` alone that builds the named network.

    Args:
      name: a key of `NETWORKS`.
      num_classes: classes of the logits.
      **options: the network's own options, on top of the entry's.

    Raises:
      CsstError: unknown name, an option that the network does not have, or an unknown lineage; lists the known ones.
    """
    found = entry(name)
    build = _build(found)
    known = [option for option in _options(build) if option not in found.options]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise CsstError(f"network {name!r} has no option {', '.join(unknown)}; it has: {', '.join(known)}.")
    if "lineage" in options and options["lineage"] not in lineages(name):
        raise CsstError(
            f"network {name!r} has no lineage {options['lineage']!r}; known are: {', '.join(lineages(name))}."
        )
    return functools.partial(build, num_classes, **found.options, **options)


def has_option(name: str, option: str) -> bool:
    """Whether the named network's builder takes an option."""
    return option in _options(_build(entry(name)))


def lineages(name: str) -> tuple[str, ...]:
    """Whose versions of the named network there are, the default first; empty if there is one alone."""
    found = entry(name)
    backbone = found.options.get("backbone")
    module = importlib.import_module(found.builder.partition(":")[0])
    every = getattr(module, "LINEAGES", {})
    return tuple(key for key, variant in every.items() if backbone in getattr(variant, "backbones", [backbone]))


def _options(build: Callable[..., nnx.Module]) -> list[str]:
    # NNX's metaclass hides a class's own signature.
    parameters = inspect.signature(vars(build)["__init__"] if isinstance(build, type) else build).parameters
    return [name for name in parameters if name not in ("self", "num_classes", "rngs")]


def _build(found: Entry) -> Callable[..., nnx.Module]:
    module, _, function = found.builder.partition(":")
    return getattr(importlib.import_module(module), function)
