"""Rules that DINOv2's and DINOv3's sources share: those of vision transformers whose names are DINOv2's."""

from __future__ import annotations

from csst_jax.models.weights.rules import modules

Rules = tuple[tuple[str, str, str], ...]

BLOCK = r"blocks\.(\d+)\."
CLASSIFIER = "ImageNet classifier"
MASK = "mask token of the pretraining"


def linears(*pairs: tuple[str, str]) -> Rules:
    """Rules for linear layers that are products with a matrix here; not `rules.linears`, which are convolutions."""
    rules = []
    for pattern, replacement in pairs:
        rules.append((rf"{pattern}\.weight", f"{replacement}.kernel", "linear"))
        rules.append((rf"{pattern}\.bias", f"{replacement}.bias", "identity"))
    return tuple(rules)


def trunk(prefix: str) -> Rules:
    """Of DINOv2's names behind a prefix, without those of tokens, position embeddings, `attn.qkv` and layer scales."""
    return (
        *modules(
            (rf"{prefix}patch_embed\.proj", "backbone.patch_embed"),
            (rf"{prefix}norm", "backbone.norm"),
            (rf"{prefix}{BLOCK}(norm[12])", r"backbone.blocks.\1.\2"),
        ),
        *linears((rf"{prefix}{BLOCK}(attn\.proj|mlp\.fc1|mlp\.fc2)", r"backbone.blocks.\1.\2")),
    )


def scales(prefix: str) -> Rules:
    """Of DINOv2's layer scales."""
    return ((rf"{prefix}{BLOCK}(ls[12])\.gamma", r"backbone.blocks.\1.\2.gamma", "identity"),)
