"""Losses per pixel, by the name that `loss.name` gives."""

LOSSES = {
    "cross_entropy": "csst_jax.losses.cross_entropy:cross_entropy",
}
"""Each is called as (logits "*b c", labels "*b", valid "*b") and returns values "*b", float32, zero where not valid."""
