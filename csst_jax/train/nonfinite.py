"""Steps whose loss or gradient is not finite: counted, explained in a file, and one too many ends the training."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from csst_jax.runtime.json_files import write_json
from csst_jax.streams import STEP
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable

    from csst_jax.runtime.storage import StoragePath
    from csst_jax.train.step import Recipe, StepArrays
    from csst_jax.train_state import TrainState

log = logging.getLogger(__name__)

_FILE = "nonfinite-"


class NonFiniteLoss(CsstError):
    """The loss or its gradient became infinite or NaN."""


class NonFiniteSteps:
    """Counts the steps that changed nothing because of what they computed (see `train_step`)."""

    def __init__(
        self,
        name: str,
        allowed: int,
        directory: StoragePath,
        explain: Callable[[int, TrainState], dict[str, Any]],
        start: int,
    ):
        """Counts the files of the steps before `start`: those that earlier processes of this stage left out.

        Args:
          name: the stage.
          allowed: steps that may be skipped before training ends.
          directory: for the files that explain them.
          explain: from a step (from 0) and the state to what there is to know of its batch.
          start: the first step of this process, from 0.
        """
        self._name, self._allowed, self._directory, self._explain = name, allowed, directory, explain
        steps = (int(path.name.removeprefix(_FILE).removesuffix(".json")) for path in directory.glob(f"{_FILE}*.json"))
        self._count = sum(step <= start for step in steps)

    def found(self, step: int, metrics: dict[str, float], state: TrainState, kept: str) -> None:
        """Notes a step that was skipped.

        Args:
          step: its number, from 0.
          metrics: of the step.
          state: where training stands now, at most a few steps later.
          kept: which checkpoint is good, for the message.

        Raises:
          NonFiniteLoss: it is one more than allowed; names the step, the file and the fix.
        """
        self._count += 1
        path = self._directory / f"{_FILE}{step + 1}.json"
        explained = self._explain(step, state)
        if jax.process_index() == 0:
            # JSON has no NaN.
            write_json(path, {"step": step + 1, "metrics": {k: str(v) for k, v in metrics.items()}, **explained})
        what = (
            f"{self._name}: loss {metrics['loss']}, gradient norm {metrics['gradient_norm']} at step {step + 1}, not "
            f"finite first in {explained['first_not_finite']}; its crops are in {path}"
        )
        if self._count > self._allowed:
            raise NonFiniteLoss(
                f"{what}. The step was left out, and {kept}. Lower the learning rate, raise lr.warmup_steps, or allow "
                f"more such steps than nonfinite_steps={self._allowed}."
            )
        log.warning("%s. The step was left out: %d of %d that are allowed.", what, self._count, self._allowed)


def first_not_finite(recipe: Recipe, state: TrainState, batch: StepArrays) -> str:
    """The first of: parameters, the method's state, then modules in the order of computation, that is not finite.

    Of a method with several networks, only the modules of the first are looked at.

    Args:
      recipe: what the step is made of.
      state: the state to look with.
      batch: the step's input on the devices.

    Returns:
      A dotted name; "the loss, the gradient or the running statistics" if all outputs are finite.
    """
    for kind, arrays in (("parameter", state.params), ("the method's", state.method)):
        for path, value in jax.tree.leaves_with_path(arrays):
            if jnp.issubdtype(value.dtype, jnp.floating) and not jnp.isfinite(value).all():
                return f"{kind} {jax.tree_util.keystr(path, simple=True, separator='/')}"
    network = recipe.method.parts.network
    names: list[str] = []

    def outputs(state: TrainState, batch: StepArrays) -> list[jax.Array]:
        augmentation_key, method_key = jax.random.split(jax.random.key(batch[STEP]["seed"]))
        found: dict[str, jax.Array] = {}
        params = {name: state.params[name] for name in network.params}
        stats = {name: state.batch_stats[name] for name in network.batch_stats}
        for stream, crops in recipe.crops(batch, augmentation_key).items():
            for view, images in crops.images.items():
                finite = network.finite_outputs(params, stats, images, method_key)
                found |= {f"{name} ({view} view of {stream} crops)": value for name, value in finite.items()}
        names.extend(found)
        return list(found.values())

    finite = jax.jit(outputs)(state, batch)
    wrong = [name for name, good in zip(names, finite, strict=True) if not good]
    return f"the output of {wrong[0]}" if wrong else "the loss, the gradient or the running statistics"
