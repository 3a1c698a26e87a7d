"""A network's classifier of whole crops has its loss in every method, on the labelled crops alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods.cps import CrossPseudoSupervision
from csst_jax.methods.unimatch import UniMatch
from csst_jax.streams import WEAK
from csst_jax.train_state import TrainState
from tests.methods.online_test import SETTINGS, Seamed, drawn, drawn_module, method_of

WEIGHT = 0.2


class WithPresence(Seamed):
    """Its classifier of whole crops is the mean of the logits."""

    def apply_train(self, params, batch_stats, images, key, perturb=None):
        outputs, stats = super().apply_train(params, batch_stats, images, key, perturb)
        return {**outputs, "presence": outputs["logits"].mean((1, 2))}, stats


def objective_of(kind):
    method = method_of(kind)
    parts = dataclasses.replace(method.parts, network=WithPresence(), another=WithPresence, own=drawn_module)
    method, crops = dataclasses.replace(method, parts=parts), drawn()
    params, stats = method.trained()
    state = TrainState(jnp.int32(4), params, stats, (), method.init(params, stats))
    return method, crops, lambda params: method.objective(params, state, crops, jax.random.key(5)).losses


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_method_has_the_loss(kind):
    method, _, objective = objective_of(kind)
    names = jax.eval_shape(lambda params: {name: x.sum for name, x in objective(params).items()}, method.trained()[0])
    assert "semantic_encoding" in names
    assert ("second_semantic_encoding" in names) == (kind is CrossPseudoSupervision)


def test_it_is_that_of_the_labelled_crops_where_a_pass_has_others_too():
    method, crops, objective = objective_of(UniMatch)
    found = objective(method.trained()[0])["semantic_encoding"]
    labelled = crops["labelled"]
    params = {name: np.asarray(x, np.float64) for name, x in method.parts.network.params.items()}
    logits = (np.asarray(labelled.images[WEAK]) @ params["encoder"] @ params["decoder"]).mean((1, 2))
    shown = (np.asarray(labelled.labels)[..., None] == np.arange(3)).any((1, 2))
    p = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(found.mean, -np.where(shown, np.log(p), np.log(1 - p)).mean(), rtol=1e-5)
    assert found.weight == WEIGHT / 2  # UniMatch halves all
