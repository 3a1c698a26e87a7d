"""Type and range of the keys of configs/_methods.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csst_jax.settings.kinds import LESS_THAN_ALL, POSITIVE, SHARE, Number, whole

if TYPE_CHECKING:
    from csst_jax.settings.kinds import Kind

OWN_MODULES: dict[str, Kind] = {
    "method.cct.weight": Number(0),
    "method.cct.ramp_up": SHARE,
    "method.cct.adversarial": whole(0),
    "method.cct.drop": whole(0),
    "method.cct.cutout": whole(0),
    "method.cct.context": whole(0),
    "method.cct.background": whole(0),
    "method.cct.feature_drop": whole(0),
    "method.cct.feature_noise": whole(0),
    "method.cct.step": Number(0),
    "method.cct.drop_rate": LESS_THAN_ALL,
    "method.cct.cut_side": SHARE,
    "method.cct.noise": Number(0),
    "method.u2pl.decay": LESS_THAN_ALL,
    "method.u2pl.weight": Number(0),
    "method.u2pl.unreliable": SHARE,
    "method.u2pl.cutmix": SHARE,
    "method.u2pl.contrast_weight": Number(0),
    "method.u2pl.least_probability": LESS_THAN_ALL,
    "method.u2pl.low_rank": whole(0),
    "method.u2pl.high_rank": whole(1),
    "method.u2pl.queries": whole(1),
    "method.u2pl.negatives": whole(1),
    "method.u2pl.temperature": POSITIVE,
    "method.u2pl.channels": whole(1),
    "method.u2pl.bank": whole(1),
    "method.u2pl.new_keys": whole(1),
    "method.pseudoseg.weight": Number(0),
    "method.pseudoseg.temperature": POSITIVE,
    "method.pseudoseg.channels": whole(1),
    "method.pseudoseg.cutout": SHARE,
    "method.hlcon.matching_weight": Number(0),
    "method.hlcon.weight": Number(0),
    "method.hlcon.threshold": LESS_THAN_ALL,
    "method.hlcon.discriminator_rate": Number(0),
    "method.hlcon.discriminator_channels": whole(1),
    "method.hlcon.presence_weight": Number(0),
    "method.hlcon.presence_threshold": SHARE,
    "method.hlcon.decay": LESS_THAN_ALL,
    "method.hlcon.burn_in": SHARE,
    "method.dst_cbc.real_parts": whole(1),
    "method.dst_cbc.unlabelled_parts": whole(1),
    "method.dst_cbc.rounds": whole(1),
    "method.dst_cbc.gamma": Number(0),
    "method.freematch.momentum": LESS_THAN_ALL,
    "method.freematch.weight": Number(0),
    "method.freematch.cutmix": SHARE,
    "method.corrmatch.threshold": LESS_THAN_ALL,
    "method.corrmatch.momentum": LESS_THAN_ALL,
    "method.corrmatch.real_weight": Number(0),
    "method.corrmatch.weight": Number(0),
    "method.corrmatch.dropout": LESS_THAN_ALL,
    "method.corrmatch.cutmix": SHARE,
    "method.corrmatch.regions": whole(1),
}
"""By key of a training stage."""
