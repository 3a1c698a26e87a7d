"""DST-CBC: its thresholds and its loss against plain numpy, and its rounds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods import dst_cbc
from csst_jax.methods.base import Crops
from csst_jax.methods.dst_cbc import DynamicSelfTraining
from csst_jax.streams import WEAK
from csst_jax.train_state import TrainState
from csst_jax.types import CsstError
from tests.methods.online_test import SETTINGS, STEPS, InNumpy, Seamed, drawn, method_of, objective_of


@pytest.mark.slow
def test_each_class_keeps_its_surest_share():
    rng = np.random.default_rng(0)
    p = 1 - 10 ** rng.uniform(-5, -0.3, (4, 40, 40))
    labels = rng.choice(3, p.shape, p=(0.9, 0.08, 0.02)).astype(np.int32)
    bins = dst_cbc.confidence_bins(jnp.asarray(-np.log(p), jnp.float32))
    assert (np.diff(np.asarray(bins).ravel()[np.argsort(p.ravel())]) >= 0).all(), "surer pixels have higher bins"
    seen = np.zeros(p.shape, bool)
    seen[:, ::4, ::4] = True
    counts = dst_cbc.counted(jnp.asarray(labels), bins, jnp.ones(p.shape, bool), 4)
    assert float(counts.sum()) == seen.sum() and float(counts[3].sum()) == 0
    for ratio in (0.25, 0.5, 1.0):
        least = np.asarray(dst_cbc.least_bins(counts, jnp.float32(ratio)))
        kept = np.asarray(bins) >= least[labels]
        for klass in range(3):
            own = seen & (labels == klass)
            share, bin_of_one = kept[own].mean(), 30 / own.sum()
            assert ratio - bin_of_one <= share <= ratio or (ratio < 1 and share * own.sum() == 1)
    assert (np.asarray(dst_cbc.least_bins(counts, jnp.float32(0.0))) == 1024).all()


@pytest.mark.slow
def test_loss_weighs_pixels_by_their_labels_probability():
    labeller = Seamed(seed=7).params
    own = {
        "labeller": {"params": labeller, "batch_stats": {"passes": jnp.zeros(1)}},
        "counts": jnp.zeros((3, 1024), jnp.float32),
        "round": jnp.int32(0),
    }
    settings = dataclasses.replace(SETTINGS[DynamicSelfTraining], rounds=1)
    # Step 4 of 100 is in the first part: nothing is learned but masks.
    found, ours, _ = objective_of(DynamicSelfTraining, own, settings)
    np.testing.assert_allclose(found.losses["main"], (ours.real(), 1.0), rtol=2e-5)
    assert float(found.losses["unlabelled"][1]) == 0 and float(found.metrics["learned"]) == 0
    # In the only round all pixels are learned.
    method, crops = method_of(DynamicSelfTraining, settings), drawn()
    state = TrainState(jnp.int32(60), *method.trained(), (), own)
    losses = method.objective(state.params, state, crops, jax.random.key(5)).losses
    weak = ours.images[WEAK]
    pseudo = ours.probabilities(weak, params={k: np.asarray(v, np.float64) for k, v in labeller.items()}).argmax(-1)
    p = np.take_along_axis(ours.probabilities(weak), pseudo[..., None], -1)[..., 0][ours.valid]
    real = int((np.asarray(crops["labelled"].labels) != 255).sum())
    expected = (real * ours.real() - (p**2 * np.log(p)).sum()) / (real + p.size)
    total = sum(float(loss.mean * loss.weight) for loss in losses.values())
    assert total == pytest.approx(expected, rel=1e-4)


def test_both_kinds_of_crops_go_through_the_network_together():
    """One pass; and each kind has its own crops of it, where the kinds have other numbers of crops."""
    method = method_of(DynamicSelfTraining, dataclasses.replace(SETTINGS[DynamicSelfTraining], unlabelled_parts=2))
    crops = drawn()
    of = crops["labelled"]
    crops["labelled"] = Crops({WEAK: of.images[WEAK][:2]}, of.labels[:2], of.keys[:2])
    params, stats = method.trained()
    state = TrainState(jnp.int32(99), params, stats, (), method.init(params, stats))
    found = method.objective(params, state, crops, jax.random.key(5))
    assert float(found.batch_stats["passes"][0]) == 1
    ours = InNumpy(params, crops)
    np.testing.assert_allclose(found.losses["main"].mean, ours.real(), rtol=2e-5)
    p = ours.probabilities(ours.images[WEAK]).max(-1)  # the network is still the one that labels
    bins = np.asarray(dst_cbc.confidence_bins(jnp.asarray(-np.log(p), jnp.float32)))
    labels = ours.probabilities(ours.images[WEAK]).argmax(-1)
    counts = dst_cbc.counted(jnp.asarray(labels), jnp.asarray(bins), jnp.asarray(ours.valid), 3)
    learned = ours.valid & (bins >= np.asarray(dst_cbc.least_bins(counts, jnp.float32(1.0)))[labels])
    np.testing.assert_allclose(found.losses["unlabelled"].mean, -(p**2 * np.log(p))[learned].mean(), rtol=1e-4)
    slope = jax.grad(lambda own: method.objective(own, state, crops, jax.random.key(5)).losses["unlabelled"].mean)(
        params
    )
    features = (ours.images[WEAK] @ ours.params["encoder"])[learned]
    wrong = (ours.probabilities(ours.images[WEAK]) - np.eye(3)[labels])[learned]
    expected = features.T @ (p[learned, None] ** 2 * wrong) / learned.sum()
    np.testing.assert_allclose(slope["decoder"], expected, rtol=1e-3, atol=1e-5, err_msg="a pixel's weight is given")


@pytest.mark.slow
def test_the_network_labels_anew_at_the_beginning_of_a_round():
    method, crops = method_of(DynamicSelfTraining), drawn()
    params, stats = method.trained()
    own = method.init(params, stats)
    new = {name: x + 1 for name, x in params.items()}
    begins = STEPS // 4

    def after(step, own):
        return method.after(TrainState(jnp.int32(step), new, stats, (), own), crops, jax.random.key(0))

    def labels_anew(step, own):
        changed = after(step, own)
        expected = new if (anew := float(changed["counts"].sum()) == 0) else own["labeller"]["params"]
        np.testing.assert_array_equal(changed["labeller"]["params"]["encoder"], expected["encoder"])
        return anew

    before = after(begins - 1, own)
    assert not labels_anew(begins - 1, own) and labels_anew(begins, before)
    assert not labels_anew(begins + 1, after(begins, before))
    assert labels_anew(begins + 1, before), "where the round's first step was skipped, the next one labels anew"


@pytest.mark.parametrize("changes,message", [({"gamma": -1.0}, "gamma is -1.0"), ({"rounds": 0}, "rounds is 0; give")])
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(CsstError, match=message):
        dataclasses.replace(SETTINGS[DynamicSelfTraining], **changes)
