"""U2PL: its losses, its bank and its thresholds against plain numpy."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods import contrast
from csst_jax.methods.mixing import mix_boxes
from csst_jax.methods.u2pl import _BOXES, U2PL
from csst_jax.streams import WEAK
from csst_jax.train_state import TrainState
from csst_jax.types import CsstError
from tests.methods.mean_teacher_test import softmax
from tests.methods.online_test import SETTINGS, STEPS, drawn, method_of, objective_of

pytestmark = pytest.mark.slow


def positions_of(count=40, classes=5, channels=4):
    rng = np.random.default_rng(0)
    real = np.arange(count) < count // 2
    return contrast.Positions(
        probabilities=jnp.asarray(softmax(rng.normal(0, 2, (count, classes))), jnp.float32),
        features=jnp.asarray(rng.normal(size=(count, channels)), jnp.float32),
        labels=jnp.asarray(rng.integers(0, classes, count), jnp.int32),
        real=jnp.asarray(real),
        sure=jnp.asarray(rng.uniform(size=count) < 0.6),
        unsure=jnp.asarray(rng.uniform(size=count) < 0.6),
    )


def test_contrast_of_one_query_and_one_key_a_class_is_the_papers():
    p = dataclasses.replace(positions_of(classes=3), labels=jnp.zeros(40, jnp.int32))
    labels, probabilities = np.zeros(40, np.int32), np.full((40, 3), 0.2, np.float32)
    # Class 0 has 36 positions and one query, class 1 has 4 and one query; class 2 has none at all.
    labels[36:] = 1
    probabilities[7, 0] = probabilities[38, 1] = 0.6
    p = dataclasses.replace(
        p, labels=jnp.asarray(labels), probabilities=jnp.asarray(probabilities), sure=jnp.ones(40, bool)
    )
    rng = np.random.default_rng(1)
    features, keys = rng.normal(size=(40, 4)), rng.normal(size=(3, 8, 4))
    bank = {"keys": jnp.asarray(keys, jnp.float32), "filled": jnp.ones(3, jnp.int32), "next": jnp.ones(3, jnp.int32)}
    given = jnp.asarray(features, jnp.float32)
    found = contrast.contrast(given, p, bank, 1.0, (0.3, 6), (50, 0.5), jax.random.key(0))
    expected = 0.0
    for klass, query in ((0, 7), (1, 38)):
        centre = np.asarray(p.features, np.float64)[labels == klass].mean(0)

        def alike(a, b):
            return a @ b / np.linalg.norm(a) / np.linalg.norm(b) / 0.5

        good, bad = alike(features[query], centre), alike(features[query], keys[klass, 0])
        expected -= good - np.log(np.exp(good) + 50 * np.exp(bad))
    assert float(found.mean) == pytest.approx(expected / 2, rel=1e-5)
    alone = dataclasses.replace(p, labels=jnp.zeros(40, jnp.int32))
    assert float(contrast.contrast(given, alone, bank, 1.0, (0.3, 6), (50, 0.5), jax.random.key(0)).mean) == 0


def test_negatives_are_of_classes_that_a_position_is_surely_not():
    p = positions_of()
    found = np.asarray(p.negatives(2, 4))
    assert 0.1 < found.mean() < 0.6
    for klass, at in np.ndindex(found.shape):
        rank = int((p.probabilities[at] > p.probabilities[at, klass]).sum())
        own = rank < 2 and p.labels[at] != klass if p.real[at] else 2 <= rank < 4
        assert found[klass, at] == (own and bool(p.unsure[at]))


def test_the_bank_keeps_the_newest_keys_of_each_class():
    p, bank = positions_of(), contrast.empty_bank(5, 16, 4)
    mask = np.array(p.negatives(2, 4))
    mask[1] = False
    for turn in range(3):
        before = {name: np.asarray(x) for name, x in bank.items()}
        bank = contrast.pushed(bank, p, jnp.asarray(mask), 6, jax.random.key(turn))
        for klass in range(5):
            new = min(6, mask[klass].sum())
            at = (before["next"][klass] + np.arange(new)) % 16
            allowed = np.asarray(p.features)[mask[klass]]
            assert all((row == allowed).all(1).any() for row in np.asarray(bank["keys"])[klass, at])
            others = np.setdiff1d(np.arange(16), at)
            np.testing.assert_array_equal(bank["keys"][klass, others], before["keys"][klass, others])
            assert bank["filled"][klass] == min(16, before["filled"][klass] + new)
            assert bank["next"][klass] == (before["next"][klass] + new) % 16
    assert bank["filled"][1] == 0 and int(bank["filled"][0]) == 16


def test_pixels_of_high_entropy_are_not_learned():
    found, ours, _ = objective_of(U2PL)
    settings = SETTINGS[U2PL]
    inside = np.asarray(mix_boxes(ours.crops["unlabelled"], settings.cutmix, _BOXES))
    assert 0.2 < inside.mean() < 0.8
    weak = ours.probabilities(ours.images[WEAK])
    mixed = ours.pasted(WEAK, inside)
    p = ours.probabilities(mixed)
    labels = np.where(inside, np.roll(weak.argmax(-1), -1, 0), weak.argmax(-1))
    valid = np.where(inside, np.roll(ours.valid, -1, 0), ours.valid)
    entropy = -(p * np.log(p)).sum(-1)
    share = settings.unreliable * (1 - 4 / STEPS)
    count = round(share * valid.sum())
    reliable = valid & (entropy < np.sort(entropy[valid])[-count])
    values = -np.log(np.take_along_axis(p, labels[..., None], -1)[..., 0])
    expected = values[reliable].mean() * valid.sum() / reliable.sum()
    means = {name: (float(mean), float(weight)) for name, (mean, weight) in found.losses.items()}
    assert means["unlabelled"] == pytest.approx((expected, 1.0), rel=1e-4)
    assert means["main"] == pytest.approx((ours.real(), 1.0), rel=2e-5)
    assert means["contrast"] == pytest.approx((0.0, settings.contrast_weight)), "the bank is empty"
    assert float(found.metrics["reliable"]) == pytest.approx(reliable.sum() / valid.sum())


def test_a_step_fills_the_bank_and_the_next_one_contrasts():
    method, crops = method_of(U2PL), drawn()
    params, stats = method.trained()
    own = method.init(params, stats)
    state = TrainState(jnp.int32(5), params, stats, (), own)
    own = jax.jit(lambda state: method.after(state, crops, jax.random.key(1)))(state)
    assert own["bank"]["filled"].min() >= 1 and own["bank"]["keys"].any(-1).any(-1).all()
    found, _, _ = objective_of(U2PL, own)
    assert float(found.losses["contrast"][0]) > 1


def test_negatives_are_those_of_the_step_that_is_over(monkeypatch):
    """The share of unsure pixels falls with each step."""
    asked = []

    def teacher(method, state, crops):
        asked.append(int(state.step))
        return types.SimpleNamespace(positions=positions_of(classes=3, channels=SETTINGS[U2PL].channels))

    monkeypatch.setattr(U2PL, "_teacher", teacher)
    method = method_of(U2PL)
    params, stats = method.trained()
    method.after(TrainState(jnp.int32(5), params, stats, (), method.init(params, stats)), {}, jax.random.key(1))
    assert asked == [4]


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"decay": 1.0}, "decay=1.0"),
        ({"contrast_weight": -1.0}, "contrast_weight is -1.0"),
        ({"unreliable": 1.5}, "unreliable is 1.5"),
        ({"queries": 0}, "queries is 0; give a number above 0"),
        ({"low_rank": -1}, "low_rank is -1; give 0 or more"),
        ({"least_probability": 1.0}, "least_probability is 1.0"),
        ({"bank": 3}, "a bank of at least new_keys"),
        ({"low_rank": 3, "high_rank": 3}, "a high_rank above low_rank"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(CsstError, match=message):
        dataclasses.replace(SETTINGS[U2PL], **changes)
