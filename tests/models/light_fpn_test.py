"""The light feature pyramid: size, shapes, modes, and the decoder against one written with numpy alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.models import light_fpn, nnx_io

TINY = {"width": 0.25, "depth": 0.1}


def count(arrays):
    return sum(int(np.prod(leaf.shape)) for leaf in arrays.values())


def test_number_of_parameters():
    network = nnx_io.abstract(functools.partial(light_fpn.build, 11))
    # The probe's `sum(p.numel() for p in model.parameters())`, less the ImageNet head of 412,160 and classifier of
    # 1,281,000 that its trunk object carries along.
    assert count(network.params) == 3_085_867
    trunk = {name: leaf for name, leaf in network.params.items() if name.startswith("backbone.")}
    assert count(trunk) == 2_958_848
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("size", [pytest.param((64, 96), marks=pytest.mark.slow), (65, 97)])
def test_shapes_modes_and_dtypes(size):
    network = nnx_io.abstract(functools.partial(light_fpn.build, 5, dtype=jnp.bfloat16, **TINY))
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    train, stats = jax.eval_shape(network.apply_train, network.params, network.batch_stats, images, jax.random.key(0))
    assert {n: s.shape for n, s in stats.items()} == {n: s.shape for n, s in network.batch_stats.items()}
    for out in (train, jax.eval_shape(network.apply_eval, network.params, network.batch_stats, images)):
        assert out["aux"] == {}
        assert out["logits"].shape == (2, *size, 5) and out["logits"].dtype == jnp.float32
        for name, stride in {"low": 4, "high": 32, "decoder": 4}.items():
            assert out["features"][name].shape[1:3] == tuple(-(-side // stride) for side in size), name
            assert out["features"][name].dtype == jnp.bfloat16


@pytest.mark.slow
def test_the_decoder_is_what_numpy_makes_of_the_trunks_features():
    network = nnx_io.create(functools.partial(light_fpn.build, 5, **TINY), seed=0)
    rng = np.random.default_rng(0)
    # Statistics, scales and biases that matter: initial ones would hide a forgotten or misplaced normalisation.
    values = {
        name: rng.uniform(0.5, 1.5, like.shape) if like.ndim == 1 else np.asarray(like)
        for name, like in (network.params | network.batch_stats).items()
    }
    params, stats = ({name: jnp.asarray(values[name], jnp.float32) for name in part}
                     for part in (network.params, network.batch_stats))  # fmt: skip
    network = dataclasses.replace(network, params=params, batch_stats=stats)
    images = rng.normal(size=(2, 72, 104, 3)).astype(np.float32)
    taps = {}

    def watched(images):
        out = network.apply_eval(params, stats, images)
        return out["logits"], out["features"]

    logits, features = jax.jit(watched)(images)
    taps = trunk_features(params, stats, images)
    np.testing.assert_allclose(features["high"], taps["stage6"], atol=1e-4)
    expected = decoder(values, taps, images.shape[1:3])
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


def trunk_features(params, stats, images):
    """The trunk's, which tests/parity compares with timm's."""
    from csst_jax.models.backbones.efficientnet_lite import EfficientNetLite0

    trunk = nnx_io.abstract(functools.partial(EfficientNetLite0, **TINY))
    own = [
        {name.removeprefix("backbone."): v for name, v in part.items() if name.startswith("backbone.")}
        for part in (params, stats)
    ]
    return {name: np.asarray(y, np.float64) for name, y in jax.jit(trunk.apply_eval)(*own, images).items()}


def decoder(values, taps, size):
    """float64 [b, h, w, c] logits, from the definition."""

    def norm(x, name):
        at = {leaf: values[f"{name}.{leaf}"] for leaf in ("mean", "var", "scale", "bias")}
        return np.maximum((x - at["mean"]) / np.sqrt(at["var"] + 1e-5) * at["scale"] + at["bias"], 0)

    def lateral(x, name):
        return norm(x @ values[f"{name}.conv.kernel"][0, 0], f"{name}.bn")

    coarsest = taps["stage6"]
    mean = coarsest.mean((1, 2), keepdims=True)
    context = np.maximum(mean @ values["context.kernel"][0, 0] + values["context.bias"], 0)
    y = lateral(coarsest, "lateral32") + context
    y = bilinear(y, taps["stage4"].shape[1:3]) + lateral(taps["stage4"], "lateral16")
    y = bilinear(y, taps["stage2"].shape[1:3]) + lateral(taps["stage2"], "lateral8")
    fine = lateral(taps["stage1"], "lateral4")
    y = np.concatenate([bilinear(y, fine.shape[1:3]), fine], -1)
    padded, kernel = np.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0))), values["depthwise.conv.kernel"]
    h, w = y.shape[1:3]
    y = sum(padded[:, i : i + h, j : j + w] * kernel[i, j, 0] for i in range(3) for j in range(3))
    y = lateral(norm(y, "depthwise.bn"), "pointwise")
    return bilinear(y @ values["classifier.kernel"][0, 0] + values["classifier.bias"], size)


def bilinear(x, size):
    """Half-pixel centres (PyTorch's align_corners=False), an axis after the other."""
    for axis, new in zip((1, 2), size, strict=True):
        old = x.shape[axis]
        place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(place).astype(int)
        part = (place - low).reshape([-1 if i == axis else 1 for i in range(4)])
        x = np.take(x, low, axis) * (1 - part) + np.take(x, np.minimum(low + 1, old - 1), axis) * part
    return x


@pytest.mark.slow
def test_the_decoders_initial_weights_have_the_deviation_of_pytorchs():
    params = nnx_io.create(functools.partial(light_fpn.build, 11, depth=0.1), seed=0).params
    decoder = {n: p for n, p in params.items() if not n.startswith("backbone.") and n.endswith("kernel")}
    assert len(decoder) == 8
    for name, kernel in decoder.items():
        fan_in = np.prod(kernel.shape[:-1])
        np.testing.assert_allclose(np.std(kernel), 1 / np.sqrt(3 * fan_in), rtol=0.1, err_msg=name)
