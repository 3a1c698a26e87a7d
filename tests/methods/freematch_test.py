"""FreeMatch: its thresholds and its loss against plain numpy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods.freematch import FreeMatch
from csst_jax.streams import STRONG, WEAK
from csst_jax.train_state import TrainState
from csst_jax.types import CsstError
from tests.methods.online_test import SETTINGS, Seamed, boxes, drawn, equal, method_of, objective_of

OWN = {"confidence": jnp.float32(0.7), "shares": jnp.asarray([0.2, 0.5, 0.3], jnp.float32)}
THRESHOLDS = 0.7 * np.array([0.4, 1.0, 0.6])


@pytest.mark.slow
def test_each_class_has_a_threshold_of_its_own():
    found, ours, _ = objective_of(FreeMatch, OWN)
    inside = boxes(ours.crops, FreeMatch)
    weak = ours.probabilities(ours.images[WEAK])
    strong = ours.probabilities(ours.pasted(STRONG, inside))
    total = count = 0.0
    for b, y, x in np.ndindex(ours.valid.shape):
        source = (b + 1) % len(ours.valid) if inside[b, y, x] else b
        label = weak[source, y, x].argmax()
        if ours.valid[source, y, x]:
            count += 1
            total -= np.log(strong[b, y, x, label]) if weak[source, y, x, label] >= THRESHOLDS[label] else 0.0
    equal(found, {"main": (ours.real(), 1.0), "unlabelled": (total / count, 2.0)})
    sure = np.take_along_axis(weak, weak.argmax(-1)[..., None], -1)[..., 0] >= THRESHOLDS[weak.argmax(-1)]
    share = sure[ours.valid].mean()
    assert float(found.metrics["confident"]) == pytest.approx(share)
    assert share not in {(weak.max(-1) >= bound)[ours.valid].mean() for bound in THRESHOLDS}, "one threshold would do"
    assert float(found.metrics["threshold"]) == pytest.approx(0.7)


def test_thresholds_begin_at_one_by_the_number_of_classes_and_follow_the_pixels_of_the_images():
    method, crops = method_of(FreeMatch), drawn()
    params, stats = method.trained()
    begin = method.init(params, stats)
    assert float(begin["confidence"]) == pytest.approx(1 / 3)
    np.testing.assert_allclose(begin["shares"], np.full(3, 1 / 3), rtol=1e-6)
    state = TrainState(jnp.int32(4), params, stats, (), OWN)
    np.testing.assert_allclose(method.threshold(state), THRESHOLDS, rtol=1e-6)

    def after(crops):
        return method.after(state, crops, jax.random.key(0))

    weak = np.asarray(method.parts.network.apply_eval(params, stats, crops["unlabelled"].images[WEAK])["logits"])
    valid = np.asarray(crops["unlabelled"].labels) == 0
    p = np.exp(weak[valid].astype(np.float64))
    p /= p.sum(-1, keepdims=True)
    now = after(crops)
    np.testing.assert_allclose(now["confidence"], 0.9 * 0.7 + 0.1 * p.max(-1).mean(), rtol=1e-6)
    np.testing.assert_allclose(now["shares"], 0.9 * np.asarray(OWN["shares"]) + 0.1 * p.mean(0), rtol=1e-6)

    nothing = dataclasses.replace(crops["unlabelled"], labels=jnp.full_like(crops["unlabelled"].labels, 255))
    kept = after(crops | {"unlabelled": nothing})
    assert jax.tree.map(np.array_equal, dict(OWN), kept) == {"confidence": True, "shares": True}


@pytest.mark.parametrize("changes", [{"momentum": 1.0}, {"momentum": -0.1}, {"weight": -1.0}, {"cutmix": 1.5}])
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(CsstError, match=next(iter(changes))):
        dataclasses.replace(SETTINGS[FreeMatch], **changes)


class Closed(Seamed):
    """Without the seam, as a network of one's own may be."""

    def apply_train(self, params, batch_stats, images, key):
        return super().apply_train(params, batch_stats, images, key)

    def apply_eval(self, params, batch_stats, images):
        return self.apply_train(params, batch_stats, images, None)[0]


def test_a_network_without_the_seam_has_thresholds():
    method = method_of(FreeMatch)
    method = dataclasses.replace(method, parts=dataclasses.replace(method.parts, network=Closed()))
    np.testing.assert_allclose(method.init(*method.trained())["shares"], np.full(3, 1 / 3), rtol=1e-6)
