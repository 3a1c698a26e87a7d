"""An image whose prediction does not fit the memory is refused, with what to do about it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import jax

from csst_jax.planning.cost import memory_bytes
from csst_jax.runtime.host_memory import room_bytes
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Iterator


def advice(window_px: int, key: str = "window_px") -> str:
    """What to do about an image that does not fit, without a full stop.

    Args:
      window_px: side of the windows that it is predicted in; 0 for none.
      key: of a configuration, or argument, that sets it.

    >>> advice(0, "label.window_px")
    'predict it in windows, of label.window_px=1024 for example, or make it smaller'
    >>> advice(512)
    'it is predicted in windows already: give less than window_px=512, or make it smaller'
    """
    if window_px:
        return f"it is predicted in windows already: give less than {key}={window_px}, or make it smaller"
    return f"predict it in windows, of {key}=1024 for example, or make it smaller"


def require_room(compiled: jax.stages.Compiled, size: tuple[int, ...], fix: str, devices: int = 1) -> None:
    """Refuses, on CPU, what the kernel would end the process for, without a word; other devices tell by themselves.

    Args:
      compiled: the program.
      size: height and width of its image.
      fix: see `advice`.
      devices: how many run it and share the memory.

    Raises:
      CsstError: the program takes more memory than there is.
    """
    needed, room = memory_bytes(compiled), room_bytes()
    if jax.default_backend() != "cpu" or needed is None or room is None:
        return
    needed *= devices
    if needed > room:
        raise CsstError(
            f"an image of {size[1]} x {size[0]} px takes {needed / 2**30:.1f} GiB to predict, and this machine has "
            f"{room / 2**30:.1f} GiB; {fix}."
        )


@contextlib.contextmanager
def memory_told(what: str, fix: str) -> Iterator[None]:
    """That the devices' memory does not hold an image, as an error that says what to do.

    Args:
      what: is predicted, for the message.
      fix: see `advice`.

    Raises:
      CsstError: the memory was too little.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise CsstError(f"{what} does not fit the memory; {fix}.") from error
