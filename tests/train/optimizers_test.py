"""Optimizers against formulas in numpy, rules over parameter names, and the state they keep."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from csst_jax import registry
from csst_jax.models import nnx_io, zoo
from csst_jax.train import OPTIMIZERS
from csst_jax.train.optimizers import AdamW, Rule, Sgd, make
from csst_jax.train.sharding import make_mesh, state_shardings
from csst_jax.train_state import TrainState
from csst_jax.types import CsstError

SHAPES = {
    "backbone.conv.kernel": (3, 3, 2, 8),
    "backbone.bn.bias": (8,),
    "backbone.bn.scale": (8,),
    "head.kernel": (1, 1, 8, 3),
    "head.bias": (3,),
}
RATES = (0.5, 0.1, 0.02, 0.3)
RATE_FACTORS = (Rule(r"^backbone\.bn", 0), Rule("^backbone", 0.1))
DECAY_FACTORS = (Rule(r"\.(bias|scale)$", 0), Rule("^head", 0.5))
SGD = Sgd(0.9, 1e-4)
SETTINGS = [Sgd(0.9, 0.01), AdamW(0.9, 0.99, 1e-6, 0.05)]
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
by_kind = pytest.mark.parametrize("settings", SETTINGS, ids=["sgd", "adamw"])


def drawn(seed):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def on_device(arrays):
    return jax.tree.map(jnp.array, arrays)


def trained(optimizer, update=None):
    """Parameters and state after a few steps with given gradients and rates."""
    params = on_device(drawn(0))
    state = optimizer.init(params)
    step = update or functools.partial(stepped, optimizer)
    for i, rate in enumerate(RATES):
        params, state = step(params, state, on_device(drawn(i + 1)), jnp.float32(rate))
    return jax.device_get(params), jax.device_get(state)


def stepped(optimizer, params, state, gradient, rate):
    updates, state = optimizer.update(gradient, state, params, learning_rate=rate)
    return optax.apply_updates(params, updates), state


def factor(name, rules):
    return next((rule.factor for rule in rules if re.search(rule.pattern, name)), 1)


def expected(settings, rate_factors=(), decay_factors=()):
    """As PyTorch's documentation writes SGD and AdamW, in float64; each parameter a group of its own."""
    params = {name: value.astype(np.float64) for name, value in drawn(0).items()}
    first, second = ({name: np.zeros(shape) for name, shape in SHAPES.items()} for _ in range(2))
    for i, global_rate in enumerate(RATES):
        for name, gradient in drawn(i + 1).items():
            rate = global_rate * factor(name, rate_factors)
            decay = settings.weight_decay * factor(name, decay_factors)
            if isinstance(settings, Sgd):
                first[name] = settings.momentum * first[name] + gradient + decay * params[name]
                params[name] = params[name] - rate * first[name]
                continue
            params[name] = params[name] - rate * decay * params[name]
            first[name] = settings.b1 * first[name] + (1 - settings.b1) * gradient
            second[name] = settings.b2 * second[name] + (1 - settings.b2) * gradient**2
            m, v = first[name] / (1 - settings.b1 ** (i + 1)), second[name] / (1 - settings.b2 ** (i + 1))
            params[name] = params[name] - rate * m / (np.sqrt(v) + settings.eps)
    return params


@by_kind
@pytest.mark.parametrize("rules", [((), ()), (RATE_FACTORS, ()), ((), DECAY_FACTORS), (RATE_FACTORS, DECAY_FACTORS)])
def test_the_update_is_pytorchs_with_a_group_for_each_parameter(settings, rules):
    params, _ = trained(make(settings, SHAPES, *rules))
    jax.tree.map(close, params, expected(settings, *rules))
    assert np.array_equal(params["backbone.bn.scale"], drawn(0)["backbone.bn.scale"]) == bool(rules[0])


