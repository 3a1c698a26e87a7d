"""The training step, and everything needed to compile it for a phase.

Training, the tests and compile-only planning all take (function, shardings, abstract arguments, donated arguments) from
`step_program`, so they cannot drift apart.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from csst_jax.losses.heads import total
from csst_jax.platforms import traced_for
from csst_jax.streams import STEP, step_entries, with_soft_labels
from csst_jax.train.sharding import input_shardings, replicated, state_shardings
from csst_jax.train_state import TrainState, abstract_state
from csst_jax.types import IGNORE_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax.sharding import Mesh

    from csst_jax.data.augment import Augmentation
    from csst_jax.methods.base import Crops, Method
    from csst_jax.streams import Stream
    from csst_jax.types import Phase

Arrays = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
StepArrays = dict[str, dict[str, jax.Array]]
"""By stream and array; see `csst_jax.streams.step_entries`."""

# At a batch of one image a chip, the TPU's compiler would cut each into strips and make these the batch ("space to
# batch"): it copies features between layers, and moves twice the bytes. Both options must say no.
_OPTIONS = {
    "tpu": {"xla_tpu_run_space_to_batch": "false", "xla_tpu_run_space_to_batch_on_new_platforms": "false"},
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that a training step is made of; nothing in it depends on a phase.

    Attributes:
      method: what is minimised, of which network, on which streams of crops.
      augmentation: what the device does to crops.
      optimizer: gradient transformation that takes `learning_rate` as an extra argument (see `train.optimizers`).
      mesh: the devices.
      split_state: whether parameters, optimizer state and the method's state are split over the mesh's `data` axis (see
        `state_shardings`).
      accumulate: number of micro-batches of a step (see `train_step`).
      soft: number of maps of soft pseudo labels (see `csst_jax.streams.Stream`); 0 for hard labels.
    """

    method: Method
    augmentation: Augmentation
    optimizer: optax.GradientTransformationExtraArgs
    mesh: Mesh
    split_state: bool = False
    accumulate: int = 1
    soft: int = 0

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The method's streams, with maps of soft labels if the run has them."""
        return with_soft_labels(self.method.streams, self.soft)

    def initial_state(self, params: Arrays, batch_stats: Arrays) -> TrainState:
        """The state at step 0, from the initial values that `Method.trained` gave."""
        own = self.method.init(params, batch_stats)
        return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, self.optimizer.init(params), own)

    def abstract_state(self) -> TrainState:
        """Shapes and dtypes of the training state, and how it is laid out over the mesh."""
        shapes = jax.eval_shape(self.initial_state, *self.method.trained())
        return abstract_state(shapes, state_shardings(shapes, self.mesh, self.split_state))

    def crops(self, batch: StepArrays, key: jax.Array) -> dict[str, Crops]:
        """The step's crops by stream, augmented.

        Args:
          batch: see `train_step`, or a part of the crops of each stream.
          key: the run's, for augmentation.
        """
        keys = {
            # The first stream's draws are the run's own, those of a method with one stream.
            stream.name: jax.random.fold_in(key, np.uint32(2**32 - number)) if number else key
            for number, stream in enumerate(self.streams)
        }
        return {s.name: self.augmentation(s, batch[s.name], keys[s.name]) for s in self.streams}


@dataclasses.dataclass(frozen=True)
class StepProgram:
    """One compile unit: `jax.jit(fn, in_shardings, …).lower(*abstract_args)`; `compiler_options` are the platform's."""

    fn: Callable[[TrainState, StepArrays], tuple[TrainState, Metrics]]
    in_shardings: Any
    out_shardings: Any
    abstract_args: tuple[Any, Any]
    compiler_options: dict[str, str]
    donate_argnums: tuple[int, ...] = (0,)

    def lower(self) -> jax.stages.Lowered:
        """Traces and lowers the step for its abstract arguments."""
        jitted = jax.jit(
            self.fn,
            in_shardings=self.in_shardings,
            out_shardings=self.out_shardings,
            donate_argnums=self.donate_argnums,
            compiler_options=self.compiler_options,
        )
        return jitted.lower(*self.abstract_args)


def train_step(recipe: Recipe, state: TrainState, batch: StepArrays) -> tuple[TrainState, Metrics]:
    """One optimizer step.

    With `recipe.accumulate` = a > 1 the step takes the batch as `a` micro-batches, one after another. Micro-batch m
    holds crops m, m + a, m + 2a, … of each stream, so every device keeps its own crops. Each is normalised by its own
    statistics, which update the running statistics in turn. It draws its own dropout, and mines its own hard
    pixels. The step's loss, metrics and gradient are means over the micro-batches, weighted by their pixels that are
    neither void nor padding. With one stream, and without OHEM and weights of classes, this is the mean over all pixels
    of the batch.

    A step whose loss, gradient's norm, update, running statistics or method's state is not finite changes only the
    step's number, so the state is always finite. The loop decides what happens then.

    Args:
      recipe: what the step is made of.
      state: where training stands; donated when compiled.
      batch: the arrays that `csst_jax.streams.step_entries` describes.

    Returns:
      The next state, and float32 scalars: `loss`, `loss_<name>` of each of the method's losses, the method's own
      metrics, `gradient_norm`, `skipped` (1 where the step changed nothing, else 0).
    """
    augmentation_key, method_key = jax.random.split(jax.random.key(batch[STEP]["seed"]))
    method_key = jax.random.fold_in(method_key, state.step)
    own = dataclasses.replace(state, params=_whole(recipe, state.params), method=_whole(recipe, state.method))
    gradient_of = _gradient if recipe.accumulate == 1 else _accumulated
    stats, gradient, metrics = gradient_of(recipe, own, batch, augmentation_key, method_key)
    updates, opt_state = recipe.optimizer.update(
        _whole(recipe, gradient), state.opt_state, state.params, learning_rate=batch[STEP]["learning_rate"]
    )
    after = TrainState(state.step + 1, optax.apply_updates(state.params, updates), stats, opt_state, state.method)
    crops = recipe.crops(batch, augmentation_key)
    after_key = jax.random.fold_in(method_key, np.uint32(2**32 - 1))
    gathered = dataclasses.replace(after, params=_whole(recipe, after.params), method=own.method)
    after = dataclasses.replace(after, method=recipe.method.after(gathered, crops, after_key))
    metrics |= {"gradient_norm": optax.global_norm(gradient)}
    # The gradient's norm counts, too: if its square is infinite, so is Adam's second moment, and later updates are 0.
    finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"])
    finite &= jnp.isfinite(optax.global_norm(updates))
    leaves = jax.tree.leaves((after.batch_stats, after.method))
    # One by one: a sum of squares of good variances could overflow.
    for leaf in (leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)):
        finite &= jnp.all(jnp.isfinite(leaf))
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, state)
    return dataclasses.replace(kept, step=after.step), metrics | {"skipped": 1.0 - finite}


