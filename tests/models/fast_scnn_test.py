"""FastSCNN: size, shapes, modes, precision, and the same result on any layout over devices."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.models import fast_scnn, nnx_io
from csst_jax.streams import LABELLED
from csst_jax.train.sharding import input_shardings, make_mesh, replicated


def create(**options):
    """Drawn by numpy: compiling the initialisation of a whole network takes seconds."""
    network = nnx_io.abstract(functools.partial(fast_scnn.build, 5, width=0.25, **options))
    rng = np.random.default_rng(0)
    params = {}
    for name, like in network.params.items():
        normal = rng.normal(size=like.shape) * np.sqrt(2 / max(np.prod(like.shape[:-1]), 1))
        params[name] = jnp.asarray(normal if name.endswith("kernel") else "scale" in name, jnp.float32)
        params[name] = jnp.broadcast_to(params[name], like.shape)
    stats = {
        name: jnp.full(like.shape, name.endswith("var"), jnp.float32) for name, like in network.batch_stats.items()
    }
    return dataclasses.replace(network, params=params, batch_stats=stats)


@pytest.fixture(scope="module")
def network():
    return create()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(4, 64, 48, 3)).astype(np.float32)


def count(arrays):
    return sum(int(np.prod(leaf.shape)) for leaf in arrays.values())


@pytest.mark.parametrize(
    "lineage,aux,parameters",
    [
        ("gluon", False, 1_138_051),
        ("gluon", True, 1_176_278),
        # Counted in mmsegmentation 1.2.2, configs/_base_/models/fast_scnn.py.
        ("mmseg", False, 1_399_939),
        ("mmseg", True, 1_456_617),
    ],
)
def test_number_of_parameters_at_19_classes(lineage, aux, parameters):
    network = nnx_io.abstract(functools.partial(fast_scnn.build, 19, aux=aux, lineage=lineage))
    assert count(network.params) == parameters
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("size", [(32, 32), (45, 97)])
def test_logits_have_the_size_of_the_image_and_features_their_stride(size):
    network = nnx_io.abstract(functools.partial(fast_scnn.build, 5, width=0.25))
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    out, stats = jax.eval_shape(network.apply_train, network.params, network.batch_stats, images, jax.random.key(0))
    assert out["logits"].shape == out["aux"]["stride8"].shape == (2, *size, 5)
    assert out["logits"].dtype == out["aux"]["stride8"].dtype == jnp.float32
    for name, stride in {"stride8": 8, "stride32": 32, "fused": 8}.items():
        assert out["features"][name].shape[1:3] == tuple(-(-side // stride) for side in size), name
    assert {n: s.shape for n, s in stats.items()} == {n: s.shape for n, s in network.batch_stats.items()}


@pytest.mark.slow
def test_mmsegmentations_has_two_auxiliary_heads():
    network = nnx_io.abstract(functools.partial(fast_scnn.build, 5, width=0.25, lineage="mmseg"))
    images = jax.ShapeDtypeStruct((2, 45, 97, 3), jnp.float32)
    out, _ = jax.eval_shape(network.apply_train, network.params, network.batch_stats, images, jax.random.key(0))
    assert {name: y.shape for name, y in out["aux"].items()} == dict.fromkeys(("stride32", "stride8"), (2, 45, 97, 5))
    assert jax.eval_shape(network.apply_eval, network.params, network.batch_stats, images)["aux"] == {}


@pytest.mark.slow
def test_evaluation_is_deterministic_and_ignores_the_auxiliary_head_and_the_rest_of_the_batch(network, images):
    apply = jax.jit(network.apply_eval)
    out = apply(network.params, network.batch_stats, images)
    assert out["aux"] == {}
    spoiled = {n: jnp.full_like(v, np.nan) if n.startswith("aux_") else v for n, v in network.params.items()}
    assert any(n.startswith("aux_") for n in network.params)
    others = np.concatenate([images[:1], 2 * images[1:]])
    again = apply(spoiled, network.batch_stats, others)
    np.testing.assert_array_equal(out["logits"][0], again["logits"][0])
    assert not np.array_equal(out["logits"][1], again["logits"][1])


@pytest.mark.slow
def test_training_draws_dropout_by_key_and_gives_the_same_on_any_layout_over_devices(network, images):
    mesh = make_mesh(jax.devices()[:8], 2)

    def outputs(params, stats, images, seed):
        out, stats = network.apply_train(params, stats, images, jax.random.key(seed))
        return {"main": out["logits"], "aux": out["aux"]["stride8"], "stats": stats}

    one = jax.jit(outputs)
    first, same, other = (one(network.params, network.batch_stats, images, seed) for seed in (0, 0, 1))
    for head in ("main", "aux"):
        np.testing.assert_array_equal(first[head], same[head])
        assert not np.array_equal(first[head], other[head]), f"no dropout before {head}"
    everywhere = replicated(mesh)
    layout = (everywhere, everywhere, input_shardings([LABELLED], mesh)["labelled"]["image"], everywhere)
    eight = jax.jit(outputs, in_shardings=layout)(network.params, network.batch_stats, images, 0)
    assert len(eight["main"].sharding.device_set) == 8
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), eight, first)


@pytest.mark.slow
def test_bfloat16_computes_close_to_float32_and_returns_float32(network, images):
    half = create(dtype=jnp.bfloat16)
    out = jax.jit(half.apply_eval)(network.params, network.batch_stats, images)
    exact = jax.jit(network.apply_eval)(network.params, network.batch_stats, images)
    assert out["features"]["fused"].dtype == jnp.bfloat16 and out["logits"].dtype == jnp.float32
    error = np.abs(out["logits"] - exact["logits"]).max() / np.abs(exact["logits"]).max()
    assert 1e-5 < error < 0.1