def test_adamw_agrees_with_torch():
    torch = pytest.importorskip("torch")
    settings = SETTINGS[1]
    params = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in drawn(0).items()}
    decays = {name: settings.weight_decay * factor(name, DECAY_FACTORS) for name in params}
    groups = [{"params": [params[name]], "weight_decay": decays[name]} for name in params]
    theirs = torch.optim.AdamW(groups, betas=(settings.b1, settings.b2), eps=settings.eps)
    for i, rate in enumerate(RATES):
        for group, (name, gradient) in zip(theirs.param_groups, drawn(i + 1).items(), strict=True):
            params[name].grad, group["lr"] = torch.tensor(gradient), rate * factor(name, RATE_FACTORS)
        theirs.step()
    ours, _ = trained(make(settings, SHAPES, RATE_FACTORS, DECAY_FACTORS))
    jax.tree.map(close, ours, {name: value.detach().numpy() for name, value in params.items()})


def test_sgd_without_rules_is_the_program_that_it_was():
    def rated(updates, state, params=None, *, learning_rate, **_):
        return jax.tree.map(lambda u: -learning_rate * u, updates), state

    last = optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), rated)
    before = optax.chain(optax.add_decayed_weights(0.01), optax.trace(decay=0.9), last)
    now = make(Sgd(0.9, 0.01), SHAPES)
    texts, results = [], []
    for optimizer in (before, now):
        step = jax.jit(functools.partial(stepped, optimizer))
        params = on_device(drawn(0))
        texts.append(step.lower(params, optimizer.init(params), params, jnp.float32(0.1)).as_text())
        results.append(trained(optimizer, step))
    assert texts[0] == texts[1]
    assert jax.tree.structure(results[0]) == jax.tree.structure(results[1])
    jax.tree.map(np.testing.assert_array_equal, *results)


@by_kind
def test_the_learning_rate_is_no_constant_of_the_program(settings):
    optimizer = make(settings, SHAPES, RATE_FACTORS, DECAY_FACTORS)
    step = jax.jit(functools.partial(stepped, optimizer))
    jax.tree.map(close, trained(optimizer, step)[0], trained(optimizer)[0])
    assert step._cache_size() == 1


@by_kind
def test_a_decay_of_factor_zero_leaves_no_trace(settings):
    """Even of a parameter that is not finite; and rules add nothing to the state."""
    optimizer = make(settings, SHAPES, RATE_FACTORS, [Rule(r"\.bias$", 0)])
    params = on_device(drawn(0)) | {"head.bias": jnp.full(3, jnp.inf)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, state = optimizer.update(zeros, optimizer.init(params), params, learning_rate=jnp.float32(1))
    assert not np.any(updates["head.bias"]) and np.all(updates["head.kernel"])
    momenta = [leaf for leaf in jax.tree.leaves(state) if leaf.shape == (3,)]
    assert len(momenta) == {Sgd: 1, AdamW: 2}[type(settings)] and not np.any(momenta)
    plain = jax.tree.leaves(make(settings, SHAPES).init(params))
    assert [x.shape for x in jax.tree.leaves(state)] == [x.shape for x in plain]


@by_kind
def test_the_state_can_be_donated_and_comes_back_from_orbax(settings, tmp_path):
    optimizer = make(settings, SHAPES, RATE_FACTORS, DECAY_FACTORS)
    step = jax.jit(functools.partial(stepped, optimizer), donate_argnums=(0, 1))
    params, state = trained(optimizer, step)
    jax.tree.map(close, params, trained(optimizer)[0])
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(4, args=ocp.args.StandardSave({"opt_state": state}))
        manager.wait_until_finished()
        like = {"opt_state": jax.eval_shape(optimizer.init, params)}
        restored = manager.restore(4, args=ocp.args.StandardRestore(like))["opt_state"]
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)


