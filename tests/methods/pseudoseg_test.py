"""PseudoSeg: its activation maps, attention, fusion and losses against plain numpy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods import class_activation as cam
from csst_jax.methods.mixing import cutout
from csst_jax.methods.pseudoseg import _CUT as CUT
from csst_jax.methods.pseudoseg import ATTENTION, PRESENCE, SCORES, PseudoSeg
from csst_jax.streams import STRONG, WEAK
from csst_jax.types import CsstError
from tests.methods.mean_teacher_test import softmax
from tests.methods.online_test import SETTINGS, objective_of


def test_fused_probabilities_are_sharpened_and_neither_wins_by_its_scale():
    rng = np.random.default_rng(0)
    decoder, attention = rng.normal(size=(2, 3, 4, 5)), 100 * rng.normal(size=(2, 3, 4, 5))
    found = cam.fused(jnp.asarray(decoder, jnp.float32), jnp.asarray(attention, jnp.float32), 0.5)
    root = np.sqrt(np.mean(np.concatenate([decoder, attention]) ** 2))
    p = (softmax(decoder / root) + softmax(attention / root)) / 2
    np.testing.assert_allclose(found, p**2 / (p**2).sum(-1, keepdims=True), rtol=1e-4)


def logits_in_numpy(own, features, columns, there, valid):
    """Refined activation maps, position by position; batch normalisation by the batch's statistics."""
    w = {name: {key: np.asarray(x, np.float64) for key, x in arrays.items()} for name, arrays in own.items()}
    maps = np.maximum(features @ w[PRESENCE]["linear.kernel"][0, 0], 0) * there[:, None, None]
    maps /= np.maximum(maps.max((1, 2), keepdims=True), 1e-5)
    both = columns @ w[ATTENTION]["linear.kernel"][0, 0]
    scores = np.zeros_like(maps)
    width = both.shape[-1] // 2
    for b, y, x in np.ndindex(valid.shape):
        like = np.exp(both[b, ..., width:] @ both[b, y, x, :width] / np.sqrt(width)) * valid[b]
        like = like if valid[b, y, x] else np.ones_like(like)
        scores[b, y, x] = maps[b, y, x] + np.tensordot(like / like.sum(), maps[b], 2)
    z = scores @ w[SCORES]["unit.conv.kernel"][0, 0]
    z = (z - z.mean((0, 1, 2))) / np.sqrt(z.var((0, 1, 2)) + 1e-5)
    return z * w[SCORES]["unit.bn.scale"] + w[SCORES]["unit.bn.bias"]


def test_cutout_takes_the_authors_square_of_a_crop():
    inside = np.asarray(CUT.draw(jax.random.key(0), 513, 513, 1.0))
    assert (inside.any(0).sum(), inside.any(1).sum(), inside.sum()) == (100, 100, 100**2)


@pytest.mark.slow
@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_losses_are_those_that_numpy_computes(probability):
    settings = dataclasses.replace(SETTINGS[PseudoSeg], cutout=probability)
    found, ours, _ = objective_of(PseudoSeg, settings=settings)
    labels = np.asarray(ours.crops["labelled"].labels)
    real = np.asarray(ours.crops["labelled"].images[WEAK], np.float64) @ ours.params["encoder"]
    weak = ours.images[WEAK] @ ours.params["encoder"]
    classifier = {name: np.asarray(x, np.float64) for name, x in found.own[PRESENCE].items()}

    def presence(features):
        return features.mean((1, 2)) @ classifier["linear.kernel"][0, 0] + classifier["linear.bias"]

    there = (labels[..., None] == np.arange(3)).any((1, 2))
    p = 1 / (1 + np.exp(-presence(real)))
    surprise = -np.where(there, np.log(p), np.log(1 - p)).mean()
    # The network has one map, which is the hypercolumn, too.
    q = softmax(logits_in_numpy(found.own, real, real, there, labels != 255))
    on_labels = -np.mean([np.log(q[i][labels[i]]) for i in np.ndindex(labels.shape) if labels[i] != 255])
    sure = presence(weak) >= 0
    assert 0 < sure.mean() < 1
    refined = logits_in_numpy(found.own, weak, weak, sure, ours.valid)
    decoder = weak @ ours.params["decoder"]
    root = np.sqrt(np.mean(np.concatenate([decoder, refined]) ** 2))
    soft = (softmax(decoder / root) + softmax(refined / root)) ** 2
    soft /= soft.sum(-1, keepdims=True)
    values = -(soft * np.log(ours.probabilities(ours.images[STRONG]))).sum(-1)
    expected = {"main": ours.real(), "attention": on_labels, "presence": surprise}
    learned = np.asarray(cutout(ours.crops["unlabelled"], probability, CUT).valid)
    assert (learned.sum() < ours.valid.sum()) == bool(probability)
    expected["unlabelled"] = values[learned].mean()
    assert found.losses.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found.losses[name], (value, 1.0), rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"weight": -1.0}, "weight is -1.0"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"channels": 0}, "channels is 0"),
        ({"cutout": 1.5}, "cutout is 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(CsstError, match=message):
        dataclasses.replace(SETTINGS[PseudoSeg], **changes)
