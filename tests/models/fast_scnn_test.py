"""FastSCNN: size, shapes, modes, precision, and the same result on any layout over devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.models import fast_scnn, nnx_io
from csst_jax.train.sharding import batch_shardings, make_mesh, replicated


def create(**options):
    return nnx_io.create(functools.partial(fast_scnn.build, 5, width=0.25, **options), seed=0)


@pytest.fixture(scope="module")
def network():
    return create()


def count(arrays):
    return sum(int(np.prod(leaf.shape)) for leaf in arrays.values())


@pytest.mark.parametrize("aux,parameters", [(False, 1_138_051), (True, 1_176_278)])
def test_number_of_parameters_at_19_classes(aux, parameters):
    network = nnx_io.abstract(functools.partial(fast_scnn.build, 19, aux=aux))
    assert count(network.params) == parameters
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("size", [(64, 64), (32, 32), (45, 71), (65, 97)])
def test_logits_have_the_size_of_the_image_and_features_their_stride(size):
    network = nnx_io.abstract(functools.partial(fast_scnn.build, 5, width=0.25))
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    out, stats = jax.eval_shape(network.apply_train, network.params, network.batch_stats, images, jax.random.key(0))
    assert out["logits"].shape == out["aux"]["stride8"].shape == (2, *size, 5)
    assert out["logits"].dtype == out["aux"]["stride8"].dtype == jnp.float32
    for name, stride in {"stride8": 8, "stride32": 32, "fused": 8}.items():
        assert out["features"][name].shape[1:3] == tuple(-(-side // stride) for side in size), name
    assert {n: s.shape for n, s in stats.items()} == {n: s.shape for n, s in network.batch_stats.items()}


def test_evaluation_ignores_the_auxiliary_head_and_is_deterministic(network):
    images = jax.random.normal(jax.random.key(0), (2, 40, 48, 3))
    apply = jax.jit(network.apply_eval)
    out = apply(network.params, network.batch_stats, images)
    assert out["aux"] == {}
    spoiled = {n: jnp.full_like(v, np.nan) if n.startswith("aux_") else v for n, v in network.params.items()}
    assert any(n.startswith("aux_") for n in network.params)
    again = apply(spoiled, network.batch_stats, images)
    np.testing.assert_array_equal(out["logits"], again["logits"])
    # An image's prediction does not depend on its batch.
    np.testing.assert_allclose(
        network.apply_eval(network.params, network.batch_stats, images[:1])["logits"], out["logits"][:1], atol=1e-5
    )


def test_training_uses_the_batch_and_dropout_and_has_the_auxiliary_head(network):
    images = jax.random.normal(jax.random.key(0), (2, 40, 48, 3))
    apply = jax.jit(network.apply_train)
    out = [apply(network.params, network.batch_stats, images, jax.random.key(k))[0] for k in (0, 0, 1)]
    np.testing.assert_array_equal(out[0]["logits"], out[1]["logits"])
    for name in ("logits", "aux"):
        a, b = (o[name] if name == "logits" else o[name]["stride8"] for o in (out[0], out[2]))
        assert not np.array_equal(a, b), f"no dropout before {name}"


def test_rows_split_over_devices_give_the_same_logits(network):
    images = np.random.default_rng(0).normal(size=(4, 64, 48, 3)).astype(np.float32)
    mesh = make_mesh(jax.devices()[:8], 2)
    layout = (replicated(mesh), replicated(mesh), batch_shardings(mesh)["image"])

    def logits(params, stats, images):
        return network.apply_train(params, stats, images, jax.random.key(0))[0]["logits"]

    one = jax.jit(logits)(network.params, network.batch_stats, images)
    eight = jax.jit(logits, in_shardings=layout)(network.params, network.batch_stats, images)
    assert len(eight.sharding.device_set) == 8
    np.testing.assert_allclose(eight, one, rtol=1e-4, atol=1e-4)


def test_bfloat16_computes_close_to_float32_and_returns_float32(network):
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    half = create(dtype=jnp.bfloat16)
    out = jax.jit(half.apply_eval)(network.params, network.batch_stats, images)
    exact = jax.jit(network.apply_eval)(network.params, network.batch_stats, images)
    assert out["features"]["fused"].dtype == jnp.bfloat16 and out["logits"].dtype == jnp.float32
    error = np.abs(out["logits"] - exact["logits"]).max() / np.abs(exact["logits"]).max()
    assert 1e-6 < error < 0.05
