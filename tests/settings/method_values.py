"""A wrong value for each key of configs/_methods.py."""

NEGATIVE, TOO_MUCH, ALL, NOTHING, NONE, FEWER = (-1e-9,), (1.1,), (1.0,), (0.0,), (0,), (-1,)

_BY_METHOD = {
    "cct": {
        **dict.fromkeys(("weight", "step", "noise"), NEGATIVE),
        **dict.fromkeys(("ramp_up", "cut_side"), TOO_MUCH),
        **dict.fromkeys(
            ("adversarial", "drop", "cutout", "context", "background", "feature_drop", "feature_noise"), FEWER
        ),
        "drop_rate": ALL,
    },
    "freematch": {"momentum": ALL, "weight": NEGATIVE, "cutmix": TOO_MUCH},
    "u2pl": {
        **dict.fromkeys(("weight", "contrast_weight"), NEGATIVE),
        **dict.fromkeys(("unreliable", "cutmix"), TOO_MUCH),
        **dict.fromkeys(("decay", "least_probability"), ALL),
        **dict.fromkeys(("queries", "negatives", "channels", "bank", "new_keys", "high_rank"), NONE),
        "temperature": NOTHING,
        "low_rank": FEWER,
    },
    "pseudoseg": {"weight": NEGATIVE, "temperature": NOTHING, "channels": NONE, "cutout": TOO_MUCH},
    "hlcon": {
        **dict.fromkeys(("matching_weight", "weight", "discriminator_rate", "presence_weight"), NEGATIVE),
        **dict.fromkeys(("presence_threshold", "burn_in"), TOO_MUCH),
        **dict.fromkeys(("threshold", "decay"), ALL),
        "discriminator_channels": NONE,
    },
    "dst_cbc": {**dict.fromkeys(("real_parts", "unlabelled_parts", "rounds"), NONE), "gamma": NEGATIVE},
    "corrmatch": {
        **dict.fromkeys(("real_weight", "weight"), NEGATIVE),
        **dict.fromkeys(("threshold", "momentum", "dropout"), ALL),
        "cutmix": TOO_MUCH,
        "regions": NONE,
    },
}
OWN_MODULES = {f"method.{name}.{key}": wrong for name, keys in _BY_METHOD.items() for key, wrong in keys.items()}
