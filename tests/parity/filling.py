"""Weights, images and labels that depend on names alone, so that the recorder and the tests make the same ones.

Only numpy is needed: the recorder runs in an environment of its own (see record.py).
"""

import hashlib

import numpy as np


def generator(name):
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def fill(name, shape):
    """float32 values of a state dict's entry; of a size that keeps activations sane through a hundred layers."""
    rng, leaf, shape = generator(name), name.rpartition(".")[2], tuple(shape)
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "running_var":
        values = rng.uniform(0.6, 1.4, shape)
    elif leaf == "scale":  # EncNet's, negative by construction
        values = rng.uniform(-1.0, 0.0, shape)
    elif len(shape) > 1:
        values = rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(1.5 / np.prod(shape[1:])))
    elif leaf == "weight":
        values = rng.uniform(0.5, 1.2, shape)
    else:  # biases and running means
        values = 0.1 * rng.standard_normal(shape)
    return np.asarray(values, np.float32)


def images(size):
    """float32 [2, h, w, 3], normalised; the two differ in brightness, or statistics over single pixels would vanish."""
    values = generator(f"images {size}").standard_normal((2, *size, 3), np.float32)
    return values + np.array([-0.5, 0.5], np.float32)[:, None, None, None]


def labels(size, num_classes):
    """int64 [2, h, w]: rectangles of 16 pixels a side."""
    coarse = generator(f"labels {size}").integers(0, num_classes, (2, -(-size[0] // 16), -(-size[1] // 16)))
    return coarse.repeat(16, 1).repeat(16, 2)[:, : size[0], : size[1]]


def weights(shape):
    """float32: what the mean of features is weighted with, to have a loss of them."""
    return generator(f"weights {tuple(shape)}").standard_normal(tuple(shape), np.float32)


def positions(name, size, count):
    """Which of `size` values a fixture keeps: sorted int64, at most `count`."""
    return np.sort(generator(f"positions {name}").permutation(size)[:count])
