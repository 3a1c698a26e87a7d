"""CorrMatch: its correlations, regions and losses against plain numpy, and its threshold."""

import dataclasses
import types
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods.corrmatch import CorrMatch, mean_of_highest
from csst_jax.streams import STRONG, WEAK
from csst_jax.train_state import TrainState
from csst_jax.types import CsstError
from tests.methods.mean_teacher_test import softmax
from tests.methods.online_test import CHANNELS, SETTINGS, boxes, drawn, equal, method_of, objective_of

W = np.random.default_rng(3).normal(size=(CHANNELS, 6)).astype(np.float32)


def linear_head(params=W):
    """In the place of the projections: one linear map."""
    return types.SimpleNamespace(
        params={"w": jnp.asarray(params)},
        batch_stats={},
        apply_train=lambda arrays, stats, x, key: (x @ arrays["w"], {}),
    )


def related_in_numpy(features):
    """[b, n, n], row by row."""
    both = (features @ W.astype(np.float64)).reshape(len(features), -1, 6)
    return softmax(np.einsum("bmd,bnd->bmn", both[..., :3], both[..., 3:]) / np.sqrt(3))


def spread_in_numpy(logits, related):
    flat = logits.reshape(len(logits), -1, logits.shape[-1])
    return np.einsum("bmk,bmn->bnk", flat, related).reshape(logits.shape)


def grown_in_numpy(labels, confident, allowed, rows, threshold):
    labels, grown = labels.copy(), confident.copy()
    for b in range(len(labels)):
        for row in rows[b]:
            region = ((row - row.min()) / (row.max() - row.min()) > 0.5) & allowed[b]
            kernel = region & confident[b]
            if not kernel.any() or kernel.sum() / region.sum() < threshold:
                continue
            classes, counts = np.unique(labels[b][kernel], return_counts=True)
            if counts.max() / counts.sum() > threshold:
                labels[b][region] = classes[counts.argmax()]
                grown[b] |= region
    return labels, grown


@pytest.mark.slow
def test_losses_are_those_that_numpy_computes(monkeypatch):
    monkeypatch.setattr(CorrMatch, "modules", lambda _: {"corrmatch": linear_head()})
    found, ours, key = objective_of(CorrMatch)
    settings, keys = SETTINGS[CorrMatch], jax.random.split(key, 6)
    threshold, valid = settings.threshold, ours.valid
    inside = boxes(ours.crops, CorrMatch)
    labels = np.asarray(ours.crops["labelled"].labels)
    real, weak = (
        x @ ours.params["encoder"]
        for x in (np.asarray(ours.crops["labelled"].images[WEAK], np.float64), ours.images[WEAK])
    )
    strong = ours.pasted(STRONG, inside) @ ours.params["encoder"]

    def spread(features):
        return softmax(spread_in_numpy(features @ ours.params["decoder"], related_in_numpy(features)))

    def on_labels(p):
        return -np.mean([np.log(p[i][labels[i]]) for i in np.ndindex(labels.shape) if labels[i] != 255])

    p = softmax(weak @ ours.params["decoder"])
    drop = np.asarray(jax.random.bernoulli(jax.random.fold_in(keys[1], zlib.crc32(b"only")), 0.5, (8, 1, 1, CHANNELS)))
    dropped = softmax((2.0 * drop[1::2] * weak) @ ours.params["decoder"])

    sure = (p.max(-1) >= threshold) & valid
    mixed = [np.where(inside, np.roll(x, -1, 0), x) for x in (p.argmax(-1), sure, valid)]
    soft = np.where(inside[..., None], np.roll(p, -1, 0), p)
    chosen = np.asarray(jax.random.randint(keys[5], (settings.regions,), 0, weak.shape[1] * weak.shape[2]))
    rows = related_in_numpy(weak)[:, chosen].reshape(len(weak), -1, *weak.shape[1:3])
    grown, larger = grown_in_numpy(*mixed[:2], mixed[2] & ~inside, rows, threshold)
    assert mixed[1].sum() < larger.sum(), "this test sees no region"
    assert (grown != mixed[0]).any() or (larger != mixed[1]).any()

    def learned(q, hard, where, among):
        values = -np.log(np.take_along_axis(q, hard[..., None], -1)[..., 0])
        return values[where].sum() / among.sum()

    q = softmax(strong @ ours.params["decoder"])
    divergence = (soft * np.log(soft / q)).sum(-1)[mixed[1]].sum() / mixed[2].sum()
    method = method_of(CorrMatch)
    params, stats = method.trained()
    state = TrainState(jnp.int32(4), params, stats, (), method.init(params, stats))
    slope = jax.jit(jax.grad(lambda own: method.objective(own, state, ours.crops, key).losses["soft"].mean))(params)
    wrong = (q - soft) * mixed[1][..., None]
    expected = np.einsum("bhwc,bhwk->ck", strong, wrong) / mixed[2].sum()
    np.testing.assert_allclose(slope["decoder"], expected, rtol=1e-3, atol=1e-6, err_msg="soft labels are given")
    equal(
        found,
        {
            "main": (ours.real(), 0.25),
            "correlated": (on_labels(spread(real)), 0.25),
            "strong": (learned(q, grown, larger, mixed[2]), 0.125),
            "soft": (divergence, 0.125),
            "feature": (learned(dropped, p.argmax(-1), sure, valid), 0.125),
            "correlated_strong": (learned(spread(strong), grown, larger, mixed[2]), 0.0625),
            "correlated_weak": (learned(spread(weak), p.argmax(-1), sure, valid), 0.0625),
        },
    )
    assert float(found.metrics["confident"]) == pytest.approx(larger.sum() / mixed[2].sum())


@pytest.mark.slow
def test_the_threshold_follows_the_highest_confidences(monkeypatch):
    monkeypatch.setattr(CorrMatch, "modules", lambda _: {"corrmatch": linear_head()})
    method, crops = method_of(CorrMatch), drawn()
    params, stats = method.trained()
    state = TrainState(jnp.int32(1), params, stats, (), method.init(params, stats))
    x, valid = np.asarray(crops["unlabelled"].images[WEAK], np.float64), np.asarray(crops["unlabelled"].labels) == 0
    own = {name: np.asarray(value, np.float64) for name, value in method.parts.network.params.items()}
    p = softmax(x @ own["encoder"] @ own["decoder"])
    highest = [p.max(-1)[(p.argmax(-1) == klass) & valid].max() for klass in range(3)]
    expected = 0.9 * 0.55 + 0.1 * np.mean(highest)
    assert float(method.after(state, crops, jax.random.key(0))["threshold"]) == pytest.approx(expected, rel=1e-5)
    nothing = mean_of_highest(jnp.asarray(p, jnp.float32), jnp.zeros(valid.shape, bool))
    assert float(nothing) == 0


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"cutmix": 1.5}, "cutmix is 1.5"),
        ({"regions": 0}, "regions is 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(CsstError, match=message):
        dataclasses.replace(SETTINGS[CorrMatch], **changes)
