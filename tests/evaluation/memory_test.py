"""What is said of an image that does not fit the memory."""

import jax
import jax.numpy as jnp
import pytest

from csst_jax.evaluation import memory
from csst_jax.types import CsstError


def test_what_the_memory_does_not_hold_is_refused_before_the_kernel_ends_the_process(monkeypatch):
    compiled = jax.jit(lambda x: x + 1).lower(jnp.zeros(2**18)).compile()  # of two times 1 MiB
    monkeypatch.setattr(memory, "room_bytes", lambda: 2**22)
    memory.require_room(compiled, (20, 30), "do this")
    with pytest.raises(CsstError, match=r"^an image of 30 x 20 px takes 0.0 GiB .* has 0.0 GiB; do this\.$"):
        memory.require_room(compiled, (20, 30), "do this", devices=3)
    monkeypatch.setattr(memory, "room_bytes", lambda: None)
    memory.require_room(compiled, (20, 30), "do this", devices=3)


def test_a_device_that_has_too_little_is_told_and_other_errors_are_not_changed():
    with (
        pytest.raises(CsstError, match=r"^a frame does not fit the memory; do this\.$"),
        memory.memory_told("a frame", "do this"),
    ):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), memory.memory_told("a frame", "do this"):
        raise jax.errors.JaxRuntimeError("INTERNAL: x")


def test_the_advice_is_windows_or_smaller_ones_by_the_name_of_their_key():
    assert memory.advice(0) == "predict it in windows, of window_px=1024 for example, or make it smaller"
    assert "predict it in windows, of label.window_px=1024" in memory.advice(0, "label.window_px")
    assert "give less than evaluate.window_px=512, or" in memory.advice(512, "evaluate.window_px")
