"""Reading from network file systems, which fail now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from csst_jax.types import CsstError

log = logging.getLogger(__name__)

_PAUSES_S = (0.1, 1.0, 5.0)  # between the tries
_T = TypeVar("_T")


def retried(read: Callable[[], _T], where: Callable[[], str], fix: str) -> _T:
    """What `read` returns, which gets a few chances.

    Args:
      read: reads a record.
      where: says which one, for messages.
      fix: what to do if it cannot be read, a sentence.

    Raises:
      CsstError: it cannot be read.
    """
    for pause_s in _PAUSES_S:
        try:
            return read()
        except Exception as error:  # array_record raises what its readers raise, RuntimeError for damage
            log.warning("%s: %s; trying again in %g s", where(), error, pause_s)
            time.sleep(pause_s)
    try:
        return read()
    except Exception as error:
        raise CsstError(f"{where()} cannot be read, tried {len(_PAUSES_S) + 1} times ({error}). {fix}") from error
