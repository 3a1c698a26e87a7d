"""Batch normalisation's statistics, measured over many batches once training has ended.

"Precise BN" of Wu and Johnson, Rethinking "Batch" in BatchNorm (arXiv:2105.07576, §3). The running averages of training
are of its last ten steps or so, whose weights still moved, and of crops that no photo looks like: centroid sampling
centres them on rare classes, and half of a student's are strongly augmented.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from csst_jax.methods.interleaving import interleaved
from csst_jax.platforms import traced_for
from csst_jax.streams import STEP, WEAK
from csst_jax.train.loop import device_batch
from csst_jax.train.sharding import input_shardings, replicated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from csst_jax.models.nnx_io import Arrays
    from csst_jax.train.loop import Batch
    from csst_jax.train.step import Recipe, StepArrays

    Values = dict[str, np.ndarray]
    Measure = Callable[[Values, Values, Iterable[Batch]], Values]


def measure(recipe: Recipe, seed: int) -> Measure:
    """What measures networks of a training; it is compiled once.

    Args:
      recipe: of the training.
      seed: of the augmentation.

    Returns:
      A function of a network's params, its running statistics, both float32 by dotted name, and batches: one process's
      share of each, all of the same shapes. It returns the statistics over these batches, float32, under the names of
      the running ones: means over the batches of each batch's own mean and unbiased variance. All streams' crops are
      seen together, in the weak view; with `recipe.accumulate` each micro-batch is one of the batches. The running
      statistics stay where there is no batch, and where the network has no batch normalisation. All processes take
      part.
    """
    network = recipe.method.parts.network
    streams = [dataclasses.replace(stream, views=(WEAK,)) for stream in recipe.streams]

    def add(total: Arrays, params: Arrays, stats: Arrays, batch: StepArrays) -> Arrays:
        with jax.sharding.use_abstract_mesh(recipe.mesh.abstract_mesh), traced_for(recipe.mesh):
            key = jax.random.key(batch[STEP]["seed"])
            crops = [recipe.augmentation(stream, batch[stream.name], key).images[WEAK] for stream in streams]

            def add_own(total: Arrays, crops: list[jax.Array]) -> Arrays:
                images = interleaved(crops, [stream.parts for stream in streams])
                own = network.batch_statistics(params, stats, images, key)
                return jax.tree.map(lambda total, x: total + x / recipe.accumulate, total, own)

            if recipe.accumulate == 1:
                return add_own(total, crops)
            # What training never sees at once may not fit the memory.
            parts = [jnp.swapaxes(x.reshape(-1, recipe.accumulate, *x.shape[1:]), 0, 1) for x in crops]
            return jax.lax.scan(lambda total, part: (add_own(total, part), None), total, parts)[0]

    everywhere = replicated(recipe.mesh)
    program = jax.jit(
        add,
        in_shardings=(everywhere, everywhere, everywhere, input_shardings(recipe.streams, recipe.mesh)),
        out_shardings=everywhere,
        donate_argnums=0,
    )

    def measured(params: Values, stats: Values, batches: Iterable[Batch]) -> Values:
        if not stats:
            return stats
        params, stats = jax.device_put((params, stats), everywhere)
        total, count = jax.tree.map(jnp.zeros_like, stats), 0
        for batch in batches:
            total, count = program(total, params, stats, device_batch(recipe, batch, seed, 0.0)), count + 1
        mean = jax.tree.map(lambda x: x / count, total) if count else stats
        return {name: np.asarray(value) for name, value in jax.device_get(mean).items()}

    return measured
