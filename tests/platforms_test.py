"""One form is traced where the platform is known, and what was traced for another one is not taken."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp

from csst_jax.platforms import by_platform, is_portable, traced_for, traced_portably
from csst_jax.train.sharding import make_mesh

HERE = make_mesh(jax.devices()[:1], spatial=1)
ELSEWHERE = SimpleNamespace(devices=SimpleNamespace(flat=[SimpleNamespace(platform="tpu")]))


def forms(traced):
    def form(name, value):
        def compute(x):
            traced.append(name)
            return x + value

        return compute

    return lambda x: by_platform(x, default=form("default", 1.0), cpu=form("cpu", 2.0))


def test_the_platforms_form_alone_is_traced():
    traced = []
    with traced_for(HERE):
        assert jax.jit(forms(traced))(jnp.zeros(())) == 2.0
    assert traced == ["cpu"]


def test_without_a_platform_all_forms_are_traced_and_the_devices_is_computed():
    traced = []
    assert jax.jit(forms(traced))(jnp.zeros(())) == 2.0 and set(traced) == {"cpu", "default"}


def test_what_was_traced_for_another_platform_is_traced_again():
    traced = []
    inner = jax.jit(forms(traced))
    with traced_for(ELSEWHERE):
        assert jax.eval_shape(inner, jnp.zeros(())).shape == () and traced == ["default"]
        assert "2.0" not in str(jax.make_jaxpr(inner)(jnp.zeros(())))
    with traced_for(HERE):
        assert inner(jnp.zeros(())) == 2.0


def test_for_a_converter_the_default_form_alone_is_traced():
    traced = []
    assert not is_portable()
    with traced_portably():
        assert is_portable()
        assert jax.jit(forms(traced))(jnp.zeros(())) == 1.0
    assert traced == ["default"]
    with traced_for(HERE):
        assert not is_portable()
