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

from csst_jax.train.sharding import batch_shardings, check_divisible, replicated
from csst_jax.train.state import TrainState, initial_state
from csst_jax.types import IGNORE_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax.sharding import Mesh

    from csst_jax.data.augment import Augmentation
    from csst_jax.methods.supervised import Supervised
    from csst_jax.models.nnx_io import Network
    from csst_jax.types import Phase

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
    """

    network: Network
    method: Supervised
    augmentation: Augmentation
    optimizer: optax.GradientTransformationExtraArgs
    mesh: Mesh


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

    Args:
      recipe: what the step is made of.
      state: where training stands; donated when compiled.
      batch: `image` uint8 [b, h, w, 3], `label` uint8 [b, h, w] (255 = ignored), `sample` int32 [b, 2] (epoch,
      position),
        `seed` uint32 scalar, `learning_rate` float32 scalar (the schedule's value at this step).

    Returns:
      The next state, and float32 scalars: `loss`, `loss_<head>`, `kept` (share of valid pixels in the main loss),
      `gradient_norm`.
    """
    key = jax.random.key(batch["seed"])
    photometry_key, dropout_key = jax.random.split(key)
    images, labels = recipe.augmentation(batch["image"], batch["label"], batch["sample"], photometry_key)

    def objective(params: dict[str, jax.Array]) -> tuple[jax.Array, Any]:
        outputs, stats = recipe.network.apply_train(
            params, state.batch_stats, images, jax.random.fold_in(dropout_key, state.step)
        )
        losses = recipe.method.losses(outputs, labels)
        return recipe.method.total(losses), (losses, stats)

    (loss, (losses, stats)), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    updates, opt_state = recipe.optimizer.update(
        gradient, state.opt_state, state.params, learning_rate=batch["learning_rate"]
    )
    params = optax.apply_updates(state.params, updates)
    valid = jnp.sum(labels != IGNORE_LABEL, dtype=jnp.float32)
    metrics = {f"loss_{name}": total / jnp.maximum(count, 1.0) for name, (total, count) in losses.items()}
    metrics |= {
        "loss": loss,
        "kept": losses["main"][1] / jnp.maximum(valid, 1.0),
        "gradient_norm": optax.global_norm(gradient),
    }
    return TrainState(state.step + 1, params, stats, opt_state), metrics


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
    check_divisible(phase.global_batch, phase.crop_px, recipe.mesh)

    def fn(state: TrainState, batch: dict[str, jax.Array]) -> tuple[TrainState, Metrics]:
        return train_step(recipe, state, batch)

    fn.__name__ = f"train_step_{phase.crop_px}px_{phase.global_batch}"
    state = jax.eval_shape(lambda: initial_state(recipe.network, recipe.optimizer))
    everywhere = replicated(recipe.mesh)
    return StepProgram(
        fn=fn,
        in_shardings=(everywhere, batch_shardings(recipe.mesh)),
        out_shardings=(everywhere, everywhere),
        abstract_args=(state, abstract_batch(phase)),
        compiler_options=_OPTIONS.get(recipe.mesh.devices.flat[0].platform, {}),
    )