@by_kind
def test_a_state_split_over_eight_devices_takes_the_same_steps(settings):
    optimizer = make(settings, SHAPES, RATE_FACTORS, DECAY_FACTORS)
    params = on_device(drawn(0))
    state = TrainState(step=jnp.int32(0), params=params, batch_stats={}, opt_state=optimizer.init(params))
    layout = state_shardings(state, make_mesh(jax.devices(), spatial=1), split=True)
    rate = layout.step
    shardings = (layout.params, layout.opt_state)
    step = jax.jit(
        functools.partial(stepped, optimizer),
        in_shardings=(*shardings, layout.params, rate),
        out_shardings=shardings,
        donate_argnums=(0, 1),
    )
    program = step.lower(params, state.opt_state, params, jnp.float32(0)).compile().as_text()
    assert not re.search("all-gather|all-reduce|all-to-all|collective-permute", program)

    def on_eight(params, opt_state, gradient, rate_now):
        given = jax.device_put((params, opt_state, gradient, rate_now), (*shardings, layout.params, rate))
        return step(*given)

    eight = trained(optimizer, on_eight)
    jax.tree.map(close, eight, trained(optimizer))
    pairs = zip(jax.tree.leaves(state.opt_state), jax.tree.leaves(layout.opt_state), strict=True)
    held = {x.shape: sharding.shard_shape(x.shape) for x, sharding in pairs}
    assert (held[3, 3, 2, 8], held[8,], held[3,]) == ((3, 3, 2, 1), (1,), (3,))


@pytest.mark.parametrize("of", ["rate_factors", "decay_factors"])
def test_a_rule_that_matches_nothing_is_an_error(of):
    with pytest.raises(CsstError, match=r"'\^encoder' × 0.1 .* none of the 5 parameters.*head\.kernel"):
        make(SGD, SHAPES, **{of: [Rule("head", 2), Rule("^encoder", 0.1)]})


def test_rules_find_the_biases_norms_and_backbone_of_real_networks():
    for network in ("fast_scnn", "deeplab_v3_plus_resnet50"):
        names = nnx_io.abstract(zoo.builder(network, 19)).params
        rules = [Rule(r"\.(bias|scale)$", 0)]
        optimizer = make(AdamW(0.9, 0.999, 1e-8, 0.01), names, decay_factors=rules)
        assert {name for name, x in names.items() if x.ndim == 1} == {n for n in names if factor(n, rules) == 0}
        assert jax.tree.leaves(jax.eval_shape(optimizer.init, names))
    make(SGD, names, [Rule(r"^backbone\.", 0.1)])


def named(name, **numbers):
    return registry.settings("optimizer", OPTIMIZERS, name, numbers)


def test_wrong_settings_say_what_is_known():
    assert named("adamw", b1=0.9, b2=0.99, eps=1e-8, weight_decay=0.1) == AdamW(0.9, 0.99, 1e-8, 0.1)
    assert named("sgd", momentum=0.9, weight_decay=1e-4) == SGD
    for call, message in [
        (lambda: named("lion"), "'lion'; known are: adamw, sgd"),
        (lambda: named("sgd", b1=0.9), "'sgd': b1 is unknown, momentum is missing, weight_decay is missing;"),
        (lambda: named("sgd", momentum=0.9), "'sgd': weight_decay is missing; its block has: momentum, weight_decay"),
        (lambda: Sgd(1.0, 0.0), "momentum=1.0"),
        (lambda: Sgd(0.9, -1.0), "weight_decay=-1.0"),
        (lambda: AdamW(0.9, float("nan"), 1e-8, 0.0), "b2=nan"),
        (lambda: AdamW(0.9, 0.999, 0.0, 0.0), "eps=0.0"),
        (lambda: Rule("a", -1), "factor -1"),
        (lambda: Rule("a", float("inf")), "factor inf"),
        (lambda: Rule("(", 1), r"'\(': not a regular expression"),
    ]:
        with pytest.raises(CsstError, match=message):
            call()
