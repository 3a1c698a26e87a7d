"""Files of small networks with drawn weights, to be exported."""

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
