"""The convolution's CPU forms against the plain one, and which form each platform gets."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from csst_jax.models.convolution import conv2d


def plain(x, kernel, stride, padding, dilation, groups):
    return lax.conv_general_dilated(
        x,
        kernel,
        stride,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def arrays(x_shape, kernel_shape, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return rng.normal(size=x_shape).astype(dtype), rng.normal(size=kernel_shape).astype(dtype)


def values_and_gradients(conv, x, kernel, *how):
    """The output and the gradients of a weighted sum of it: every output pixel counts differently."""

    def weighted(x, kernel):
        y = conv(x, kernel, *how)
        weight = jnp.sin(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
        return jnp.sum(y.astype(jnp.float32) * weight), y

    (_, y), gradients = jax.jit(jax.value_and_grad(weighted, (0, 1), has_aux=True))(x, kernel)
    return y, *gradients


def pair(n):
    return (n, n)


CASES = {
    "depthwise": ((2, 8, 8, 5), (3, 3, 1, 5), pair(1), (pair(1), pair(1)), pair(1), 5),
    "depthwise, odd size, rows not a multiple of 4": (
        (2, 7, 9, 4),
        (3, 3, 1, 4),
        pair(1),
        (pair(1), pair(1)),
        pair(1),
        4,
    ),
    "depthwise, stride 2": ((2, 12, 16, 4), (3, 3, 1, 4), pair(2), (pair(1), pair(1)), pair(1), 4),
    "depthwise, stride 2, odd size": ((1, 13, 7, 4), (3, 3, 1, 4), pair(2), (pair(1), pair(1)), pair(1), 4),
    "depthwise, dilation 2": ((2, 10, 11, 4), (3, 3, 1, 4), pair(1), (pair(2), pair(2)), pair(2), 4),
    "depthwise, stride 2, dilation 2": ((1, 11, 10, 3), (3, 3, 1, 3), pair(2), (pair(2), pair(2)), pair(2), 3),
    "depthwise, one row": ((2, 1, 6, 3), (3, 3, 1, 3), pair(1), (pair(1), pair(1)), pair(1), 3),
    "depthwise, no padding, 5x5": ((1, 9, 8, 3), (5, 5, 1, 3), pair(1), (pair(0), pair(0)), pair(1), 3),
    "depthwise, uneven in every respect": ((2, 10, 9, 3), (2, 3, 1, 3), (2, 1), ((0, 1), (2, 1)), (1, 2), 3),
    "pointwise": ((2, 5, 7, 6), (1, 1, 6, 4), pair(1), (pair(0), pair(0)), pair(1), 1),
    "1x1, stride 2": ((2, 5, 7, 6), (1, 1, 6, 4), pair(2), (pair(0), pair(0)), pair(1), 1),
    "1x1, padded": ((2, 5, 7, 6), (1, 1, 6, 4), pair(1), (pair(1), pair(1)), pair(1), 1),
    "dense": ((2, 8, 9, 3), (3, 3, 3, 4), pair(2), (pair(1), pair(1)), pair(1), 1),
    "grouped": ((2, 8, 9, 6), (3, 3, 3, 4), pair(1), (pair(1), pair(1)), pair(1), 2),
    "depthwise, two outputs a channel": ((2, 8, 9, 3), (3, 3, 1, 6), pair(1), (pair(1), pair(1)), pair(1), 3),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_plain_convolution_in_value_and_both_gradients(case):
    x_shape, kernel_shape, *how = CASES[case]
    x, kernel = arrays(x_shape, kernel_shape)
    for ours, theirs in zip(
        values_and_gradients(conv2d, x, kernel, *how), values_and_gradients(plain, x, kernel, *how), strict=True
    ):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_bfloat16_weight_gradient_does_not_lose_what_float32_sums_keep():
    how = (pair(1), (pair(1), pair(1)), pair(1), 3)
    x, kernel = arrays((1, 1024, 4, 3), (3, 3, 1, 3))
    x = np.abs(x)  # sums grow, and a running sum of bfloat16 stops growing at 256

    def kernel_gradient(x, kernel):
        return jax.jit(jax.grad(lambda k: jnp.sum(conv2d(x, k, *how).astype(jnp.float32))))(kernel)

    exact = kernel_gradient(x, kernel)
    half = kernel_gradient(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(np.float32), exact, rtol=2**-7)


def lowered(platform, x_shape, kernel_shape, groups):
    conv = functools.partial(
        conv2d, stride=pair(1), padding=(pair(kernel_shape[0] // 2),) * 2, dilation=pair(1), groups=groups
    )
    step = jax.jit(jax.value_and_grad(lambda x, k: jnp.sum(conv(x, k) ** 2), (0, 1)))
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (x_shape, kernel_shape)]
    return step.trace(*shapes).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(
    "x_shape,kernel_shape,groups", [((2, 8, 8, 6), (3, 3, 1, 6), 6), ((2, 8, 8, 6), (1, 1, 6, 4), 1)]
)
def test_tpu_program_keeps_the_plain_convolution_forward_and_backward(x_shape, kernel_shape, groups):
    tpu, cpu = (lowered(platform, x_shape, kernel_shape, groups) for platform in ("tpu", "cpu"))
    convolutions = [line for line in tpu.splitlines() if "stablehlo.convolution" in line]
    assert len(convolutions) == 3, "one forward, two gradients"
    assert f"feature_group_count = {groups} : i64" in convolutions[0]
    assert "stablehlo.convolution" not in cpu
