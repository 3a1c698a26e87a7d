"""CCT: its perturbations and its loss against plain numpy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods import auxiliary_decoders as decoders
from csst_jax.methods.cct import CrossConsistency
from csst_jax.streams import WEAK
from csst_jax.types import CsstError
from tests.methods.mean_teacher_test import softmax
from tests.methods.online_test import SETTINGS, objective_of

NONE = dict.fromkeys(("adversarial", "drop", "cutout", "context", "background", "feature_drop", "feature_noise"), 0)


def in_numpy(arrays, x):
    """One decoder, position by position."""
    x = x @ np.asarray(arrays["project"], np.float64)
    for kernel, bias in zip(arrays["kernel"], arrays["bias"], strict=True):
        y = np.maximum(x @ np.asarray(kernel, np.float64) + np.asarray(bias, np.float64), 0)
        k = x.shape[-1]
        x = np.zeros((y.shape[0], 2 * y.shape[1], 2 * y.shape[2], k))
        for down in (0, 1):
            for across in (0, 1):
                at = (2 * down + across) * k
                x[:, down::2, across::2] = y[..., at : at + k]
    return x


def decoder(seed=0, channels=6, classes=3):
    rng = np.random.default_rng(seed)
    shapes = {"project": (channels, classes), "kernel": (3, classes, 4 * classes), "bias": (3, 4 * classes)}
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}


@pytest.mark.slow
def test_loss_is_the_one_that_numpy_computes():
    """Of decoders whose perturbation draws nothing: of the foreground and of the background alone."""
    settings = dataclasses.replace(SETTINGS[CrossConsistency], **{**NONE, "context": 2, "background": 1})
    found, ours, _ = objective_of(CrossConsistency, settings=settings)
    features = ours.images[WEAK] @ ours.params["encoder"]
    p = ours.probabilities(ours.images[WEAK])
    _, h, w, _ = p.shape

    def matrix(size, new):
        at = np.arange(new) * (size - 1) / (new - 1)
        low = np.minimum(np.floor(at).astype(int), size - 2)
        return np.eye(size)[low] * (low + 1 - at)[:, None] + np.eye(size)[low + 1] * (at - low)[:, None]

    logits = features @ ours.params["decoder"]
    larger = np.einsum("ih,jw,bhwk->bijk", matrix(h, 8 * h), matrix(w, 8 * w), logits)
    target, valid = softmax(larger), ours.valid.repeat(8, 1).repeat(8, 2)
    foreground = (p.argmax(-1) > 0)[..., None]
    assert 0.1 < foreground.mean() < 0.9
    total = 0.0
    for kind, kept in (("context", foreground), ("background", ~foreground)):
        stacked = found.own[f"cct.{kind}"]
        for one in range(len(stacked["project"])):
            q = softmax(in_numpy({name: x[one] for name, x in stacked.items()}, features * kept))
            total += np.mean(((q - target) ** 2)[valid])
    losses = {name: (float(mean), float(weight)) for name, (mean, weight) in found.losses.items()}
    assert losses.keys() == {"main", "consistency"}
    assert losses["main"] == pytest.approx((ours.real(), 1.0), rel=2e-5)
    # Step 4 of 100, of which half are those in which the weight rises.
    assert losses["consistency"] == pytest.approx((total / 3, 30 * np.exp(-5 * (1 - 0.08) ** 2)), rel=1e-4)


@pytest.mark.slow
def test_an_adversarial_step_changes_the_answer_more_than_any_other_of_its_length():
    own, x = decoder(), jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, 4, 6)), jnp.float32)

    def change(step):
        before, after = (softmax(in_numpy(own, np.asarray(y, np.float64))) for y in (x, x + step))
        return (before * np.log(before / after)).sum((1, 2, 3))

    found = decoders.adversarial(0.01)(x, own, None, jax.random.key(0)) - x
    np.testing.assert_allclose(np.linalg.norm(found.reshape(2, -1), axis=1), 0.01, rtol=1e-3)
    others = np.random.default_rng(2).normal(size=(20, *x.shape))
    others *= 0.01 / np.linalg.norm(others.reshape(20, 2, -1), axis=-1)[..., None, None, None]
    assert (change(found) > 2 * np.max([change(step) for step in others], 0)).all()


@pytest.mark.slow
def test_what_perturbations_leave():
    x = jnp.asarray(np.random.default_rng(1).uniform(0.5, 1, (3, 10, 10, 4)), jnp.float32)
    foreground = np.zeros((3, 20, 20), bool)
    foreground[0, 4:14, 10:20] = True
    foreground[1, 2:4, 2:4] = True
    key, mask = jax.random.key(0), jnp.asarray(foreground)
    kept = np.asarray(decoders.cutout(0.4)(x, None, mask, key))[..., 0] > 0
    gone = ~kept[0]
    assert gone.sum() == 4 and gone[2:7, 5:].sum() == 4, "four by four of the image, in the box"
    assert kept[1:].all(), "two pixels times 0.4 are none, and where there is no foreground nothing is cut"
    np.testing.assert_array_equal(decoders.context(x, None, mask, key)[0, 2:7, 5:], x[0, 2:7, 5:])
    assert float(jnp.sum(decoders.context(x, None, mask, key)[2])) == 0
    np.testing.assert_allclose(
        decoders.context(x, None, mask, key) + decoders.background(x, None, mask, key), x, rtol=1e-6
    )
    ratio = np.asarray(decoders.feature_noise(0.3)(x, None, mask, key) / x)
    np.testing.assert_allclose(ratio[0], ratio[1], rtol=1e-5)
    assert 0.69 < ratio.min() < 0.8 < 1.2 < ratio.max() < 1.31
    dropped = np.asarray(decoders.feature_drop(x, None, mask, key))
    strongest = np.asarray(x.mean(-1)).reshape(3, -1).argmax(1)
    assert (dropped.reshape(3, 100, 4)[np.arange(3), strongest] == 0).all()
    channels = np.asarray(decoders.drop(0.5)(x, None, mask, key) / x).round(3)
    assert set(np.unique(channels)) == {0.0, 2.0} and (channels == channels[:, :1, :1]).all()


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"weight": -1.0}, "weight is -1.0"),
        ({"ramp_up": 1.5}, "ramp_up is 1.5"),
        ({"drop_rate": 1.0}, "drop_rate is 1.0"),
        ({"drop": -1}, "drop is -1; give 0 or more"),
        (NONE, "cct has no auxiliary decoder"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(CsstError, match=message):
        dataclasses.replace(SETTINGS[CrossConsistency], **changes)
