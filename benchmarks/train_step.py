"""Forward, backward and SGD update against plain PyTorch on the CPUs of this machine, in turn.

python -m benchmarks.train_step --network=fast_scnn,bisenet_resnet18 --json

Same architecture, batch, crop and loss on both sides (cross-entropy of all heads, no augmentation), float32. PyTorch
runs eagerly with all cores, in whichever memory format is faster for the network; install requirements-bench.txt.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import HeadLosses, total
from csst_jax.models import nnx_io, zoo
from csst_jax.runtime.host_memory import keep_freed_memory
from csst_jax.train import optimizers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NETWORKS = ("fast_scnn", "bisenet_resnet18", "deeplab_v3_plus_resnet50", "deeplab_v3_plus_efficientnet_lite0")
OPTIONS = {name: {"lineage": "smp", "output_stride": 16} for name in NETWORKS if name.startswith("deeplab")}
NUM_CLASSES = 11
AUX_WEIGHT = 0.4
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 1e-4


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train_step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--network", default=",".join(NETWORKS), help=f"some of {', '.join(NETWORKS)}, by commas")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop_px", type=int, default=320)
    parser.add_argument("--pairs", type=int, default=5, help="timed steps of each side")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON in the last line")
    options = parser.parse_args(arguments)
    keep_freed_memory()  # as csst_jax.main does; PyTorch gains by it as well
    print(
        "| network | parameters | csst_jax ms | PyTorch ms | memory format | compile s | PyTorch / csst_jax | range |"
    )
    print("| --- | --: | --: | --: | --- | --: | --: | --: |")
    ratios = {}
    for name in options.network.split(","):
        row = compare(name, options.batch, options.crop_px, options.pairs)
        ratios[name] = round(statistics.median(row["ratios"]), 3)
        print(
            f"| {name} | {row['parameters']:,} | {1e3 * statistics.median(row['ours']):.0f} "
            f"| {1e3 * statistics.median(row['theirs']):.0f} | {row['memory_format']} | {row['compile_s']:.0f} "
            f"| {ratios[name]:.2f} | {min(row['ratios']):.2f} to {max(row['ratios']):.2f} |",
            flush=True,
        )
    if options.json:
        print(json.dumps({"ratio": ratios}))
    return 0


def compare(name: str, batch: int, crop_px: int, pairs: int) -> dict[str, Any]:
    """Times both sides step by step in turn; `ratios` are PyTorch's seconds over ours, pair by pair."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, crop_px, crop_px, 3), np.float32)
    labels = rng.integers(0, NUM_CLASSES, (batch, crop_px, crop_px)).astype(np.uint8)
    ours, parameters, compile_s = our_step(name, images, labels)
    sides = {form: torch_step(name, images, labels, form) for form in ("contiguous", "channels_last")}
    theirs_parameters = {count for _, count in sides.values()}
    if theirs_parameters != {parameters}:
        raise RuntimeError(f"{name} has {parameters} parameters here and {theirs_parameters} in PyTorch")
    for step in (ours, *(step for step, _ in sides.values())):
        step()  # warm
    trial = {form: min(timed(step) for _ in range(2)) for form, (step, _) in sides.items()}
    form = min(trial, key=lambda key: trial[key])
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(pairs):
        seconds["ours"].append(timed(ours))
        seconds["theirs"].append(timed(sides[form][0]))
    return {
        "parameters": parameters,
        "memory_format": form,
        "compile_s": compile_s,
        "ratios": [t / o for t, o in zip(seconds["theirs"], seconds["ours"], strict=True)],
        **seconds,
    }


def timed(step: Callable[[], None]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def our_step(name: str, images: np.ndarray, labels: np.ndarray) -> tuple[Callable[[], None], int, float]:
    """(one training step, number of parameters, seconds that compilation took)."""
    step, _, parameters, compile_s = _compiled(name, images, labels)
    return step, parameters, compile_s


def our_program(name: str, images: np.ndarray, labels: np.ndarray) -> tuple[Callable[[], None], str]:
    """(one training step, its compiled HLO as text)."""
    step, compiled, _, _ = _compiled(name, images, labels)
    return step, compiled.as_text() or ""


def _compiled(
    name: str, images: np.ndarray, labels: np.ndarray
) -> tuple[Callable[[], None], jax.stages.Compiled, int, float]:
    network = nnx_io.create(functools.partial(zoo.builder(name, NUM_CLASSES, **OPTIONS.get(name, {}))), 0)
    losses = HeadLosses(cross_entropy, False, 1.0, 1.0, AUX_WEIGHT)
    optimizer = optimizers.make(optimizers.Sgd(MOMENTUM, WEIGHT_DECAY), network.params)

    def train(state: Any, x: jax.Array, y: jax.Array) -> tuple[Any, jax.Array]:
        params, stats, opt_state, step = state

        def objective(params: Any) -> tuple[jax.Array, Any]:
            outputs, new = network.apply_train(params, stats, x, jax.random.fold_in(jax.random.key(0), step))
            return total(losses(outputs, y)), new

        (loss, stats), gradient = jax.value_and_grad(objective, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradient, opt_state, params, learning_rate=jnp.float32(LEARNING_RATE))
        return (optax.apply_updates(params, updates), stats, opt_state, step + 1), loss

    state = (network.params, network.batch_stats, optimizer.init(network.params), jnp.int32(0))
    x, y = jnp.asarray(images), jnp.asarray(labels)
    began = time.perf_counter()
    compiled = jax.jit(train, donate_argnums=0).lower(state, x, y).compile()
    compile_s = time.perf_counter() - began
    held = [state]

    def step() -> None:
        held[0], loss = compiled(held[0], x, y)
        jax.block_until_ready((held[0], loss))

    return step, compiled, sum(leaf.size for leaf in network.params.values()), compile_s


def torch_step(name: str, images: np.ndarray, labels: np.ndarray, form: str) -> tuple[Callable[[], None], int]:
    """(one training step, number of parameters)."""
    import torch
    import torch.nn.functional as F

    from benchmarks import torch_networks

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    layout = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[form]
    network = torch_networks.build(name, NUM_CLASSES).to(memory_format=layout).train()
    optimizer = torch.optim.SGD(network.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    y = torch.from_numpy(labels.astype(np.int64))

    def step() -> None:
        main_logits, *aux = network(x)
        loss = F.cross_entropy(main_logits, y) + sum(AUX_WEIGHT * F.cross_entropy(z, y) for z in aux)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step, sum(p.numel() for p in network.parameters())


if __name__ == "__main__":
    sys.exit(main())
