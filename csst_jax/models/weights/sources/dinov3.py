"""DINOv3's weights: its own release, timm's and Hugging Face's. All fill a trunk.

Keys have no bias (`backbones/dinov3.py`): the release has an entry that its `qkv.bias_mask` makes zero, timm and
transformers have none. The periods of the rotations are computed. Those in the release's files are rounded to bfloat16.
"""

from __future__ import annotations

from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.models.weights.sources import vit

_OURS = r"backbone.blocks.\1"
_TOKENS = "backbone.storage_tokens"
_PERIODS = "periods of the rotations"


def _qkv_kernel() -> vit.Rules:
    return ((rf"{vit.BLOCK}attn\.qkv\.weight", f"{_OURS}.attn.qkv.kernel", "linear"),)


RELEASE = Source(
    "dinov3",
    (
        ("cls_token", "backbone.cls_token", "identity"),
        ("storage_tokens", _TOKENS, "identity"),
        *vit.trunk(""),
        *vit.scales(""),
        *_qkv_kernel(),
        (rf"{vit.BLOCK}attn\.qkv\.bias", f"{_OURS}.attn.qkv.bias", "query_and_value"),
    ),
    drop=(
        BATCH_COUNTER,
        (vit.MASK, "mask_token"),
        (_PERIODS, r"rope_embed\.periods"),
        ("mask of the keys' biases", rf"{vit.BLOCK}attn\.qkv\.bias_mask"),
    ),
    backbone=True,
)

TIMM = Source(
    "timm",
    (
        ("cls_token", "backbone.cls_token", "identity"),
        ("reg_token", _TOKENS, "identity"),
        *vit.trunk(""),
        (rf"{vit.BLOCK}gamma_([12])", rf"{_OURS}.ls\2.gamma", "identity"),
        *_qkv_kernel(),
        (rf"{vit.BLOCK}attn\.q_bias", f"{_OURS}.attn.qkv.bias[0]", "identity"),
        (rf"{vit.BLOCK}attn\.v_bias", f"{_OURS}.attn.qkv.bias[1]", "identity"),
    ),
    drop=(BATCH_COUNTER, (vit.CLASSIFIER, r"head\.(weight|bias)")),
    backbone=True,
    zero=(r"backbone\.blocks\.\d+\.attn\.qkv\.bias",),
)
"""timm's `vit_*_patch16_dinov3`, which have no biases of queries and values, and `vit_*_patch16_dinov3_qkvb`."""

_LAYER = r"(?:model\.)?layer\.(\d+)\."

HUGGING_FACE = Source(
    "hugging_face",
    (
        (r"embeddings\.cls_token", "backbone.cls_token", "identity"),
        (r"embeddings\.register_tokens", _TOKENS, "identity"),
        *modules(
            (r"embeddings\.patch_embeddings", "backbone.patch_embed"),
            ("norm", "backbone.norm"),
            (rf"{_LAYER}(norm[12])", rf"{_OURS}.\2"),
        ),
        *vit.linears(
            (rf"{_LAYER}attention\.o_proj", f"{_OURS}.attn.proj"),
            (rf"{_LAYER}mlp\.up_proj", f"{_OURS}.mlp.fc1"),
            (rf"{_LAYER}mlp\.down_proj", f"{_OURS}.mlp.fc2"),
        ),
        (rf"{_LAYER}layer_scale([12])\.lambda1", rf"{_OURS}.ls\2.gamma", "identity"),
        *(
            (rf"{_LAYER}attention\.{letter}_proj\.weight", f"{_OURS}.attn.qkv.kernel[{part}]", "linear")
            for part, letter in enumerate("qkv")
        ),
        *(
            (rf"{_LAYER}attention\.{letter}_proj\.bias", f"{_OURS}.attn.qkv.bias[{part}]", "identity")
            for part, letter in enumerate("qv")
        ),
    ),
    drop=(BATCH_COUNTER, (vit.MASK, r"embeddings\.mask_token")),
    backbone=True,
)
"""transformers' `DINOv3ViTModel`."""
