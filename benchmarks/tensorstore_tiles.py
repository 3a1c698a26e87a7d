"""Our tiles beside TensorStore's zarr arrays: size of an image, and time of a crop's window (docs/adr/0008).

taskset -c 0 python -m benchmarks.tensorstore_tiles

Both sides hold the same generated images of 1024x2048 in memory, in chunks of 128 pixels, compressed by zstd at level 1
with checksums, and read in turn the windows that crops of 800 at scale 0.5 to 2 need; nothing decoded is kept. Times
are of the processor, all threads together, which other programs change little. An image is one shard of a zarr array,
so its chunks lie in one value as our tiles in one record. Zarr knows no differences between pixels: its last form
stores those of our tiles, and they are undone here.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import tensorstore as ts

from benchmarks import street_sized
from csst_jax.data.stored import tiles

CROP_PX, SCALES = 800, (0.5, 2.0)
ROWS = 32  # from one row that is stored as it is to the next, as in tiles
_ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": True}}
_BLOSC = {"cname": "zstd", "clevel": 1, "shuffle": "bitshuffle", "typesize": 1, "blocksize": 0}
FORMS: dict[str, dict[str, Any]] = {
    "zarr, zstd": _ZSTD,
    "zarr, blosc (bitshuffle, zstd)": {"name": "blosc", "configuration": _BLOSC},
    "zarr, zstd of our differences": _ZSTD,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensorstore_tiles", description=__doc__)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--windows", type=int, default=400, help="number of windows that each form reads")
    options = parser.parse_args(arguments)
    images = [street_sized.image(seed) for seed in range(options.images)]
    stored = [tiles.encode(image) for image in images]
    readers = {form: _zarr(images, form) for form in FORMS}
    readers["tiles"] = sum(map(len, stored)), lambda number, window: tiles.decode(stored[number], window)
    times: dict[str, list[float]] = {form: [] for form in readers}
    for turn, w in enumerate(windows(options.windows)):
        number = turn % len(images)
        for form, (_, read) in readers.items():
            began = time.process_time()
            found = read(number, w)
            times[form].append(1000 * (time.process_time() - began))
            if not np.array_equal(found, images[number][w.top : w.top + w.height, w.left : w.left + w.width]):
                raise RuntimeError(f"{form}: {w} is not what was stored")
    print("| form | MB an image | ms a window, mean | median |\n| --- | --: | --: | --: |")
    for form, (size, _) in readers.items():
        mean, median = statistics.mean(times[form]), statistics.median(times[form])
        print(f"| {form} | {size / len(images) / 1e6:.2f} | {mean:.1f} | {median:.1f} |")
    return 0


def windows(count: int) -> list[tiles.Window]:
    """Windows of crops, each of which lies in an image."""
    rng, found = np.random.default_rng(0), []
    for side in (CROP_PX / rng.uniform(*SCALES, count)).round().astype(int).tolist():
        height, width = min(side, street_sized.HEIGHT), min(side, street_sized.WIDTH)
        top, left = rng.integers((street_sized.HEIGHT - height + 1, street_sized.WIDTH - width + 1)).tolist()
        found.append(tiles.Window(top, left, height, width))
    return found


def _zarr(images: Sequence[np.ndarray], form: str) -> tuple[int, Callable[[int, tiles.Window], np.ndarray]]:
    """Bytes of all images, and what reads a window of one."""
    shape, ours = [3, *images[0].shape[:2]], form.endswith("differences")
    inner = {"chunk_shape": [1, 3, tiles.TILE_PX, tiles.TILE_PX], "codecs": [{"name": "bytes"}, FORMS[form]]}
    metadata = {
        "shape": [len(images), *shape],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, *shape]}},
        "codecs": [{"name": "sharding_indexed", "configuration": inner}],
    }
    one_core = ts.Context({"data_copy_concurrency": {"limit": 1}})
    array = ts.open(
        {"driver": "zarr3", "kvstore": "memory://", "metadata": metadata}, create=True, context=one_core
    ).result()
    for number, (red, green, blue) in enumerate(map(cv2.split, images)):
        planes = np.stack([green, red - green, blue - green] if ours else [red, green, blue])
        written = planes.copy()
        for k in range(1, ROWS if ours else 1):
            written[:, k::ROWS] -= planes[:, k - 1 :: ROWS]
        array[number].write(written).result()

    def read(number: int, window: tiles.Window) -> np.ndarray:
        begin = window.top // ROWS * ROWS if ours else window.top
        columns = slice(window.left, window.left + window.width)
        planes = array[number, :, begin : window.top + window.height, columns].read().result()
        for k in range(1, ROWS if ours else 1):
            rows = planes[:, k::ROWS]
            rows += planes[:, k - 1 :: ROWS][:, : rows.shape[1]]
        one, two, three = planes[:, window.top - begin :]
        return cv2.merge([two + one, one, three + one] if ours else [one, two, three])

    return sum(len(array.kvstore.read(key).result().value) for key in array.kvstore.list().result()), read


if __name__ == "__main__":
    sys.exit(main())
