"""A network's outputs as shapes and dtypes, for a batch of two: nothing is compiled."""

import jax
import jax.numpy as jnp


def train(network, size):
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    return jax.eval_shape(network.apply_train, network.params, network.batch_stats, images, jax.random.key(0))[0]


def evaluate(network, size):
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    return jax.eval_shape(network.apply_eval, network.params, network.batch_stats, images)
