"""Files of small networks with drawn weights, to be exported, and another process that computes with the export."""

import subprocess
import sys

import numpy as np

from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.models.weights import files

CLASSES = ("way", "wall", "sky", "pole", "sign")


def write(path, network, lineage=None, preprocessing=IMAGENET, **more):
    """A network at an eighth of its width, with statistics and biases other than initial ones; its path."""
    options = {option: value for option, value in (("width", 0.125), ("depth", 0.1)) if zoo.has_option(network, option)}
    options |= {"lineage": lineage} if lineage else {}
    built = nnx_io.abstract(zoo.builder(network, len(CLASSES), **options))
    rng = np.random.default_rng(0)

    def value(name, shape):
        drawn = rng.normal(size=shape).astype(np.float32)
        if name.endswith("kernel"):  # of no mean, so that no class has the largest logit everywhere
            drawn -= drawn.mean((0, 1, 2)) if len(shape) == 4 and shape[2] > 1 else 0
            return drawn * np.float32(np.sqrt(1.5 / max(1, np.prod(shape[:-1]))))
        return np.exp(0.2 * drawn) if name.endswith((".var", ".scale")) else np.float32(0.1) * drawn

    arrays = {name: value(name, like.shape) for name, like in (built.params | built.batch_stats).items()}
    files.write(path, arrays, files.Description(network, options, 5, "toys", "0" * 64, preprocessing, **more))
    return str(path)


def elsewhere(program, exported, path, images):
    """(words that it printed, what it saved) of a program that gets the files of export, images and result."""
    given, made = path.parent / "images.npy", path.parent / "out.npy"
    np.save(given, images)
    command = [sys.executable, "-c", program, *map(str, (path, given, made))]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    there, here = np.load(made), exported.compiled()(images)
    assert (there.shape, there.dtype) == (here.shape, here.dtype)
    np.testing.assert_allclose(there, here, atol=0 if exported.argmax else 1e-4)
    return done.stdout.split()
