"""The training step, and everything needed to compile it for a phase.

Training, the tests and compile-only planning all take (function, shardings, abstract arguments, donated arguments) from
`step_program`, so they cannot drift apart.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

from csst_jax.platforms import traced_for
from csst_jax.train.sharding import batch_shardings, check_divisible, replicated, state_shardings
from csst_jax.train.state import TrainState, abstract_state, initial_state
from csst_jax.types import IGNORE_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax.sharding import Mesh

    from csst_jax.data.augment import Augmentation
    from csst_jax.methods.supervised import Supervised
    from csst_jax.models.nnx_io import Network
    from csst_jax.types import Phase

Arrays = dict[str, jax.Array]
Metrics = dict[str, jax.Array]

# At a batch of one image a chip, the TPU's compiler would cut each into strips and make these the batch ("space to
# batch"): it copies features between layers, and moves twice the bytes. Both options must say no.
_OPTIONS = {
    "tpu": {"xla_tpu_run_space_to_batch": "false", "xla_tpu_run_space_to_batch_on_new_platforms": "false"},
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that a training step is made of; nothing in it depends on a phase.

    Attributes:
      network: the network as pure functions.
      method: what is minimised.
      augmentation: what the device does to crops.
      optimizer: gradient transformation that takes `learning_rate` as an extra argument (see `sgd`).
      mesh: the devices.
      split_state: whether parameters and optimizer state are split over the mesh's `data` axis (see `state_shardings`).
      accumulate: micro-batches a step (see `train_step`).
    """

    network: Network
    method: Supervised
    augmentation: Augmentation
    optimizer: optax.GradientTransformationExtraArgs
    mesh: Mesh
    split_state: bool = False
    accumulate: int = 1

    def abstract_state(self) -> TrainState:
        """Shapes and dtypes of the training state, and how it is laid out over the mesh."""
        shapes = jax.eval_shape(lambda: initial_state(self.network, self.optimizer))
        return abstract_state(shapes, state_shardings(shapes, self.mesh, self.split_state))


@dataclasses.dataclass(frozen=True)
class StepProgram:
    """One compile unit: `jax.jit(fn, in_shardings, …).lower(*abstract_args)`; `compiler_options` are the platform's."""

    fn: Callable[[TrainState, dict[str, jax.Array]], tuple[TrainState, Metrics]]
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


def sgd(momentum: float, weight_decay: float) -> optax.GradientTransformationExtraArgs:
    """SGD as the paper's (§4.2): decay is added to the gradient of every parameter before the momentum, as in PyTorch.

    The learning rate is an argument of `update`, not a constant of the program: teacher, student and every seed then
    share one compiled step per phase.
    """

    def scale(updates: Any, state: Any, params: Any = None, *, learning_rate: jax.Array, **_: Any) -> tuple[Any, Any]:
        del params
        return jax.tree.map(lambda u: -learning_rate * u, updates), state

    given_rate = optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), scale)
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.trace(decay=momentum), given_rate)


def train_step(recipe: Recipe, state: TrainState, batch: dict[str, jax.Array]) -> tuple[TrainState, Metrics]:
    """One optimizer step.

    With `recipe.accumulate` = a > 1 the batch is taken as a micro-batches, one after another: crops m, m + a, m + 2a, …
    are the m-th, so that every device keeps its own. Each is normalised by its own statistics, which move the running
    ones in turn, draws its own dropout, and mines its own hard pixels. The step's loss, metrics and gradient are the
    micro-batches' means, weighted by their valid pixels: without OHEM the same mean over pixels as the batch's at once.

    A step whose loss or update is not finite changes nothing but the step's number, so that the state is always good;
    what then happens is the loop's affair.

    Args:
      recipe: what the step is made of.
      state: where training stands; donated when compiled.
      batch: `image` uint8 [b, h, w, 3], `label` uint8 [b, h, w] (255 = ignored), `sample` int32 [b, 2] (epoch,
      position),
        `seed` uint32 scalar, `learning_rate` float32 scalar (the schedule's value at this step).

    Returns:
      The next state, and float32 scalars: `loss`, `loss_<head>`, `kept` (share of valid pixels in the main loss),
      `gradient_norm`, `skipped` (1 where the step changed nothing, else 0).
    """
    photometry_key, dropout_key = jax.random.split(jax.random.key(batch["seed"]))
    dropout_key = jax.random.fold_in(dropout_key, state.step)
    crops = {name: batch[name] for name in ("image", "label", "sample")}
    params = state.params
    if recipe.split_state:  # gathered here: left to itself, XLA might split features by channels instead
        params = jax.lax.with_sharding_constraint(params, replicated(recipe.mesh))
    if recipe.accumulate == 1:
        stats, gradient, metrics = _gradient(recipe, params, state.batch_stats, crops, photometry_key, dropout_key)
    else:
        stats, gradient, metrics = _accumulated(recipe, params, state.batch_stats, crops, photometry_key, dropout_key)
    updates, opt_state = recipe.optimizer.update(
        gradient, state.opt_state, state.params, learning_rate=batch["learning_rate"]
    )
    after = TrainState(state.step + 1, optax.apply_updates(state.params, updates), stats, opt_state)
    finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(optax.global_norm(updates))
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, state)
    metrics |= {"gradient_norm": optax.global_norm(gradient), "skipped": 1.0 - finite}
    return dataclasses.replace(kept, step=after.step), metrics


