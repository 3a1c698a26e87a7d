"""An average of the weights that predicts in their place: of methods that learn from it, and beside any method."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from jaxtyping import Array

from csst_jax.methods.average import WeightAverage
from csst_jax.methods.base import Method, Objective

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.methods.base import Crops
    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train_state import TrainState

AVERAGE, INNER = "average", "inner"


class AverageTeacher(Method):
    """Base of methods that keep an average of all that they train, with `settings.decay`; the average predicts."""

    predicts_average = True

    def init(self, params: Arrays, batch_stats: Arrays) -> dict[str, Any]:
        """The average of the weights, which begins as a copy."""
        return {AVERAGE: WeightAverage(self.settings.decay).start(params, batch_stats)}

    def after(self, state: TrainState, crops: Mapping[str, Crops], key: Array) -> dict[str, Any]:
        """The average follows the weights."""
        del crops, key
        average = WeightAverage(self.settings.decay)
        return {AVERAGE: average.update(state.method[AVERAGE], state.params, state.batch_stats, state.step - 1)}

    def predicting(self, state: TrainState) -> tuple[Arrays, Arrays]:
        """The average."""
        return state.method[AVERAGE]["params"], state.method[AVERAGE]["batch_stats"]


@dataclasses.dataclass(frozen=True)
class Averaged(Method):
    """Trains as the inner method does; the average of all that it trains predicts (`average_decay`).

    Attributes:
      settings: how the average follows.
      parts: the inner method's.
      inner: the method.
    """

    settings: WeightAverage
    inner: Method

    @property
    def streams(self) -> Any:  # type: ignore[override]  # known by the instance, not by the class
        """The inner method's."""
        return self.inner.streams

    def trained(self) -> tuple[Arrays, Arrays]:
        """The inner method's."""
        return self.inner.trained()

    def init(self, params: Arrays, batch_stats: Arrays) -> dict[str, Any]:
        """The inner method's state, and the average, which begins as a copy."""
        return {INNER: self.inner.init(params, batch_stats), AVERAGE: self.settings.start(params, batch_stats)}

    def objective(self, params: Arrays, state: TrainState, crops: Mapping[str, Crops], key: Array) -> Objective:
        """The inner method's."""
        return self.inner.objective(params, _inner(state), crops, key)

    def after(self, state: TrainState, crops: Mapping[str, Crops], key: Array) -> dict[str, Any]:
        """The inner method's, and the average follows."""
        average = self.settings.update(state.method[AVERAGE], state.params, state.batch_stats, state.step - 1)
        return {INNER: self.inner.after(_inner(state), crops, key), AVERAGE: average}

    def predicting(self, state: TrainState) -> tuple[Arrays, Arrays]:
        """What the inner method predicts with, of the average."""
        average = state.method[AVERAGE]
        return self.inner.predicting(
            dataclasses.replace(_inner(state), params=average["params"], batch_stats=average["batch_stats"])
        )


def _inner(state: TrainState) -> TrainState:
    return dataclasses.replace(state, method=state.method[INNER])
