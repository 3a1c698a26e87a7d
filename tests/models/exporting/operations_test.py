"""Each of JAX's primitives that has a form in ONNX: onnxruntime computes what JAX does, for any number of images."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from jax import lax

from csst_jax.models.exporting import onnx_file
from csst_jax.models.ops.convolution import conv2d
from csst_jax.models.ops.pooling import adaptive_average_pool, max_pool
from csst_jax.models.ops.resize import resize, resize_logits, resize_nearest
from csst_jax.platforms import traced_portably
from csst_jax.types import CsstError

RNG = np.random.default_rng(0)
CHANNELS = RNG.normal(size=4).astype(np.float32)
KERNEL = RNG.normal(size=(3, 3, 4, 6)).astype(np.float32)
MATRIX = RNG.normal(size=(4, 7)).astype(np.float32)


def converted(function, dtype=np.float32):
    """ONNX's model of a function of [batch, 6, 5, 4]."""
    images = jax.ShapeDtypeStruct((*jax.export.symbolic_shape("batch"), 6, 5, 4), dtype)
    with traced_portably():
        closed = jax.make_jaxpr(function)(images)
    return onnx_file.model(closed, [], "out", "test", {})


def agree(function, dtype=np.float32):
    model = converted(function, dtype)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        x = (10 * RNG.normal(size=(count, 6, 5, 4))).astype(dtype)
        (theirs,) = session.run(None, {onnx_file.INPUT: x})
        ours = np.asarray(jax.jit(function)(x))
        assert (theirs.shape, theirs.dtype) == (ours.shape, ours.dtype)
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5 * float(np.abs(ours).max()))
    return [node.op_type for node in model.graph.node]


def convolved(x, stride=1, padding=((1, 1), (1, 1)), dilation=1, groups=1):
    kernel = jnp.asarray(KERNEL[:, :, : 4 // groups, : 6 if groups == 1 else 4])
    return conv2d(x, kernel, (stride, stride), padding, (dilation, dilation), groups)


def chosen(x, places, axes):
    """A gather that networks have no use for."""
    rest = tuple(axis for axis in range(4) if axis not in axes)
    extra = np.ndim(places) - 1
    numbers = lax.GatherDimensionNumbers(tuple(range(extra, extra + len(rest))), axes, axes)
    sizes = tuple(1 if axis in axes else x.shape[axis] for axis in range(4))
    return lax.gather(x, jnp.asarray(places), numbers, sizes, mode="promise_in_bounds")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x + CHANNELS) * CHANNELS - CHANNELS,
        lambda x: CHANNELS - x / CHANNELS,
        lambda x: jnp.minimum(jax.nn.relu(x), 6),
        lambda x: jnp.maximum(x, CHANNELS),
        lambda x: jnp.square(x) + lax.rsqrt(jnp.exp(0.1 * x)) + jax.nn.sigmoid(x),
        lambda x: jax.nn.softmax(x, -1),
        lambda x: jnp.argmax(x, -1),
        lambda x: jnp.argmax(x, 1).astype(jnp.uint8),
        lambda x: x.mean((1, 2)) * CHANNELS,
        lambda x: convolved(x).max((1, 2), keepdims=True) * convolved(x),
        lambda x: x.reshape(x.shape[0], 30, 4).swapaxes(1, 2)[:, :, None],
        lambda x: jnp.concatenate([convolved(x), x, jnp.broadcast_to(x.mean((1, 2), keepdims=True), x.shape)], -1),
        lambda x: jnp.concatenate([jnp.broadcast_to(CHANNELS, x.shape), convolved(x)], 1 + 2),
        lambda x: sum(jnp.split(convolved(x), 3, -1)),
        lambda x: convolved(x)[:, 1:5, :3][..., ::-1],
        lambda x: lax.slice(x, (0, 1, 0, 0), (x.shape[0], 6, 5, 4), (1, 2, 2, 1)),
        lambda x: convolved(x)[:, 1:3, 2],
        lambda x: jnp.take(convolved(x), np.array([3, 0, 0]), 1),
        lambda x: jnp.einsum("bhwc,cd->bhwd", x, MATRIX),
        lambda x: jnp.einsum("bhwc,bhwd->bcd", convolved(x), x),
        lambda x: jnp.einsum("dc,bhwc->dbwh", MATRIX.T, x).transpose(1, 0, 2, 3),
        lambda x: convolved(x, 2, ((0, 1), (2, 1))),
        lambda x: convolved(x, dilation=2, padding=((2, 2), (2, 2))),
        lambda x: convolved(x, groups=4),
        lambda x: convolved(x, groups=2),
        lambda x: max_pool(x, 3, 2, 1),
        lambda x: max_pool(x, 2, 2, ceil_mode=True),
        lambda x: adaptive_average_pool(x, 4),
        lambda x: resize(convolved(x), (11, 13), True),
        lambda x: resize(x, (4, 3), False),
        lambda x: resize(x, (1, 9), True),
        lambda x: resize(adaptive_average_pool(x, 1), (3, 4), False),
        lambda x: resize_logits(x, (12, 10), False),
        lambda x: resize_nearest(x, (12, 7)),
        lambda x: lax.optimization_barrier((x, convolved(x)))[1],
        lambda x: x,
    ],
)
@pytest.mark.slow
def test_onnxruntime_computes_what_jax_does(function):
    agree(function)


def test_whole_numbers_become_fractions():
    agree(lambda x: x.astype(jnp.float32)[..., ::-1] * (1 / 255), np.uint8)


def test_normalisation_becomes_part_of_the_convolution():
    def normalised(x):
        y = convolved(x)
        return jax.nn.relu((y - KERNEL[0, 0, 0]) * KERNEL[0, 1, 0] + KERNEL[0, 2, 0])

    assert agree(normalised) == ["Transpose", "Conv", "Relu", "Transpose"]
    assert agree(lambda x: 2 * convolved(x) / CHANNELS[0])[1:-1] == ["Conv"]


def test_what_others_read_too_stays():
    def twice(x):
        y = convolved(x)
        return y * 2 + y

    assert agree(twice).count("Mul") == 1
    by_row = np.arange(6, dtype=np.float32)[:, None, None]  # as many rows as channels
    assert agree(lambda x: convolved(x) + by_row).count("Add") == 1


def test_resizing_is_one_operation():
    assert agree(lambda x: resize(convolved(x), (12, 10), False)).count("Resize") == 1
    assert "MatMul" not in agree(lambda x: resize_logits(x, (12, 10), True))


@pytest.mark.parametrize(
    "function,said",
    [
        (jnp.sin, "no operation for JAX's 'sin'; add it to csst_jax/models/exporting/operations.py"),
        (lambda x: lax.conv_transpose(x, jnp.asarray(KERNEL), (2, 2), "SAME"), "convolutions with input dilation"),
        (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 1, 2), (1, 1, 1, 2), "VALID"), "windows of features"),
        (lambda x: jnp.broadcast_to(x[:1], (2 * x.shape[0], *x.shape[1:])), "an axis of 2\\*batch values is repeated"),
        (lambda x: jnp.einsum("bhwc,dhwc->bd", x, x), "two axes of .* depend on the number of images"),
        (lambda x: chosen(x, jnp.argmax(x.sum((0, 1)), -1)[:1], (3,)), "fixed positions alone"),
        (lambda x: chosen(x, [[3, 2], [0, 1]], (1, 2)), "rows along one axis, or a slice"),
        (lambda x: x * x.shape[0], "no operation for JAX's 'dim_as_value'"),
    ],
)
def test_what_has_no_form_is_named(function, said):
    with pytest.raises(CsstError, match=said):
        converted(function)
