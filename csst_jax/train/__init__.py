"""How a stage trains: its step, loop and checkpoints; and optimizers, by the name that `optimizer.name` gives."""

OPTIMIZERS = {
    "sgd": "csst_jax.train.optimizers:Sgd",
    "adamw": "csst_jax.train.optimizers:AdamW",
}
"""Each is a `csst_jax.train.optimizers.Optimizer`."""
