"""The convolution's forms against the plain one, which form each platform gets, and what is sent between devices."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from csst_jax.models.ops.blocks import convolve_blocks, from_blocks, to_blocks
from csst_jax.models.ops.convolution import conv2d, output_blocks
from csst_jax.streams import LABELLED
from csst_jax.train.sharding import input_shardings, make_mesh, replicated


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


def values_and_gradients(conv, x, kernel, *geometry):
    """The output and the gradients of a weighted sum of it: every output pixel counts differently."""

    def weighted(x, kernel):
        y = conv(x, kernel, *geometry)
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
    "grouped, several blocks": ((1, 6, 7, 64), (3, 3, 8, 64), pair(1), (pair(1), pair(1)), pair(1), 8),
    "grouped, a block a group, stride 2": ((1, 7, 6, 80), (3, 3, 40, 6), pair(2), (pair(1), pair(1)), pair(1), 2),
    "grouped, blocks of three, dilation 2": ((1, 6, 5, 108), (3, 3, 12, 18), pair(1), (pair(2), pair(2)), pair(2), 9),
    "winograd": ((2, 8, 6, 128), (3, 3, 128, 130), pair(1), (pair(1), pair(1)), pair(1), 1),
    "winograd, odd size": ((1, 7, 5, 130), (3, 3, 130, 128), pair(1), (pair(1), pair(1)), pair(1), 1),
    "winograd, uneven padding": ((1, 5, 6, 128), (3, 3, 128, 128), pair(1), ((0, 2), (1, 0)), pair(1), 1),
    "winograd, dilation 2": ((2, 7, 9, 128), (3, 3, 128, 128), pair(1), (pair(2), pair(2)), pair(2), 1),
    "winograd, dilation 4 and 1": ((1, 10, 5, 128), (3, 3, 128, 130), pair(1), ((4, 3), (0, 1)), (4, 1), 1),
    "dilation larger than the image": ((2, 5, 6, 4), (3, 3, 4, 3), pair(1), (pair(6), pair(8)), pair(8), 1),
    "depthwise, dilation larger than the image": ((2, 5, 6, 4), (3, 3, 1, 4), pair(1), (pair(9), pair(9)), pair(9), 4),
    "one side of the taps outside": ((1, 4, 6, 3), (3, 3, 3, 2), pair(1), ((4, 8), pair(1)), (4, 1), 1),
    "winograd, one pixel": ((2, 1, 1, 128), (3, 3, 128, 128), pair(1), (pair(1), pair(1)), pair(1), 1),
    "depthwise, two outputs a channel": ((2, 8, 9, 3), (3, 3, 1, 6), pair(1), (pair(1), pair(1)), pair(1), 3),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_equals_the_plain_convolution_in_value_and_both_gradients(case):
    x_shape, kernel_shape, *geometry = CASES[case]
    x, kernel = arrays(x_shape, kernel_shape)
    for ours, theirs in zip(
        values_and_gradients(conv2d, x, kernel, *geometry),
        values_and_gradients(plain, x, kernel, *geometry),
        strict=True,
    ):
        assert ours.shape == theirs.shape
        # Of sums of a thousand terms of either sign, those near zero are rounded as the largest are.
        near_zero = 5e-6 * float(np.abs(theirs).max()) if case.startswith("winograd") else 1e-5
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=near_zero)


# Input and kernel, padding, groups, and the side of the blocks of outputs; stride 2.
BLOCKS = {
    "3x3 of an image": ((2, 8, 12, 3), (3, 3, 3, 5), (pair(1), pair(1)), 1, 2),
    "7x7 of an image": ((1, 12, 8, 3), (7, 7, 3, 4), (pair(3), pair(3)), 1, 2),
    "3x3 of an image, uneven padding": ((2, 4, 8, 3), (3, 3, 3, 4), ((0, 1), (0, 1)), 1, 2),
    "2x4 of one channel": ((1, 8, 4, 1), (2, 4, 1, 3), (pair(0), pair(1)), 1, 2),
    "depthwise": ((2, 6, 10, 4), (3, 3, 1, 4), (pair(1), pair(1)), 4, 1),
    "depthwise, 5x5, uneven padding": ((1, 6, 4, 4), (5, 5, 1, 4), ((1, 2), (2, 1)), 4, 1),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_the_convolution_of_blocks_equals_the_plain_one_in_value_and_both_gradients(case):
    x_shape, kernel_shape, padding, groups, side = BLOCKS[case]
    geometry = (pair(2), padding, pair(1), groups)
    assert output_blocks(x_shape, kernel_shape, *geometry) == side

    def blocks(x, kernel, stride, padding, dilation, groups):
        return convolve_blocks(x, kernel, stride, padding, groups, side)

    x, kernel = arrays(x_shape, kernel_shape)
    for ours, theirs in zip(
        values_and_gradients(blocks, x, kernel, *geometry),
        values_and_gradients(plain, x, kernel, *geometry),
        strict=True,
    ):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "x_shape,kernel_shape,stride,padding,dilation,groups",
    [
        ((1, 6, 8, 3), (3, 3, 3, 4), pair(2), (pair(1), pair(1)), pair(1), 1),  # an odd number of outputs
        ((1, 8, 8, 3), (3, 3, 3, 4), pair(2), (pair(0), pair(1)), pair(1), 1),  # not half as many outputs
        ((1, 8, 8, 3), (3, 3, 3, 4), pair(1), (pair(1), pair(1)), pair(1), 1),
        ((1, 8, 8, 3), (3, 3, 3, 4), pair(2), (pair(2), pair(2)), pair(2), 1),
        ((1, 8, 8, 16), (3, 3, 16, 4), pair(2), (pair(1), pair(1)), pair(1), 1),
        ((1, 8, 8, 64), (3, 3, 1, 64), pair(2), (pair(1), pair(1)), pair(1), 64),
        ((1, 8, 8, 4), (3, 3, 1, 8), pair(2), (pair(1), pair(1)), pair(1), 4),
        ((1, 8, 8, 8), (3, 3, 4, 8), pair(2), (pair(1), pair(1)), pair(1), 2),
    ],
)
def test_other_convolutions_are_not_done_in_blocks(x_shape, kernel_shape, stride, padding, dilation, groups):
    assert output_blocks(x_shape, kernel_shape, stride, padding, dilation, groups) is None


def test_blocks_hold_the_pixels_by_column_row_and_channel_and_give_them_back():
    x = jnp.arange(2.0 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    blocks = to_blocks(x, 2)
    assert blocks.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(blocks[1, 1, 2], jnp.concatenate([x[1, r, c] for c in (4, 5) for r in (2, 3)]))
    np.testing.assert_array_equal(from_blocks(blocks, 2), x)


def test_bfloat16_weight_gradient_does_not_lose_what_float32_sums_keep():
    geometry = (pair(1), (pair(1), pair(1)), pair(1), 3)
    x, kernel = arrays((1, 1024, 4, 3), (3, 3, 1, 3))
    x, kernel = jnp.abs(x), jnp.asarray(kernel)  # sums grow, and a running sum of bfloat16 stops growing at 256

    def kernel_gradient(x, kernel):
        return jax.jit(jax.grad(lambda k: jnp.sum(conv2d(x, k, *geometry).astype(jnp.float32))))(kernel)

    exact = kernel_gradient(x, kernel)
    half = kernel_gradient(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(np.float32), exact, rtol=2**-7)


def test_winograd_in_bfloat16_is_as_exact_as_its_inputs():
    geometry = (pair(1), (pair(1), pair(1)), pair(1), 1)
    x, kernel = (jnp.asarray(a, jnp.bfloat16) for a in arrays((1, 8, 8, 128), (3, 3, 128, 128)))
    y = conv2d(x, kernel, *geometry)
    assert y.dtype == jnp.bfloat16
    exact = plain(x.astype(jnp.float32), kernel.astype(jnp.float32), *geometry)
    np.testing.assert_allclose(y.astype(jnp.float32), exact, rtol=2**-7, atol=2**-7)


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


def test_tpu_alone_gets_blocks():
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, 16, 16, 3), (3, 3, 3, 32))]
    conv = functools.partial(conv2d, stride=pair(2), padding=(pair(1),) * 2, dilation=pair(1), groups=1)
    traced = jax.jit(conv).trace(*shapes)
    for platform, channels in (("tpu", 48), ("cpu", 3), ("cuda", 3)):
        (convolution,) = (
            line
            for line in traced.lower(lowering_platforms=(platform,)).as_text().splitlines()
            if "stablehlo.convolution" in line
        )
        assert f"x{channels}xf32>, tensor<" in convolution


GROUPED = ((8, 8, 6, 64), (3, 3, 8, 64), 8)


def test_no_platform_gets_a_convolution_with_groups_of_several_channels():
    for platform, blocks in (("tpu", 1), ("cuda", 1), ("cpu", 2)):
        convolutions = [line for line in lowered(platform, *GROUPED).splitlines() if "stablehlo.convolution" in line]
        assert len(convolutions) == 3 * blocks
        assert all("feature_group_count = 1 : i64" in line for line in convolutions)
        assert all("batch_group_count = 1 : i64" in line for line in convolutions)


def gathered_sizes(conv, x_shape, kernel_shape, geometry, spatial):
    """Numbers of elements of all that the program of the output and both gradients gathers on eight devices."""
    mesh = make_mesh(jax.devices()[:8], spatial)
    pixels, everywhere = input_shardings([LABELLED], mesh)["labelled"]["image"], replicated(mesh)

    def step(x, kernel):
        y, vjp = jax.vjp(lambda x, k: conv(x, k, *geometry), x, kernel)
        return y, vjp(jnp.sin(y))

    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (x_shape, kernel_shape)]
    program = jax.jit(step, in_shardings=(pixels, everywhere), out_shardings=(pixels, (pixels, everywhere)))
    gathers = re.findall(r"= (.*?) all-gather(?:-start)?\(", program.lower(*shapes).compile().as_text())
    arrays = [shape for gather in gathers for shape in re.findall(r"\[([\d,]+)\]", gather)]
    return [math.prod(map(int, shape.split(","))) for shape in arrays]


@pytest.mark.parametrize("spatial", [1, 2])
@pytest.mark.parametrize("stride,dilation", [(1, 1), (2, 1), (1, 2)])
def test_a_grouped_convolution_gathers_no_images_from_other_devices(spatial, stride, dilation):
    x_shape, kernel_shape, groups = GROUPED
    geometry = (pair(stride), (pair(dilation), pair(dilation)), pair(dilation), groups)
    own_share = math.prod(x_shape) // stride**2 // 8
    assert all(size < own_share for size in gathered_sizes(conv2d, x_shape, kernel_shape, geometry, spatial))


@pytest.mark.parametrize("spatial", [1, 2])
@pytest.mark.parametrize(
    "x_shape,kernel_shape,groups,side", [((8, 16, 16, 3), (3, 3, 3, 32), 1, 2), ((8, 16, 16, 32), (3, 3, 1, 32), 32, 1)]
)
def test_a_convolution_of_blocks_gathers_no_images_from_other_devices(x_shape, kernel_shape, groups, side, spatial):
    geometry = (pair(2), (pair(1), pair(1)), groups, side)
    own_share = 8 * 8 * min(32, x_shape[-1]) // spatial
    assert all(size < own_share for size in gathered_sizes(convolve_blocks, x_shape, kernel_shape, geometry, spatial))


def test_the_plain_grouped_convolution_would_gather_images():
    """What the form above is for; when this fails, openxla/xla#47945 is fixed and the form can be reconsidered."""
    x_shape, kernel_shape, groups = GROUPED
    geometry = (pair(1), (pair(1), pair(1)), pair(1), groups)
    assert math.prod(x_shape) in gathered_sizes(plain, x_shape, kernel_shape, geometry, 1)
