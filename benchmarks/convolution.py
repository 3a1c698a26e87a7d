"""FastSCNN's training step on this machine, with the convolution layer's own choice of form and with plain XLA.

python -m benchmarks.convolution --out=docs/results/convolution.md
"""

from __future__ import annotations

import argparse
import functools
import pathlib
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any
from unittest import mock

import jax
import numpy as np

from csst_jax.data.augment import Augmentation, Photometry
from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import HeadLosses
from csst_jax.methods.base import Parts
from csst_jax.methods.supervised import Supervised
from csst_jax.models import fast_scnn, nnx_io
from csst_jax.models.ops import convolution
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.streams import LABELLED, STEP, WEAK
from csst_jax.train import optimizers
from csst_jax.train.sharding import make_mesh
from csst_jax.train.step import Recipe, step_program
from csst_jax.types import Phase


def main(arguments: Sequence[str] | None = None) -> int:
    """Times both, in turn, and writes or prints the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crop_px", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=pathlib.Path, help="Markdown file to write; without it the page is printed")
    options = parser.parse_args(arguments)
    phase = Phase(options.crop_px, options.batch, 1)
    chosen = compiled_step(phase)
    with mock.patch.object(convolution, "_cpu_form", lambda *_: None):
        plain = compiled_step(phase)
    seconds: dict[str, list[float]] = {"chosen": [], "plain": []}
    # In turn, so that both see the same machine; ratios are of neighbours.
    for _ in range(options.repeats):
        seconds["chosen"].append(timed(*chosen))
        seconds["plain"].append(timed(*plain))
    ratios = [p / c for p, c in zip(seconds["plain"], seconds["chosen"], strict=True)]
    text = "\n".join(
        [
            "# The convolution layer's choice of form on CPU",
            "",
            "`python -m benchmarks.convolution` writes this page. Do not edit it.",
            "",
            f"The figures are for FastSCNN's whole training step: {options.batch} crops of {options.crop_px} px, "
            f"float32, {jax.device_count()} CPU device, median of {options.repeats} pairs.",
            "",
            "| form | ms a step |",
            "| --- | --: |",
            f"| chosen by platform | {1e3 * statistics.median(seconds['chosen']):.0f} |",
            f"| plain `feature_group_count` | {1e3 * statistics.median(seconds['plain']):.0f} |",
            "",
            f"Plain over chosen, pair by pair: median {statistics.median(ratios):.1f}, "
            f"range {min(ratios):.1f} to {max(ratios):.1f}.",
        ]
    )
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def compiled_step(phase: Phase) -> tuple[Any, Any, Any]:
    """(compiled step, state, batch) of FastSCNN at 11 classes."""
    network = nnx_io.create(functools.partial(fast_scnn.build, 11), 0)
    losses = HeadLosses(cross_entropy, True, 0.7, 1 / 16, 0.4)
    recipe = Recipe(
        Supervised(Supervised.Settings(), Parts(network, losses, lambda _: network, num_classes=11)),
        Augmentation(0.5, {WEAK: Photometry(0.1, 0.5)}, IMAGENET),
        optimizers.make(optimizers.Sgd(0.9, 1e-4), network.params),
        make_mesh(jax.devices(), 1),
    )
    rng = np.random.default_rng(0)
    b, s = phase.global_batch, phase.crop_px
    crops = {
        "image": rng.integers(0, 256, (b, s, s, 3), dtype=np.uint8),
        "label": rng.integers(0, 11, (b, s, s), dtype=np.uint8),
        "sample": np.stack([np.zeros(b, np.int32), np.arange(b, dtype=np.int32)], axis=1),
    }
    batch = {LABELLED.name: crops, STEP: {"seed": np.uint32(0), "learning_rate": np.float32(0.01)}}
    compiled = step_program(recipe, phase).lower().compile()
    state = jax.tree.map(np.asarray, recipe.initial_state(*recipe.method.trained()))
    return compiled, state, batch


def timed(compiled: Any, state: Any, batch: Any) -> float:
    """Seconds of one step, its inputs already on the device."""
    state, batch = jax.block_until_ready(jax.device_put((state, batch)))
    begin = time.perf_counter()
    jax.block_until_ready(compiled(state, batch))
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
