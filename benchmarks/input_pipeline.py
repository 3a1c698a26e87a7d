"""Crops a second from images of 1024x2048, beside a PyTorch DataLoader that reads PNG files with OpenCV, in turn.

python -m benchmarks.input_pipeline --json

Both sides take the same crops of 800 (scale 0.5 to 2) of 64 generated images with labels, in batches of 16, on all
cores; files are in the page cache, and our records in memory, as after a training's first epoch (`input.cache_mb`).
PyTorch crops before it scales; the column after it is of the usual order, the whole image scaled first. The second
table compares the forms that `data_prep` stores images in, in memory and read each time, and the third is of
benchmarks.centroid_index. Install requirements-bench.txt and requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import pathlib
import statistics
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks import centroid_index, street_sized
from csst_jax.data.crop import windows
from csst_jax.data.crop_plan import batch_specs
from csst_jax.data.kept import kept_in_memory
from csst_jax.data.store import DataSet
from csst_jax.runtime.host_memory import keep_freed_memory
from csst_jax.samplers.uniform import UniformImageSampler
from csst_jax.streams import LABELLED
from csst_jax.types import DatasetDescription, Phase
from data_prep import stored, workers
from data_prep.raw import RawExample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from csst_jax.data.batches import Reader
    from csst_jax.data.crop_plan import BatchSpec

CROP_PX, BATCH, SCALES = 800, 16, (0.5, 2.0)
CACHE_MB = 1024  # input.cache_mb of configs/base.py
SIZE = (street_sized.HEIGHT, street_sized.WIDTH)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.input_pipeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument(
        "--batches", type=int, default=8, help="batches that measure PyTorch; ours take three times as many"
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON in the last line")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    from csst_jax.runtime.machine import num_cores

    cores = num_cores()
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory)
        write_files(folder, options.images, cores)
        result = compare(folder, options.images, options.batches, options.pairs, cores)
        storages(folder, options.images, 3 * options.batches, cores)
    print()
    result |= centroid_index.compare(8, 12, options.pairs, cores)
    result |= centroid_index.load(centroid_index.NUM_IMAGES)
    if options.json:
        print(json.dumps(result))
    return 0


def write_files(folder: pathlib.Path, num_images: int, cores: int) -> None:
    """PNG files of images and labels, as a data set is distributed."""
    for number, (image, label) in enumerate(workers.ordered_map(_files, range(num_images), cores)):
        (folder / f"image{number:03d}.png").write_bytes(image)
        (folder / f"label{number:03d}.png").write_bytes(label)
    sizes = [path.stat().st_size for path in folder.glob("image*.png")]
    print(f"{num_images} images of {SIZE[0]}x{SIZE[1]}; a PNG has {statistics.mean(sizes) / 1e6:.2f} MB in the mean.\n")


def _files(seed: int) -> tuple[bytes, bytes]:
    arrays = (street_sized.image(seed)[..., ::-1], street_sized.label(seed))
    image, label = (cv2.imencode(".png", array)[1].tobytes() for array in arrays)
    return image, label


def examples(folder: pathlib.Path, num_images: int) -> Iterable[RawExample]:
    """The files, as a command of `data_prep` reads them."""
    for number in range(num_images):
        label = cv2.imread(str(folder / f"label{number:03d}.png"), cv2.IMREAD_UNCHANGED)
        image = (folder / f"image{number:03d}.png").read_bytes()
        yield RawExample(f"{number:03d}", image, label, labelled=True)


def prepared(folder: pathlib.Path, num_images: int, storage: str, cores: int) -> tuple[DataSet, float]:
    """The data set in a form of storage, and the seconds that preparing it took."""
    from data_prep import builder

    classes = tuple(f"class {k}" for k in range(street_sized.NUM_CLASSES))
    description = DatasetDescription(storage, classes, tuple((k, k, k) for k in range(len(classes))))
    began = time.perf_counter()
    settings: dict[str, Any] = {"source_sha256": "benchmark", "storage": storage, "num_workers": cores}
    with contextlib.redirect_stdout(io.StringIO()):  # what it says would stand in the middle of a table
        directory = builder.prepare(description, {"train": examples(folder, num_images)}, folder, **settings)
    return DataSet.open(directory), time.perf_counter() - began


def read_once(data: DataSet) -> Reader:
    """The training images, of which as many are in memory as a training keeps."""
    (source,) = kept_in_memory([data.reader("train")], CACHE_MB * 2**20)
    for record in range(len(source)):
        source.pair_bytes(record)
    return source


def crops_per_second(source: Reader, num_images: int, num_batches: int, seed: int = 0) -> float:
    """Of the training input as it is, from the first batch to the last."""
    from csst_jax.data.batches import batches

    specs = _specs(num_images, num_batches, seed)
    return _rate(lambda: batches(specs, [LABELLED], [source], parallel_batches=2, prefetch=4))


def _specs(num_images: int, num_batches: int, seed: int) -> Iterator[BatchSpec]:
    return batch_specs([LABELLED], {LABELLED.name: _sampler(num_images)}, _phases(num_batches), seed, SCALES, 0)


def _sampler(num_images: int) -> UniformImageSampler:
    return UniformImageSampler([(0, record, *SIZE) for record in range(num_images)])


def _phases(num_batches: int) -> list[Phase]:
    return [Phase(CROP_PX, BATCH, num_batches)]


def _rate(epoch: Callable[[], Iterable[Any]]) -> float:
    number, began = 0, 0.0
    for number, batch in enumerate(epoch()):
        if number == 0:
            keep_freed_memory()  # as training does; the processes of PyTorch's loader have begun with it
            began = time.perf_counter()
        del batch
    return number * BATCH / (time.perf_counter() - began)


def compare(folder: pathlib.Path, num_images: int, num_batches: int, pairs: int, cores: int) -> dict[str, float]:
    """Times the sides in turn and prints a table; each pair takes the same crops on both sides."""
    from benchmarks import torch_loader

    data, _ = prepared(folder, num_images, stored.STORAGES[0], cores)
    source = read_once(data)
    samples = []
    for spec in _specs(num_images, num_batches, 0):
        for row, scale in zip(spec.rows, spec.scales, strict=True):
            where = windows(SIZE, np.array([row["y"], row["x"]]), float(scale), CROP_PX, anywhere=True)
            boxes = [(w.top, w.left, w.height, w.width) for w in where]
            files = (str(folder / f"{kind}{row['record']:03d}.png") for kind in ("image", "label"))
            samples.append(torch_loader.Crop(*files, float(scale), *boxes))
    theirs = [torch_loader.Loader(samples, CROP_PX, whole_first, BATCH, cores) for whole_first in (False, True)]
    for loader in theirs:
        _rate(loader)  # starts the workers
    print("| pair | csst_jax crops/s/core | PyTorch | whole image first | csst_jax / PyTorch | / whole first |")
    print("| --: | --: | --: | --: | --: | --: |")
    rates = []
    for pair in range(pairs):
        ours = crops_per_second(source, num_images, 3 * num_batches) / cores
        rates.append((ours, *(_rate(loader) / cores for loader in theirs)))
        ours, crop_first, whole_first = rates[-1]
        print(
            f"| {pair + 1} | {ours:.1f} | {crop_first:.1f} | {whole_first:.1f} | {ours / crop_first:.1f} "
            f"| {ours / whole_first:.1f} |",
            flush=True,
        )
    ratios = [ours / crop_first for ours, crop_first, _ in rates]
    median = statistics.median(ratios)
    spread = f"range {min(ratios):.1f} to {max(ratios):.1f}; {cores} cores"
    print(f"\ncsst_jax over PyTorch: median {median:.1f}, {spread}.\n")
    return {
        "ratio": round(median, 2),
        "ratio_whole_first": round(statistics.median(ours / whole for ours, _, whole in rates), 2),
        "crops_s_core": round(statistics.median(ours for ours, _, _ in rates), 1),
    }


def storages(folder: pathlib.Path, num_images: int, num_batches: int, cores: int) -> None:
    """Prints what each form costs and gives, in memory and when every record is read again."""

    def per_core(source: Reader) -> float:
        return statistics.median(crops_per_second(source, num_images, num_batches) for _ in range(3)) / cores

    rows = []
    for storage in stored.STORAGES:
        data, _ = prepared(folder, num_images, storage, cores)
        source = data.reader("train")
        pairs = [source.pair_bytes(record) for record in range(num_images)]
        size, label_size = (statistics.mean(len(pair[part]) for pair in pairs) for part in (0, 1))
        png = (folder / "image000.png").read_bytes()
        began = time.perf_counter()
        for _ in range(5):
            stored.image_form(png, storage)
        encode_ms = 1e3 * (time.perf_counter() - began) / 5
        kept, read = per_core(read_once(data)), per_core(source)
        rows.append(
            f"| {storage} | {size / 1e6:.2f} | {label_size / 1e3:.0f} | {encode_ms:.0f} | {kept:.1f} | {read:.1f} |"
        )
    print("| storage | MB an image | kB a label | ms to encode a PNG's pixels | crops/s/core | read each time |")
    print("| --- | --: | --: | --: | --: | --: |")
    print("\n".join(rows))


if __name__ == "__main__":
    sys.exit(main())
