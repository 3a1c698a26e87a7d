"""OHEM: the definition against a sort, and the same on any number of devices."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from csst_jax.losses import cross_entropy as losses
from csst_jax.losses import ohem

jitted = jax.jit(ohem.ohem_mask, static_argnames=("threshold", "min_kept_fraction"))
cross_entropy = jax.jit(losses.cross_entropy)
sum_and_count = jax.jit(losses.sum_and_count)


def ohem_mask(values, valid, threshold=0.7, min_kept_fraction=1 / 16):
    return jitted(values, valid, threshold=threshold, min_kept_fraction=min_kept_fraction)


def reference(values, valid, threshold=0.7, min_kept_fraction=1 / 16):
    hard = valid & (values >= np.float32(-math.log(threshold)))
    k = math.ceil(min_kept_fraction * valid.sum())
    if hard.sum() >= k:
        return hard
    return valid & (values >= np.sort(values[valid])[::-1][k - 1])


def make_values(shape, hard_share, seed=0):
    """Losses of which about hard_share are hard; the easy ones span many magnitudes, and a tenth is ignored."""
    rng = np.random.default_rng(seed)
    values = (10.0 ** rng.uniform(-30, -0.6, shape)).astype(np.float32)
    values = np.where(rng.random(shape) < hard_share, 0.4 + rng.random(shape), values).astype(np.float32)
    valid = rng.random(shape) > 0.1
    return np.where(valid, values, 0), valid


@pytest.mark.parametrize("hard_share", [0.0, 0.03, 0.06, 0.3, 1.0])
@pytest.mark.parametrize("fraction", [0.0, 1 / 16, 0.3, 1.0])
def test_equals_a_sort(hard_share, fraction):
    values, valid = make_values((2, 40, 40), hard_share)
    mask = np.asarray(ohem_mask(values, valid, min_kept_fraction=fraction))
    expected = reference(values, valid, min_kept_fraction=fraction)
    assert np.array_equal(mask, expected)
    assert mask.sum() >= math.ceil(fraction * valid.sum())


@pytest.mark.parametrize("size", [5, 17, 64])
def test_any_crop_size(size):
    for hard_share in (0.02, 0.5):
        values, valid = make_values((3, size, size), hard_share, seed=size)
        assert np.array_equal(ohem_mask(values, valid), reference(values, valid))


def test_share_kept_does_not_depend_on_the_crop_size():
    rng = np.random.default_rng(0)
    shares = []
    for size in (32, 64, 128):
        values = rng.random((4, size, size), np.float32) * 0.01
        shares.append(np.asarray(ohem_mask(values, np.ones(values.shape, bool))).mean())
    np.testing.assert_allclose(shares, 1 / 16, atol=1e-3)


def test_ties_at_the_cut_are_all_kept():
    values = np.array([0.3, 0.2, 0.2, 0.2, 0.1, 0.0, -0.0, 0.0], np.float32)
    valid = np.ones(8, bool)
    mask = ohem_mask(values, valid, min_kept_fraction=0.25)
    assert np.asarray(mask).tolist() == [True] * 4 + [False] * 4
    assert np.asarray(ohem_mask(values * 0, valid)).all(), "all tie at zero"


def test_threshold_is_a_probability():
    # exp(-value) is exactly the ground-truth probability: .7 is hard, .71 is not.
    values = -np.log(np.array([0.1, 0.7, 0.71, 0.99], np.float32))
    valid = np.ones(4, bool)
    assert np.asarray(ohem_mask(values, valid)).tolist() == [True, True, False, False]
    assert np.asarray(ohem_mask(values, valid, threshold=0.05, min_kept_fraction=0.0)).tolist() == [False] * 4
    assert np.asarray(ohem_mask(values, valid, threshold=1.0)).all()


@pytest.mark.parametrize(("axes", "spec"), [((8, 1), ("data",)), ((4, 2), ("data", "spatial"))])
@pytest.mark.parametrize("hard_rows", [2, 8])  # 24 and 96 hard pixels, where 63 must be kept
def test_same_on_one_device_and_on_eight(axes, spec, hard_rows):
    if jax.device_count() < 8:
        pytest.skip("needs XLA_FLAGS=--xla_force_host_platform_device_count=8")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, (8, 12, 12)).astype(np.int32)
    logits = (np.eye(5)[labels] + rng.normal(size=(8, 12, 12, 5)) * 0.03).astype(np.float32) * 3
    # The hard pixels sit in one image, hence on one device: a definition per device would differ.
    logits[0, :hard_rows] *= -1
    labels[3] = 255

    def loss(logits, labels):
        values = cross_entropy(logits, labels)
        mask = ohem_mask(values, labels != 255)
        total, count = sum_and_count(values, mask)
        return total / jnp.maximum(count, 1), mask

    mesh = Mesh(np.array(jax.devices()[:8]).reshape(axes), ("data", "spatial"))
    sharding = NamedSharding(mesh, PartitionSpec(*spec))
    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (one, mask_one), gradient_one = step(logits, labels)
    sharded = jax.device_put(logits, sharding), jax.device_put(labels, sharding)
    (eight, mask_eight), gradient_eight = step(*sharded)
    assert np.array_equal(mask_one, mask_eight)
    assert np.asarray(mask_one).sum() == {2: 63, 8: 96}[hard_rows]
    np.testing.assert_allclose(one, eight, rtol=1e-6)
    np.testing.assert_allclose(gradient_one, gradient_eight, rtol=1e-5, atol=1e-9)

    text = step.lower(*sharded).compile().as_text()
    assert not re.search(r"all-gather|all-to-all|sort\(|collective-permute", text)
    reduced = re.findall(r"= (\S+) all-reduce(?:-start)?\(", text)
    assert reduced and all(re.match(r"(s32|f32)\[\]", shape) for shape in reduced), reduced


def test_no_valid_pixel_gives_zero_not_nan():
    labels = np.full((2, 4, 4), 255, np.uint8)

    def mean(logits):
        values = cross_entropy(logits, labels)
        total, count = sum_and_count(values, ohem_mask(values, labels != 255))
        return total / jnp.maximum(count, 1)

    loss, gradient = jax.value_and_grad(mean)(jnp.ones((2, 4, 4, 3)))
    assert float(loss) == 0 and not np.asarray(gradient).any()


def test_gradient_is_zero_where_ignored_or_not_kept():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, (2, 8, 8)).astype(np.uint8)
    labels[:, :2] = 255
    logits = rng.normal(size=(2, 8, 8, 3)).astype(np.float32) * 3

    def total(logits):
        values = cross_entropy(logits, labels)
        mask = ohem_mask(values, labels != 255)
        return sum_and_count(values, mask)[0], mask

    gradient, mask = jax.jit(jax.grad(total, has_aux=True))(logits)
    touched = np.abs(np.asarray(gradient)).sum(-1) > 0
    assert np.array_equal(touched, mask)
    assert not touched[:, :2].any() and touched.any() and not touched[:, 2:].all()


def test_nan_is_kept_so_that_the_loss_shows_it():
    for rest in (0.01, 5.0):
        values = np.full(64, rest, np.float32)
        values[7] = np.nan
        mask = np.asarray(ohem_mask(values, np.ones(64, bool)))
        assert mask[7]


def test_the_bisection_runs_only_when_too_few_pixels_are_hard():
    values, valid = make_values((2, 8, 8), 0.5)
    jaxpr = jax.make_jaxpr(functools.partial(ohem.ohem_mask, threshold=0.7, min_kept_fraction=1 / 16))(values, valid)
    top = {eqn.primitive.name for eqn in jaxpr.eqns}
    assert "cond" in top and not top & {"while", "scan"}


def test_the_largest_valid_values_are_counted_exactly():
    values = np.random.default_rng(0).uniform(0, 2, (6, 7)).astype(np.float32)
    valid = np.random.default_rng(1).uniform(size=(6, 7)) < 0.7
    found = np.asarray(ohem.largest(jnp.asarray(values), jnp.asarray(valid), jnp.float32(0.5)))
    count = round(0.5 * valid.sum())
    np.testing.assert_array_equal(found, valid & (values >= np.sort(values[valid])[-count]))
    assert (values[~valid] > values[found].min()).any(), "larger ones do not count"
    assert not ohem.largest(jnp.asarray(values), jnp.asarray(valid), jnp.float32(0.0)).any()
