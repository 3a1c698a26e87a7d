"""What looks at a training from outside, now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from clu import metric_writers

    from csst_jax.train_state import TrainState


class Watch(Protocol):
    """Looks at the state after some steps, and changes nothing of it. Every process calls it after the same steps."""

    def begin(self, start: int) -> None:
        """Training begins after `start` steps: what was seen of later ones is looked at again."""
        ...

    def prepare(self) -> None:
        """The first step is done: programs can be compiled beside the next ones."""
        ...

    def due(self, step: int) -> bool:
        """Whether to look at the state after so many steps."""
        ...

    def look(
        self, step: int, state: TrainState, writer: metric_writers.MetricWriter, given_up: Callable[[], bool]
    ) -> None:
        """Looks, and writes what it sees; stops half-way, as if it had not begun, where `given_up` says so."""
        ...

    def close(self) -> None:
        """Training ends."""
        ...
