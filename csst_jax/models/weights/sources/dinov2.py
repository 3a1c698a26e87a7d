"""DINOv2's weights: its own release, timm's and Hugging Face's, which fill a trunk; UniMatch V2's whole networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.models.weights.sources import vit

if TYPE_CHECKING:
    from csst_jax.models.preprocessing import Preprocessing


def _trunk(prefix: str) -> vit.Rules:
    """Of DINOv2's names, which timm has as well."""
    return (
        (rf"{prefix}(cls_token|pos_embed)", r"backbone.\1", "identity"),
        *vit.trunk(prefix),
        *vit.linears((rf"{prefix}{vit.BLOCK}(attn\.qkv)", r"backbone.blocks.\1.\2")),
        *vit.scales(prefix),
    )


RELEASE = Source("dinov2", _trunk(""), drop=(BATCH_COUNTER, (vit.MASK, r"mask_token")), backbone=True)

TIMM = Source("timm", _trunk(""), drop=(BATCH_COUNTER, (vit.CLASSIFIER, r"head\.(weight|bias)")), backbone=True)

_LAYER = r"(?:dinov2\.)?encoder\.layer\.(\d+)\."


def _hugging_face() -> vit.Rules:
    embeddings, block = r"(?:dinov2\.)?embeddings\.", r"backbone.blocks.\1"
    rules = [
        (rf"{embeddings}cls_token", "backbone.cls_token", "identity"),
        (rf"{embeddings}position_embeddings", "backbone.pos_embed", "identity"),
        *modules(
            (rf"{embeddings}patch_embeddings\.projection", "backbone.patch_embed"),
            (r"(?:dinov2\.)?layernorm", "backbone.norm"),
            (rf"{_LAYER}(norm[12])", rf"{block}.\2"),
        ),
        *vit.linears(
            (rf"{_LAYER}attention\.(?:output\.dense|o_proj)", f"{block}.attn.proj"),
            (rf"{_LAYER}mlp\.(fc[12])", rf"{block}.mlp.\2"),
        ),
        (rf"{_LAYER}layer_scale([12])\.lambda1", rf"{block}.ls\2.gamma", "identity"),
    ]
    for part, name in enumerate(("query", "key", "value")):
        theirs = rf"{_LAYER}attention\.(?:attention\.{name}|{name[0]}_proj)"
        rules += [
            (rf"{theirs}\.weight", f"{block}.attn.qkv.kernel[{part}]", "linear"),
            (rf"{theirs}\.bias", f"{block}.attn.qkv.bias[{part}]", "identity"),
        ]
    return tuple(rules)


HUGGING_FACE = Source(
    "hugging_face",
    _hugging_face(),
    drop=(
        BATCH_COUNTER,
        (vit.MASK, r"(?:dinov2\.)?embeddings\.mask_token"),
        (vit.CLASSIFIER, r"classifier\.(weight|bias)"),
    ),
    backbone=True,
)
"""transformers' `Dinov2Model` and `Dinov2ForImageClassification`, by the names in files and by those of version 5."""

_SCRATCH = r"head\.scratch\."


def _head() -> vit.Rules:
    numbers = [(n, n - 1) for n in (1, 2, 3, 4)]  # theirs, from 1; ours, from 0
    return (
        *modules(
            (r"head\.projects\.(\d)", r"head.projects.\1"),
            (r"head\.resize_layers\.3", "head.downsample2"),
            *((rf"{_SCRATCH}layer{n}_rn", f"head.layers.{i}") for n, i in numbers),
            *(
                (rf"{_SCRATCH}refinenet{n}\.resConfUnit([12])\.(conv[12])", rf"head.fusions.{i}.unit\1.\2")
                for n, i in numbers[:3]
            ),
            (rf"{_SCRATCH}refinenet4\.resConfUnit2\.(conv[12])", r"head.fusions.3.unit2.\1"),
            *((rf"{_SCRATCH}refinenet{n}\.out_conv", f"head.fusions.{i}.out_conv") for n, i in numbers),
            (rf"{_SCRATCH}output_conv\.0", "head.output"),
            (rf"{_SCRATCH}output_conv\.2", "classifier"),
        ),
        *(
            rule
            for layer, name in ((0, "upsample4"), (1, "upsample2"))
            for rule in (
                (rf"head\.resize_layers\.{layer}\.weight", f"head.{name}.kernel", "transposed_conv"),
                (rf"head\.resize_layers\.{layer}\.bias", f"head.{name}.bias", "identity"),
            )
        ),
    )


_UNUSED = "parts of the coarsest fusion that are not used"
UNIMATCH_V2 = Source(
    "unimatch_v2",
    (*_trunk(r"backbone\."), *_head()),
    drop=(BATCH_COUNTER, (vit.MASK, r"backbone\.mask_token"), (_UNUSED, rf"{_SCRATCH}refinenet4\.resConfUnit1\..*")),
)


def config(num_classes: int, preprocessing: Preprocessing) -> str:
    """What there is to say to UniMatch V2 for a network of ours, besides the size of its encoder."""
    return (
        f"nclass={num_classes}; load_state_dict(…, strict=False), as backbone.mask_token and refinenet4.resConfUnit1 "
        f"are unused and not in the file; {preprocessing.told()}"
    )
