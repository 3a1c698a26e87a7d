"""Our networks, filled through the import rules, against what record.py saw the references compute."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import nnx_io, zoo
from csst_jax.models.backbones import dinov2, dinov3
from csst_jax.models.backbones.efficientnet_lite import EfficientNetLite0
from csst_jax.models.backbones.hrnet import HRNet
from csst_jax.models.backbones.resnet import ResNet
from csst_jax.models.layers import Dropout
from csst_jax.models.weights import catalogue, rules
from tests.parity import filling
from tests.parity.cases import CASES, LIMITS, NUM_CLASSES

# Where a source's trunk depends on the network.
WITH_TRUNK = {
    "trunk:hrnet_w48": "ocr_hrnet_w48",
    "trunk:efficientnet_lite0": "deeplab_v3_plus_efficientnet_lite0",
    **{f"trunk:{name}": f"dpt_{name}" for name in (*dinov2.ARCHITECTURES, *dinov3.ARCHITECTURES)},
}
ESSENTIAL = {
    "fast_scnn_mmseg": pytest.mark.essential("a network that computes what its reference does"),
    "dpt_small_unimatch_v2_short": pytest.mark.essential("a vision transformer that computes what its reference does"),
    "dinov3_small_timm_short": pytest.mark.essential("rotated attention that computes what its reference does"),
}
TRUNKS = {
    "hrnet_w48": HRNet,
    "efficientnet_lite0": EfficientNetLite0,
    **{name: functools.partial(dinov2.DINOv2, name) for name in dinov2.ARCHITECTURES},
    **{name: functools.partial(dinov3.DINOv3, name) for name in dinov3.ARCHITECTURES},
}


class Trunk(nnx.Module):
    """A backbone alone, where a network has it."""

    def __init__(self, name, rngs, **options):
        build = TRUNKS.get(name, functools.partial(ResNet, name))
        self.backbone = build(rngs=rngs, **options)

    def __call__(self, images):
        features = self.backbone(images)
        return {"features": (list(features.values()) if isinstance(features, dict) else features)[-1]}


def source(case):
    network = WITH_TRUNK.get(case.network, case.network)
    return catalogue.source(case.source, network)


def network(case):
    """The case's network without dropout."""
    if case.network.startswith("trunk:"):
        build = functools.partial(Trunk, case.network.removeprefix("trunk:"), **case.options)
    else:
        build = zoo.builder(case.network, NUM_CLASSES, **source(case).options, **case.options)

    def without_dropout(rngs):
        module = build(rngs=rngs)
        for _, part in nnx.iter_modules(module):
            if isinstance(part, Dropout):
                part.rate = 0.0
        return module

    return nnx_io.abstract(without_dropout)


def imported(case, built, entries):
    """`entries` under our names, parameters and statistics apart."""
    like = {name: tuple(leaf.shape) for name, leaf in (built.params | built.batch_stats).items()}
    arrays = rules.apply(source(case), entries, like)
    return tuple({name: arrays[name] for name in part} for part in (built.params, built.batch_stats))


def recorded(case):
    kept = dict(np.load(case.fixture))
    return kept, json.loads(str(kept.pop("layout")))


def pixels(outputs, like):
    """The recorded pixels of each output, by the fixture's name."""
    got = {}
    for key in like:
        y = np.asarray(outputs[key.partition("/")[2]])
        y = y.reshape(-1, y.shape[-1])
        got[key] = y[filling.positions(key, len(y), 64)][:, :64]
    return got


def agree(got, expected, limit, what):
    error = np.abs(got - expected).max() / np.abs(expected).max()
    print(f"{what}: {error:.1e}")
    assert error <= limit, f"{what}: relative error {error:.1e}, and {limit:.0e} is allowed"


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=[pytest.mark.slow] * case.slow_layout) for case in CASES]
)
@pytest.mark.slow
def test_the_references_state_dict_fits_entry_by_entry(case):
    _, layout = recorded(case)
    built = network(case)
    params, stats = imported(case, built, {name: np.zeros(shape, np.float32) for name, shape in layout.items()})
    assert params.keys() == built.params.keys() and stats.keys() == built.batch_stats.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=ESSENTIAL.get(case.name, ())) for case in CASES if case.numeric],
)
def test_logits_statistics_and_gradients_agree(case):
    kept, layout = recorded(case)
    built = network(case)
    params, stats = imported(case, built, filling.fill(layout))
    for size in case.sizes:
        expected = {n: v for n, v in kept.items() if n.startswith(f"eval {size[0]} {size[1]}/")}
        out = jax.jit(evaluate, static_argnums=0)(Hashable(built), params, stats, filling.images(size))
        got = pixels(out, expected)
        for name in expected:
            agree(got[name], expected[name], LIMITS["logits"], name)

    def loss(params, images, labels):
        out, new = built.apply_train(params, stats, images, jax.random.key(0))
        if "features" in out and not isinstance(out["features"], dict):
            return jnp.mean(out["features"] * filling.weights(out["features"].shape)), (out, new)
        heads = {"logits": out["logits"], **out["aux"]}
        values = [(1.0 if n == "logits" else 0.4) * cross_entropy(y, labels) for n, y in heads.items()]
        return sum(values), (heads, new)

    size = case.train_size
    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, (out, new)), gradients = step(
        params, filling.images(size, int(kept["seed"])), filling.labels(size, NUM_CLASSES)
    )
    expected = {n: v for n, v in kept.items() if n.startswith("train/")}
    got = pixels(out, expected)
    for name in expected:
        agree(got[name], expected[name], LIMITS["train"], name)
    agree(np.asarray(value), kept["loss"], LIMITS["train"], "loss")
    for key, expected in kept.items():
        kind, _, entry = key.partition(" ")
        if kind in ("gradient", "statistics"):
            values = theirs(case, entry, layout[entry], gradients | new)
            agree(values[filling.positions(entry, values.size, expected.size)], expected, LIMITS[kind], key)


class Hashable:
    """A network as a static argument: by identity."""

    def __init__(self, network):
        self.network = network


def evaluate(built, params, stats, images):
    out = built.network.apply_eval(params, stats, images)
    return {name: value for name, value in out.items() if not isinstance(value, dict)}


def cross_entropy(logits, labels):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], -1))


def theirs(case, entry, shape, ours):
    """Our array for an entry of theirs, flat in the order of theirs: the rules tell where each number has gone."""
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    ((name, places),) = rules._rename(source(case), {entry: numbers}).values.items()
    flat = np.empty(numbers.size, np.float32)
    flat[places.reshape(-1)] = np.asarray(ours[name]).reshape(-1)
    return flat
