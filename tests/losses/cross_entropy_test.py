"""Cross entropy per pixel: values, gradients and ignored pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.losses import cross_entropy as losses

cross_entropy = jax.jit(losses.cross_entropy)
sum_and_count = jax.jit(losses.sum_and_count)
valid_pixels = jax.jit(losses.valid_pixels)


def reference(logits, labels):
    logits = np.asarray(logits, np.float64)
    log_z = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1)
    return log_z - np.take_along_axis(logits, labels[..., None].astype(int), -1)[..., 0]


def make_batch(c=11, scale=5.0):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 9, 7, c)).astype(np.float32) * scale
    return logits, rng.integers(0, c, (2, 9, 7)).astype(np.uint8)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_values(scale):
    logits, labels = make_batch(scale=scale)
    values = cross_entropy(logits, labels)
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, reference(logits, labels), rtol=1e-5, atol=1e-5)
    assert (np.asarray(values) >= 0).all()


def test_bfloat16_logits_are_computed_in_float32():
    logits, labels = make_batch()
    low = jnp.asarray(logits, jnp.bfloat16)
    values = cross_entropy(low, labels)
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, reference(low.astype(jnp.float32), labels), rtol=1e-5, atol=1e-5)


def test_ignored_pixels_have_no_value_and_no_gradient_whatever_the_logits():
    logits, labels = make_batch()
    labels[0, :3] = 255
    logits[0, 0], logits[0, 1], logits[0, 2] = np.nan, np.inf, -np.inf

    def mean(logits):
        total, count = sum_and_count(cross_entropy(logits, labels), valid_pixels(labels))
        return total / count

    loss, gradient = jax.jit(jax.value_and_grad(mean))(logits)
    counted = labels != 255
    assert loss == pytest.approx(reference(logits[counted], labels[counted]).mean(), rel=1e-5)
    assert (np.asarray(gradient)[~counted] == 0).all()
    softmax = jax.nn.softmax(logits[counted])
    expected = (softmax - np.eye(11)[labels[counted]]) / counted.sum()
    np.testing.assert_allclose(np.asarray(gradient)[counted], expected, atol=1e-7)


def test_valid_mask_given_by_the_caller():
    logits, labels = make_batch()
    valid = np.zeros(labels.shape, bool)
    valid[1] = True
    values = np.asarray(cross_entropy(logits, labels, valid))
    assert (values[0] == 0).all()
    np.testing.assert_allclose(values[1], reference(logits, labels)[1], rtol=1e-5, atol=1e-5)


def test_no_valid_pixel_gives_zero():
    logits, labels = make_batch()
    labels[:] = 255
    total, count = sum_and_count(cross_entropy(logits, labels), valid_pixels(labels))
    assert float(total) == 0 and float(count) == 0


def test_non_finite_logits_of_counted_pixels_are_not_hidden():
    logits, labels = make_batch()
    logits[0, 0, 0] = np.nan
    total, _ = sum_and_count(cross_entropy(logits, labels), valid_pixels(labels))
    assert np.isnan(total)


def test_sums_by_class_for_cpus_are_those_of_other_platforms():
    logits, labels = make_batch()
    labels[0, :3] = 255
    logits = jnp.moveaxis(logits, -1, 1)
    given = logits, labels.astype(jnp.int32), 1
    for by_class, at_once in zip(losses._sums_by_class(*given), losses._sums(*given), strict=True):
        np.testing.assert_allclose(by_class, at_once, rtol=1e-6)


def test_no_gather_in_the_program():
    logits, labels = make_batch()
    gradient = jax.grad(lambda x: cross_entropy(x, labels).sum())
    text = jax.jit(gradient).lower(logits).as_text()
    assert "gather" not in text and "scatter" not in text