def _whole(recipe: Recipe, arrays: Any) -> Any:
    """Arrays like the parameters, whole on every device where the state is split.

    Left to itself, XLA splits features by channels as their parameters and gradients are, and gathers all crops for it.
    """
    return jax.lax.with_sharding_constraint(arrays, replicated(recipe.mesh)) if recipe.split_state else arrays


def _gradient(
    recipe: Recipe, state: TrainState, batch: StepArrays, augmentation_key: jax.Array, method_key: jax.Array
) -> tuple[Arrays, Arrays, Metrics]:
    """New running statistics, gradient and metrics of crops that the network sees at once."""
    crops = recipe.crops(batch, augmentation_key)

    def objective(params: Arrays) -> tuple[jax.Array, tuple[Arrays, Metrics]]:
        found = recipe.method.objective(params, state, crops, method_key)
        means = {f"loss_{name}": loss.mean for name, loss in found.losses.items()}
        return total(found.losses), (found.batch_stats, means | found.metrics)

    (loss, (stats, metrics)), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    return stats, gradient, metrics | {"loss": loss}


def _accumulated(
    recipe: Recipe, state: TrainState, batch: StepArrays, augmentation_key: jax.Array, method_key: jax.Array
) -> tuple[Arrays, Arrays, Metrics]:
    """As `_gradient`, over micro-batches; see `train_step`."""
    count = recipe.accumulate
    crops = {stream.name: batch[stream.name] for stream in recipe.streams}
    # Neighbouring crops go to different micro-batches. Whole groups of them lie on one device: nothing is exchanged.
    parts = jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, count, *x.shape[1:]), 0, 1), crops)
    planes = [arrays["label" if "label" in arrays else "padding"] for arrays in parts.values()]
    valid = sum(jnp.sum(plane != IGNORE_LABEL, (1, 2, 3), dtype=jnp.float32) for plane in planes)
    weights = valid / jnp.maximum(jnp.sum(valid), 1.0)

    def add(carry: tuple[Arrays, Any], part: tuple[Any, jax.Array, jax.Array]) -> tuple[tuple[Arrays, Any], None]:
        (stats, sums), (crops, key, weight) = carry, part
        begun = dataclasses.replace(state, batch_stats=stats)
        stats, *found = _gradient(recipe, begun, crops, augmentation_key, key)
        return (stats, jax.tree.map(lambda total, x: total + weight * x, sums, found)), None

    _, *like = jax.eval_shape(lambda: _gradient(recipe, state, crops, augmentation_key, method_key))
    start = (state.batch_stats, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like))
    (stats, (gradient, metrics)), _ = jax.lax.scan(add, start, (parts, jax.random.split(method_key, count), weights))
    return stats, gradient, metrics


def abstract_batch(recipe: Recipe, phase: Phase) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    """Shapes and dtypes of a phase's global batch."""
    entries = step_entries(recipe.streams, phase)
    return {
        key: {name: jax.ShapeDtypeStruct(entry.shape, entry.dtype) for name, entry in arrays.items()}
        for key, arrays in entries.items()
    }


def step_program(recipe: Recipe, phase: Phase) -> StepProgram:
    """The compile unit of one phase (paper §3.3: each crop size is a step of its own).

    Args:
      recipe: what the step is made of.
      phase: one whose batch and crop the mesh can split evenly, as `csst_jax.build.phases` gives them.
    """

    def fn(state: TrainState, batch: StepArrays) -> tuple[TrainState, Metrics]:
        with jax.sharding.use_abstract_mesh(recipe.mesh.abstract_mesh), traced_for(recipe.mesh):
            return train_step(recipe, state, batch)

    fn.__name__ = f"train_step_{phase.crop_px}px_{phase.global_batch}"
    state = recipe.abstract_state()
    layout = jax.tree.map(lambda x: x.sharding, state)
    return StepProgram(
        fn=fn,
        in_shardings=(layout, input_shardings(recipe.streams, recipe.mesh)),
        out_shardings=(layout, replicated(recipe.mesh)),
        abstract_args=(state, abstract_batch(recipe, phase)),
        compiler_options=_OPTIONS.get(recipe.mesh.devices.flat[0].platform, {}),
    )
