"""Soft pseudo labels in the union with real ones: the loss of the two methods that learn it, against plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import HeadLosses
from csst_jax.methods.base import Crops, Parts
from csst_jax.methods.model_regulariser import ModelRegulariser
from csst_jax.methods.supervised import Supervised
from csst_jax.streams import LABELLED, WEAK
from csst_jax.train_state import TrainState
from tests.methods.mean_teacher_test import Linear, softmax


@pytest.mark.parametrize("kind,settings", [(Supervised, ()), (ModelRegulariser, (0.1, "mean"))])
def test_a_soft_label_is_learned_by_its_shares(kind, settings):
    """The second crop's; the first one has real labels."""
    rng = np.random.default_rng(0)
    images = rng.normal(0, 2, (2, 4, 5, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (2, 4, 5)).astype(np.uint8)
    labels[:, 0] = 255
    shares = rng.integers(1, 120, labels.shape) * np.array([0, 1])[:, None, None] * (labels != 255)
    others = np.where(shares > 0, (labels + 1) % 3, 0)
    soft = np.stack([others, shares], -1).astype(np.uint8)
    keys = jax.random.split(jax.random.key(0), 2)
    pseudo = jnp.array([False, True])
    crops = Crops({WEAK: jnp.asarray(images)}, jnp.asarray(labels), keys, jnp.asarray(soft), pseudo)

    network = Linear()
    parts = Parts(network, HeadLosses(cross_entropy, False, 0.7, 1 / 16, 0.4), None, num_classes=3)
    method = kind(kind.Settings(*settings), parts)
    state = TrainState(jnp.int32(0), *method.trained(), (), {})
    found = method.objective(state.params, state, {LABELLED.name: crops}, jax.random.key(0))

    nats = -np.log(softmax(images.astype(np.float64) @ np.asarray(network.params["kernel"], np.float64)))
    of_label, of_other = (
        np.take_along_axis(nats, np.minimum(classes, 2)[..., None].astype(int), -1)[..., 0]
        for classes in (labels, others)
    )
    values = (1 - shares / 255) * of_label + shares / 255 * of_other
    np.testing.assert_allclose(found.losses["main"].mean, values[labels != 255].mean(), rtol=1e-5)
