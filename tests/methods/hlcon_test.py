"""HLCOn: its losses and its discriminator's step against plain numpy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods import hlcon
from csst_jax.methods.average import WeightAverage
from csst_jax.methods.averaged import Averaged
from csst_jax.methods.discriminator import beside
from csst_jax.methods.hlcon import HighAndLowConsistency
from csst_jax.streams import STRONG, WEAK
from csst_jax.train_state import TrainState
from csst_jax.types import CsstError
from tests.methods.online_test import SETTINGS, STEPS, InNumpy, drawn, method_of, objective_of


class Judge:
    """In the place of the discriminator: features are means over positions, the logit is linear in them."""

    params = {"w": jnp.asarray(np.random.default_rng(3).normal(size=6), jnp.float32)}  # noqa: RUF012

    def apply_train(self, params, stats, x, key):
        del stats, key
        features = jnp.mean(x, (1, 2))
        return {"logit": features @ params["w"], "features": features}, {}


@pytest.fixture
def judge(monkeypatch):
    monkeypatch.setattr(HighAndLowConsistency, "_discriminator", Judge())
    return np.asarray(Judge.params["w"], np.float64)


@pytest.mark.slow
def test_losses_are_those_that_numpy_computes(judge):
    method = method_of(HighAndLowConsistency)
    ours = InNumpy(method.parts.network.params, drawn())
    labels = np.asarray(ours.crops["labelled"].labels)
    image = np.asarray(ours.crops["labelled"].images[WEAK], np.float64)
    weak, p = ours.images[WEAK], ours.probabilities(ours.images[WEAK])

    def shown(classes, images):
        scaled = (images - images.min()) / (images.max() - images.min())
        return np.concatenate([classes, scaled], -1).mean((1, 2))

    masks, judged = shown((labels[..., None] == np.arange(3)).astype(float), image), shown(p, weak)
    matching = np.abs(masks.mean(0) - judged.mean(0)).mean()
    sure = 1 / (1 + np.exp(-judged @ judge))
    settings = dataclasses.replace(method.settings, threshold=float(np.median(sure)), presence_threshold=0.5)
    found, _, _ = objective_of(HighAndLowConsistency, settings=settings)
    passed = sure > settings.threshold
    assert 0 < passed.mean() < 1
    kernel, bias = (np.asarray(found.own["hlcon"][f"linear.{name}"], np.float64) for name in ("kernel", "bias"))

    def presence(images):
        return (images @ ours.params["encoder"]).mean((1, 2)) @ kernel[0, 0] + bias

    there = (labels[..., None] == np.arange(3)).any((1, 2))
    q = 1 / (1 + np.exp(-presence(image)))
    surprise = -np.where(there, np.log(q), np.log(1 - q)).mean()
    # The average is still the network.
    taught, strong = presence(weak), presence(ours.images[STRONG])
    cosine = (taught * strong).sum(-1) / np.linalg.norm(taught, axis=-1) / np.linalg.norm(strong, axis=-1)
    allowed = (taught >= 0) | ~(taught >= 0).any(1, keepdims=True)
    assert 0 < allowed.mean() < 1
    pseudo = np.where(allowed[:, None, None], p, -1).argmax(-1)
    values = -np.log(np.take_along_axis(p, pseudo[..., None], -1)[..., 0])
    learned = ours.valid & passed[:, None, None]
    expected = {
        "main": (ours.real(), 1.0),
        "matching": (matching, 0.1),
        "presence": (surprise, 1.0),
        "agreement": ((1 - cosine).mean(), 2 * 4 / 100),
        "unlabelled": (values[learned].mean(), 1.0),
    }
    assert found.losses.keys() == expected.keys()
    for name, (mean, weight) in expected.items():
        np.testing.assert_allclose(found.losses[name], (mean, weight), rtol=1e-4, err_msg=name)
    assert float(found.metrics["passed"]) == pytest.approx(passed.mean())


@pytest.mark.slow
def test_the_discriminator_learns_to_tell_masks_from_predictions(judge):
    method, crops = method_of(HighAndLowConsistency), drawn()
    params, stats = method.trained()
    state = TrainState(jnp.int32(1 + STEPS // 2), params, stats, (), method.init(params, stats))
    after = method.after(state, crops, jax.random.key(0))
    labelled, unlabelled = crops["labelled"], crops["unlabelled"]
    logits = method.parts.network.apply_eval(params, stats, unlabelled.images[WEAK])["logits"]
    predicted = beside(jax.nn.softmax(logits), unlabelled.images[WEAK])
    masks = beside(jax.nn.one_hot(labelled.labels, 3), labelled.images[WEAK])
    features = [np.asarray(x, np.float64).mean((1, 2)) for x in (masks, predicted)]
    p = [1 / (1 + np.exp(-x @ judge)) for x in features]
    gradient = (((p[0] - 1)[:, None] * features[0]).mean(0) + (p[1][:, None] * features[1]).mean(0)) / 2
    # Adam's first step has the length of the rate along each axis; half of the training is over.
    moved = np.asarray(after[hlcon.DISCRIMINATOR]["w"], np.float64) - judge
    np.testing.assert_allclose(moved, -1e-3 * 0.5**0.9 * gradient / (np.abs(gradient) + 1e-8), rtol=5e-3)
    assert set(after) == {"average", "discriminator", "moments"}
    trained = dataclasses.replace(state, params={name: x + 1 for name, x in params.items()})
    np.testing.assert_array_equal(method.predicting(trained)[0]["encoder"], params["encoder"] + 1)
    assert set(method.predicting(trained)[0]) == {"encoder", "decoder"}


def test_the_first_step_learns_none_of_its_own_labels(judge):
    """The discriminator has learned nothing then."""
    settings = dataclasses.replace(SETTINGS[HighAndLowConsistency], threshold=0.0)
    method, crops = method_of(HighAndLowConsistency, settings), drawn()
    params, stats = method.trained()
    state = TrainState(jnp.int32(0), params, stats, (), method.init(params, stats))
    for step in (0, 1):
        now = dataclasses.replace(state, step=jnp.int32(step))
        found = method.objective(params, now, crops, jax.random.key(0))
        assert float(found.metrics["passed"]) == 1 and (float(found.losses["unlabelled"].count) > 0) == (step > 0)


def test_average_decay_gives_an_average_of_the_network_that_predicts(judge):
    """The average that the method learns from is another one, and does not predict."""
    inner = method_of(HighAndLowConsistency)
    method = Averaged(WeightAverage(0.5), inner.parts, inner)
    params, stats = method.trained()
    state = TrainState(jnp.int32(10), params, stats, (), method.init(params, stats))
    state = dataclasses.replace(state, params={name: x + 1 for name, x in params.items()})
    state = dataclasses.replace(state, method=method.after(state, drawn(), jax.random.key(0)))
    predicting, _ = method.predicting(state)
    assert set(predicting) == {"encoder", "decoder"}
    np.testing.assert_allclose(predicting["encoder"], params["encoder"] + 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"matching_weight": -1.0}, "matching_weight is -1.0"),
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"decay": 1.0}, "decay=1.0"),
        ({"discriminator_channels": 0}, "discriminator_channels is 0"),
        ({"burn_in": 2.0}, "burn_in is 2.0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(CsstError, match=message):
        dataclasses.replace(SETTINGS[HighAndLowConsistency], **changes)
