"""`configs/one_stage.py` takes the steps of the authors' code, which several processes and halved losses scale."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from configs.one_stage import get_config
from csst_jax.train import optimizers

PROCESSES = 8
MOMENTUM = 0.9


def stage_of(method):
    return get_config(f"method={method},net=fast_scnn").teacher


def gradients(p):
    """Of each process's loss, a bowl of its own."""
    rng = np.random.default_rng(0)
    scales, centres = rng.uniform(0.5, 2, PROCESSES), rng.normal(size=PROCESSES)
    return scales * (p - centres)


def authors(rate, decay, factor, steps=20):
    """SGD as PyTorch has it, on the mean over the processes of gradients that are multiplied by the factor."""
    p, velocity = 3.0, 0.0
    for _ in range(steps):
        velocity = MOMENTUM * velocity + np.mean(factor * gradients(p)) + decay * p
        p -= rate * velocity
    return p


def ours(stage, steps=20):
    """The same with the configured numbers, on the mean of the gradients as they are."""
    sgd = optimizers.make(optimizers.Sgd(**stage.optimizer.sgd), ["kernel"])
    params = {"kernel": jnp.float32(3.0)}
    state = sgd.init(params)
    for _ in range(steps):
        gradient = {"kernel": jnp.float32(np.mean(gradients(float(params["kernel"]))))}
        updates, state = sgd.update(gradient, state, params, learning_rate=jnp.float32(stage.lr.base))
        params = {"kernel": params["kernel"] + updates["kernel"]}
    return float(params["kernel"])


@pytest.mark.parametrize(
    ("method", "rate", "factor"),
    [
        ("unimatch", 0.005, 1),  # both sides halve the loss
        ("corrmatch", 0.005, 1),
        # TorchSemiSeg: `loss = loss / world_size` on each process, and the gradients' mean.
        ("cps", 0.04, 1 / PROCESSES),
        ("fixmatch", 0.005, 1 / 2),  # `consistency` does not halve the loss
    ],
)
def test_a_step_of_sgd_is_the_authors(method, rate, factor):
    assert ours(stage_of(method)) == pytest.approx(authors(rate, 1e-4, factor), rel=1e-5)


def test_the_contrast_of_u2pl_is_divided_by_the_authors_processes():
    assert stage_of("u2pl").method.u2pl.contrast_weight == 1 / PROCESSES
    assert stage_of("unimatch").method.u2pl.contrast_weight == 1


def test_cps_spares_biases_and_normalisations_the_decay():
    ((pattern, factor),) = stage_of("cps").optimizer.decay_factors
    assert factor == 0
    for name in ("backbone.bn1.scale", "backbone.bn1.bias", "second.head.classifier.bias"):
        assert re.search(pattern, name)
    assert not re.search(pattern, "second.head.classifier.kernel")


@pytest.mark.parametrize(
    ("method", "pixels"),
    [("fixmatch", 200_000), ("unimatch", 200_000), ("cps", 100_000), ("u2pl", 100_000), ("corrmatch", 100_000)],
)
def test_ohem_keeps_the_authors_number_of_pixels_of_two_crops(method, pixels):
    stage = stage_of(method)
    assert stage.loss.ohem_min_kept * 2 * stage.crop_px**2 == pytest.approx(pixels)


def test_fixmatch_has_the_recipe_of_unimatch():
    fixmatch, unimatch = stage_of("fixmatch"), stage_of("unimatch")
    assert fixmatch.method.name == "consistency"
    assert fixmatch.method.consistency.to_dict() == {"confidence_threshold": 0.0, "weight": 1.0, "cutmix": 0.5}
    for key in ("crop_px", "epochs", "batch_size", "augment", "sampler", "loss", "schedule"):
        assert fixmatch[key] == unimatch[key], key
    plain = stage_of("consistency").method.consistency
    assert (plain.confidence_threshold, plain.cutmix) == (0.0, 0.0)
