"""A file of weights of the toy network, whose classes tell colours apart, made without training."""

import numpy as np

from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.models.weights import files

CLASSES = ("road", "car", "person", "sky")
PALETTE = ((128, 64, 128), (0, 0, 142), (220, 20, 60), (70, 130, 180))
WITH_TOY = """
import runpy, sys
from csst_jax.models import zoo
zoo.NETWORKS["toy"] = zoo.Entry("tests.toy_network:build")
"""
"""The beginning of a program whose zoo has the network."""


def write(path, classes=CLASSES, palette=PALETTE, seed=0):
    """The file, in a zoo that has the network."""
    network = nnx_io.create(zoo.builder("toy", len(classes or PALETTE)), seed)
    arrays = {name: np.asarray(value) for name, value in (network.params | network.batch_stats).items()}
    rng = np.random.default_rng(seed)  # larger than initial values, so that all classes occur
    arrays["classifier.kernel"] = rng.normal(0, 3, arrays["classifier.kernel"].shape).astype(np.float32)
    described = files.Description("toy", {}, len(classes or PALETTE), "toys", "", IMAGENET)
    if classes:
        described = files.dataclasses.replace(described, classes=classes, palette=palette)
    files.write(path, arrays, described)
    return path
