"""The centroid index: images a second and core beside a scipy loop over classes, and how a large index loads.

python -m benchmarks.centroid_index --json

Labels are of 1024x2048 with 19 classes, stored in tiles; a worker decodes one and finds its components. Both sides work
on all cores, in turn; install requirements-dev.txt for scipy. The large index has 43,000 images x 50 components.
"""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import street_sized
from csst_jax.data.stored import centroid_index, encoded
from data_prep import reindex, workers

if TYPE_CHECKING:
    from collections.abc import Sequence

NUM_IMAGES, COMPONENTS_AN_IMAGE = 43_000, 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.centroid_index",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--labels", type=int, default=8, help="different label maps")
    parser.add_argument("--repeats", type=int, default=12, help="passes of a measurement over them")
    parser.add_argument("--images", type=int, default=NUM_IMAGES, help="number of images in the index that is loaded")
    workers.add_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON in the last line")
    options = parser.parse_args(arguments)
    result = compare(options.labels, options.repeats, options.pairs, options.num_workers) | load(options.images)
    if options.json:
        print(json.dumps(result))
    return 0


def compare(num_labels: int, repeats: int, pairs: int, num_workers: int) -> dict[str, float]:
    """Times both sides in turn and prints a table."""
    labels = [(str(seed), encoded.encode_label(street_sized.label(seed))) for seed in range(num_labels)]
    ours = functools.partial(reindex.components, num_classes=street_sized.NUM_CLASSES)
    print("| pair | csst_jax images/s/core | scipy images/s/core | csst_jax / scipy |")
    print("| --: | --: | --: | --: |")
    rates, ratios = [], []
    for pair in range(pairs):
        rates.append(_rate(ours, labels * repeats, num_workers) / num_workers)
        theirs = _rate(_scipy, labels * max(1, repeats // 10), num_workers) / num_workers
        ratios.append(rates[-1] / theirs)
        print(f"| {pair + 1} | {rates[-1]:.0f} | {theirs:.2f} | {ratios[-1]:.0f} |", flush=True)
    ratio = statistics.median(ratios)
    print(f"\ncsst_jax over scipy: median {ratio:.0f}, range {min(ratios):.0f} to {max(ratios):.0f}.")
    return {"index_images_s_core": round(statistics.median(rates), 1), "index_ratio_scipy": round(ratio, 1)}


def _rate(function: Any, labels: Sequence[tuple[str, bytes]], num_workers: int) -> float:
    """Images a second, once each worker has started and done one."""
    # `ordered_map` has four of them for each worker under way when the first result comes.
    warm = [labels[i % len(labels)] for i in range(5 * num_workers)]
    began = 0.0
    for number, _ in enumerate(workers.ordered_map(function, [*warm, *labels], num_workers), 1):
        if number == len(warm):
            began = time.perf_counter()
    return len(labels) / (time.perf_counter() - began)


def _scipy(image: tuple[str, bytes]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Centroids and areas of each class's components, class by class."""
    import scipy.ndimage

    label = encoded.decode_label(image[1])
    found = []
    for klass in range(street_sized.NUM_CLASSES):
        mask = label == klass
        component, count = scipy.ndimage.label(mask, structure=np.ones((3, 3)))
        numbers = np.arange(1, count + 1)
        centroids = np.asarray(scipy.ndimage.center_of_mass(mask, component, numbers)).reshape(-1, 2)
        found.append((centroids, np.bincount(component.ravel(), minlength=count + 1)[1:]))
    return found


_LOAD = """
import sys, time
import numpy
from csst_jax.data.stored import centroid_index
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
before, began = peak(), time.perf_counter()
index = centroid_index.read(sys.argv[1])
print(len(index.ids), len(index), time.perf_counter() - began, peak() - before)
"""


def load(num_images: int) -> dict[str, float]:
    """Loads a generated index in a fresh process: seconds, and by how much the load raised its peak memory (MiB).

    numpy and this package's modules are imported before; what reading imports counts.
    """
    rng = np.random.default_rng(0)
    total = num_images * COMPONENTS_AN_IMAGE
    index = centroid_index.CentroidIndex(
        ids=tuple(f"frankfurt_{number:06d}_leftImg8bit" for number in range(num_images)),
        num_classes=street_sized.NUM_CLASSES,
        labels_sha256="0" * 64,
        record=np.repeat(np.arange(num_images, dtype=np.int32), COMPONENTS_AN_IMAGE),
        klass=rng.integers(0, street_sized.NUM_CLASSES, total).astype(np.int32),
        y=rng.uniform(0, street_sized.HEIGHT, total).astype(np.float32),
        x=rng.uniform(0, street_sized.WIDTH, total).astype(np.float32),
        area=rng.integers(1, 100_000, total).astype(np.int32),
    )
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "index.tfrecord"
        centroid_index.write(path, index)
        command = [sys.executable, "-c", _LOAD, str(path)]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(5)]
    if {tuple(run[:2]) for run in runs} != {(str(num_images), str(total))}:
        raise RuntimeError(f"the index read is not the one written: {runs}")
    seconds, memory = (statistics.median(float(run[column]) for run in runs) for column in (2, 3))
    print(f"\nAn index of {num_images:,} images x {COMPONENTS_AN_IMAGE} components: {seconds:.2f} s, {memory:.0f} MiB.")
    return {"index_load_s": round(seconds, 2), "index_load_mib": round(memory)}


if __name__ == "__main__":
    sys.exit(main())