def _gradient(
    recipe: Recipe,
    params: Arrays,
    batch_stats: Arrays,
    crops: Arrays,
    photometry_key: jax.Array,
    dropout_key: jax.Array,
) -> tuple[Arrays, Arrays, Metrics]:
    """New running statistics, gradient and metrics of crops that the network sees at once."""
    images, labels = recipe.augmentation(crops["image"], crops["label"], crops["sample"], photometry_key)

    def objective(params: Arrays) -> tuple[jax.Array, Any]:
        outputs, stats = recipe.network.apply_train(params, batch_stats, images, dropout_key)
        losses = recipe.method.losses(outputs, labels)
        return recipe.method.total(losses), (losses, stats)

    (loss, (losses, stats)), gradient = jax.value_and_grad(objective, has_aux=True)(params)
    valid = jnp.sum(labels != IGNORE_LABEL, dtype=jnp.float32)
    metrics = {f"loss_{name}": total / jnp.maximum(count, 1.0) for name, (total, count) in losses.items()}
    metrics |= {"loss": loss, "kept": losses["main"][1] / jnp.maximum(valid, 1.0)}
    return stats, gradient, metrics


def _accumulated(
    recipe: Recipe,
    params: Arrays,
    batch_stats: Arrays,
    crops: Arrays,
    photometry_key: jax.Array,
    dropout_key: jax.Array,
) -> tuple[Arrays, Arrays, Metrics]:
    """The same of micro-batches; see `train_step`."""
    count = recipe.accumulate
    # Neighbours go to different micro-batches: whole groups of them lie on one device, and nothing is exchanged.
    parts = jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, count, *x.shape[1:]), 0, 1), crops)
    valid = jnp.sum(parts["label"] != IGNORE_LABEL, (1, 2, 3), dtype=jnp.float32)
    weights = valid / jnp.maximum(jnp.sum(valid), 1.0)

    def add(carry: tuple[Arrays, Any], part: tuple[Arrays, jax.Array, jax.Array]) -> tuple[tuple[Arrays, Any], None]:
        (stats, sums), (crops, key, weight) = carry, part
        stats, *found = _gradient(recipe, params, stats, crops, photometry_key, key)
        return (stats, jax.tree.map(lambda total, x: total + weight * x, sums, found)), None

    _, *like = jax.eval_shape(lambda: _gradient(recipe, params, batch_stats, crops, photometry_key, dropout_key))
    start = (batch_stats, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like))
    (stats, (gradient, metrics)), _ = jax.lax.scan(add, start, (parts, jax.random.split(dropout_key, count), weights))
    return stats, gradient, metrics


def abstract_batch(phase: Phase) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a phase's global batch."""
    b, s = phase.global_batch, phase.crop_px
    return {
        "image": jax.ShapeDtypeStruct((b, s, s, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((b, s, s), jnp.uint8),
        "sample": jax.ShapeDtypeStruct((b, 2), jnp.int32),
        "seed": jax.ShapeDtypeStruct((), jnp.uint32),
        "learning_rate": jax.ShapeDtypeStruct((), jnp.float32),
    }


def step_program(recipe: Recipe, phase: Phase) -> StepProgram:
    """The compile unit of one phase (paper §3.3: each crop size is a step of its own).

    Raises:
      CsstError: the mesh cannot split the phase's batch or crop evenly.
    """
    check_divisible(phase.global_batch, phase.crop_px, recipe.mesh, recipe.accumulate)

    def fn(state: TrainState, batch: dict[str, jax.Array]) -> tuple[TrainState, Metrics]:
        with jax.sharding.use_abstract_mesh(recipe.mesh.abstract_mesh), traced_for(recipe.mesh):
            return train_step(recipe, state, batch)

    fn.__name__ = f"train_step_{phase.crop_px}px_{phase.global_batch}"
    state = recipe.abstract_state()
    layout = jax.tree.map(lambda x: x.sharding, state)
    return StepProgram(
        fn=fn,
        in_shardings=(layout, batch_shardings(recipe.mesh)),
        out_shardings=(layout, replicated(recipe.mesh)),
        abstract_args=(state, abstract_batch(phase)),
        compiler_options=_OPTIONS.get(recipe.mesh.devices.flat[0].platform, {}),
    )
