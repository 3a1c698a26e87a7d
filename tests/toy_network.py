"""A network that compiles in seconds where FastSCNN takes tens; tests name it `toy` in the zoo."""

import jax.numpy as jnp
from flax import nnx

from csst_jax.models.layers import Conv, ConvBN, Dropout
from csst_jax.models.ops.resize import resize
from csst_jax.models.perturbation import perturbed


class Toy(nnx.Module):
    """Every kind of layer once: strided, depthwise and 1x1 convolution, batch normalisation, dropout, two heads."""

    def __init__(self, num_classes=3, *, rngs, dtype=jnp.float32, depthwise=True):
        self.stem = ConvBN(3, 8, 3, rngs=rngs, stride=2, padding=1, dtype=dtype)
        kernel_size, padding, groups = (3, 1, 8) if depthwise else (1, 0, 1)
        self.middle = ConvBN(8, 8, kernel_size, rngs=rngs, padding=padding, groups=groups, dtype=dtype)
        self.dropout = Dropout(0.1, rngs=rngs)
        self.classifier = Conv(8, num_classes, 1, rngs=rngs, bias=True, dtype=dtype)
        self.aux = Conv(8, num_classes, 1, rngs=rngs, bias=True, dtype=dtype)

    def __call__(self, images, perturb=None):
        size = images.shape[1:3]
        low = perturbed({"low": self.stem(images)}, perturb)["low"]
        main = self.classifier(self.dropout(self.middle(low)))
        logits, aux = (resize(y.astype(jnp.float32), size, True) for y in (main, self.aux(low)))
        return {"logits": logits, "aux": {"early": aux}, "features": {}}


def build(num_classes, *, rngs, width=1.0, dtype=jnp.float32):
    """As the zoo's builders; the width is fixed."""
    del width
    return Toy(num_classes, rngs=rngs, dtype=dtype, depthwise=False)


def train_toys(config):
    """The configuration with the toy as teacher and student, one crop size, and no photometry."""
    for stage in (config.teacher, config.student):
        stage.network = "toy"
        stage.schedule.kind = "constant"
        stage.augment.jitter = stage.augment.blur = 0.0
    return config
