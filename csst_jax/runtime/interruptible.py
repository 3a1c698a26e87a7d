"""Waiting for work in C code, a compilation or a program on a device, so that a signal is heard meanwhile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

_LOOK_EVERY_S = 0.2  # the kernel may hand a signal to another thread than the one that waits


def interruptible(work: Callable[[], Result]) -> Result:
    """Calls `work` in a thread of its own and waits for it.

    Python runs handlers of signals in the main thread, between two steps of its own code: in the middle of a
    compilation that takes minutes, none. What a handler raises here leaves the work behind, unfinished; whoever catches
    it should end the process, as `signals.leave_at_once` does.

    Args:
      work: a function without arguments.

    Returns:
      What `work` returned.

    Raises:
      BaseException: what `work` raised.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    made: list[Result] = []
    failed: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            made.append(work())
        except BaseException as error:  # raised again where it is waited for
            failed.append(error)
        finally:
            done.set()

    # A daemon: the process's end must not wait for it.
    threading.Thread(target=run, name="work", daemon=True).start()
    while not done.wait(_LOOK_EVERY_S):
        pass
    if failed:
        raise failed[0]
    return made[0]
