"""When the processes of a run ask each other whether to stop or to save: saving is collective, signals are not."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

_ASKED_EVERY_S = 2.0
"""A preemption notice is 30 s long, on spot nodes of GKE 15 s, and saving takes some of it."""
_MOST_STEPS = 10  # an exchange between hosts costs about a millisecond, and waits for the devices


class Agreement:
    """What all processes do after a step. They vote at most 10 steps and, as far as steps are even, 2 s apart."""

    def __init__(self, step: int):
        """`step` is the number of steps that are over; the first vote is after the next one."""
        self._asked_at, self._asked_after, self._next = time.monotonic(), step, step + 1
        self._kind: Any = None

    def __call__(self, step: int, kind: Any, stop: bool, save: bool) -> tuple[bool, bool]:
        """Whether to stop, and whether to save; steps without a vote do neither, unless this process is alone.

        All processes call it after each step, with the same `step` and `kind`.

        Args:
          step: steps that are over.
          kind: what decides how long a step takes; they vote after the first step of another kind.
          stop: whether this process was told to.
          save: whether this process would.
        """
        if jax.process_count() == 1:
            return stop, save
        if step < self._next and kind == self._kind:
            return False, False
        seconds_a_step = (time.monotonic() - self._asked_at) / max(step - self._asked_after, 1)
        found = votes(stop, save, steps_until_vote(seconds_a_step))
        self._asked_at, self._asked_after, self._kind = time.monotonic(), step, kind
        self._next = step + int(found[:, 2].min())
        return bool(found[:, 0].any()), bool(found[:, 1].any())


def steps_until_vote(seconds_a_step: float) -> int:
    """How many steps one process would let pass, from 1 to 10."""
    return int(min(max(_ASKED_EVERY_S / max(seconds_a_step, 1e-9), 1), _MOST_STEPS))


def votes(*own: int) -> np.ndarray:
    """Int32 [processes, len(own)]: what each process says. Collective.

    Raises:
      JaxRuntimeError: another process is gone.
    """
    try:
        found = multihost_utils.process_allgather(np.asarray(own, np.int32))
    except ValueError as error:  # what JAX raises for a collective that fails while it is dispatched
        raise jax.errors.JaxRuntimeError(str(error)) from error
    return np.asarray(found).reshape(-1, len(own))
