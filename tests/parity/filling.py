"""Weights, images and labels that depend on names alone, so that the recorder and the tests make the same ones.

Only numpy is needed: the recorder runs in an environment of its own (see record.py).
"""

import hashlib
import re

import numpy as np

# Of normalisations, where a deviation is about 0.8; and how far the two images are from the mean.
BIAS, BRIGHTNESS = 2.0, 1.0
# Normalisations over two values, one an image, make 1 and -1 of them, unless they differ by no more than the root of
# epsilon: there the gradient is huge, and depends on the last digits. Small gains keep that down.
_POOLED = re.compile(r".*(psp_modules|ppm)\.0\.1\.bn|.*image_pool\.1\.bn|.*\.convs\.4\.2|.*(atten|gap_conv).*\.bn")


def generator(name):
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def fill(layout):
    """float32 values for each entry of a state dict, of which `layout` has names and shapes.

    The comparison is one of float32 with float64, so that it is only as sharp as the network is well-conditioned. What
    is not: a ReLU whose input is near zero, for its gradient is 0 or 1 as rounding has it. So normalisations have
    biases of two to three deviations, and inside of residual blocks a quarter of them is negative. (In evaluation mode,
    where running statistics are not those of the batch, inputs have both signs everywhere.) What ends in a sum with its
    input has small gains, or activations would grow with each; and positive biases, so that no sum comes near zero.
    """
    norms = {name.removesuffix(".running_var") for name in layout if name.endswith(".running_var")}
    # Normalisations by group have no statistics; no other layer has a weight of one axis.
    norms |= {name.removesuffix(".weight") for name in layout if name.endswith(".weight") and len(layout[name]) == 1}
    return {name: _fill(name, tuple(shape), norms) for name, shape in layout.items()}


def _fill(name, shape, norms):
    rng, (layer, _, leaf) = generator(name), name.rpartition(".")
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    after = _after(layer)
    if leaf == "pos_embed":  # large enough that its interpolation counts
        values = 0.5 * rng.standard_normal(shape, np.float32)
    elif leaf in ("gamma", "gamma_1", "gamma_2"):  # layer scale
        values = rng.uniform(0.2, 0.4, shape)
    elif leaf == "running_var":
        values = rng.uniform(0.6, 1.4, shape)
    elif leaf == "scale":  # EncNet's: negative, and so small that the nearest code has not all of the weight
        values = rng.uniform(-1.0, 0.0, shape) / 256
    elif len(shape) > 1:
        values = rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(1.5 / np.prod(shape[1:])))
    elif layer in norms and leaf == "weight":
        values = rng.uniform(0.6, 1.0, shape) * (0.5 if after and after not in norms else 1.0)
        values = 0.01 * values if _POOLED.fullmatch(layer) else values
    elif layer in norms and leaf == "bias":
        if after is None:
            values = np.full(shape, BIAS)
        elif after in norms:
            values = np.where(rng.uniform(size=shape) < 0.75, BIAS, -BIAS)
        else:
            values = rng.uniform(0.0, 0.5, shape)
    else:  # biases of convolutions, and running means
        values = 0.1 * rng.standard_normal(shape)
    return np.asarray(values, np.float32)


def _after(layer):
    """The name that the next normalisation would have, of one on a way to a sum; None: it is on none."""
    if found := re.fullmatch(r"(.*\.\d+\.bn)(\d)", layer):  # in a residual block
        return f"{found[1]}{int(found[2]) + 1}"
    if found := re.fullmatch(r"(.*fuse_layers\.\d+\.\d+)\.(?:(\d+)\.)?1", layer):  # between HRNet's branches
        return f"{found[1]}.{int(found[2] or 0) + 1}.1"
    return None


def images(size, seed=0):
    """float32 [2, h, w, 3], normalised; the two differ in brightness, or statistics over single pixels would vanish."""
    values = generator(f"images {size} {seed}").standard_normal((2, *size, 3), np.float32)
    return values + BRIGHTNESS * np.array([-1.0, 1.0], np.float32)[:, None, None, None]


def labels(size, num_classes):
    """int64 [2, h, w]: rectangles of 16 pixels a side."""
    coarse = generator(f"labels {size}").integers(0, num_classes, (2, -(-size[0] // 16), -(-size[1] // 16)))
    return coarse.repeat(16, 1).repeat(16, 2)[:, : size[0], : size[1]]


def weights(shape):
    """float32: what the mean of features is weighted with, to have a loss of them; their mean is 1, not to cancel."""
    return 1.0 + generator(f"weights {tuple(shape)}").standard_normal(tuple(shape), np.float32)


def positions(name, size, count):
    """Which of `size` values a fixture keeps: sorted int64, at most `count`."""
    return np.sort(generator(f"positions {name}").permutation(size)[:count])
