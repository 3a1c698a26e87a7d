"""The training input: from a plan of crops to uint8 arrays by stream, one tf.data pipeline for the whole run.

A pipeline that starts at step k yields exactly what an uninterrupted one yields from there (see `crop_plan`).
"""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from csst_jax.data.crop import scaled_crop
from csst_jax.data.tensorflow_import import tf
from csst_jax.runtime.machine import num_cores
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from csst_jax.data.crop_plan import BatchSpec
    from csst_jax.streams import Stream


class Reader(Protocol):
    """Random access to encoded images and labels; called from several threads."""

    def __len__(self) -> int: ...

    def pair_bytes(self, record: int) -> tuple[bytes, bytes | None]:
        """Image and label (class indices, 255 = void, or a soft label), as `csst_jax.data.stored.encoded` reads them.

        None stands for no label: the crop then tells padding from pixels of the image alone.
        """
        ...

    def label_bytes(self, record: int) -> bytes:
        """The label alone."""
        ...

    def describe(self, record: int) -> str:
        """File and record, for messages."""
        ...


def batches(
    specs: Iterator[BatchSpec],
    streams: Sequence[Stream],
    readers: Sequence[Reader],
    *,
    parallel_batches: int,
    prefetch: int,
) -> Iterator[dict[str, dict[str, np.ndarray]]]:
    """Reads, decodes and crops, on all cores.

    One thread a core takes crops, whichever batch they belong to; reading, decoding and resizing release the
    interpreter's lock. What a crop holds does not depend on its thread.

    Args:
      specs: what to read, in order.
      streams: what each step is made of.
      readers: what the rows' `origin` indexes.
      parallel_batches: batches prepared at the same time.
      prefetch: finished batches kept ready.

    Yields:
      By stream this process's share of the arrays that `csst_jax.streams.crop_entries` describes.

    Raises:
      CsstError: an image or a label is damaged; names file and record.
    """
    cv2.setNumThreads(1)  # the crops are what runs in parallel
    readers = list(readers)  # own, to be emptied at the end
    pool = concurrent.futures.ThreadPoolExecutor(num_cores(), thread_name_prefix="crop")
    damaged: list[CsstError] = []
    maps = max(stream.soft for stream in streams)
    signature = {
        "crop_px": tf.TensorSpec((), tf.int32),
        "counts": tf.TensorSpec((len(streams),), tf.int32),
        "origin": tf.TensorSpec((None,), tf.int32),
        "record": tf.TensorSpec((None,), tf.int32),
        "centre": tf.TensorSpec((None, 2), tf.float32),
        "scale": tf.TensorSpec((None,), tf.float32),
        "anywhere": tf.TensorSpec((None,), tf.bool),
        "sample": tf.TensorSpec((None, 2), tf.int32),
    }

    def elements() -> Iterator[dict[str, np.ndarray | np.int32]]:
        for spec in specs:
            yield {
                "crop_px": np.int32(spec.crop_px),
                "counts": np.array(list(spec.counts.values()), np.int32),
                "origin": spec.rows["origin"],
                "record": spec.rows["record"],
                "centre": np.stack([spec.rows["y"], spec.rows["x"]], axis=1),
                "scale": spec.scales,
                "anywhere": spec.rows["klass"] < 0,
                "sample": spec.samples,
            }

    def crops(crop_px: np.ndarray, *rows: np.ndarray) -> tuple[np.ndarray, ...]:
        images = np.empty((len(rows[0]), crop_px, crop_px, 3), np.uint8)
        labels = np.empty((len(rows[0]), crop_px, crop_px), np.uint8)
        soft = np.zeros((len(rows[0]), maps, crop_px, crop_px), np.uint8)

        def one(i: int) -> None:
            origin, record, centre, scale, anywhere = (column[i] for column in rows)
            chosen = readers[int(origin)]
            try:
                image, label = chosen.pair_bytes(int(record))
                out = {"image_out": images[i], "label_out": labels[i], "soft_out": soft[i] if maps else None}
                scaled_crop(image, label, centre, float(scale), bool(anywhere), **out)
            except CsstError as error:
                damaged.append(CsstError(f"{chosen.describe(int(record))}: {error}"))
                raise

        for _ in pool.map(one, range(len(images))):
            pass  # raises what a crop raised
        return images, labels, soft

    def load(element: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        arguments = [element[name] for name in ("crop_px", "origin", "record", "centre", "scale", "anywhere")]
        image, label, soft = tf.numpy_function(crops, arguments, (tf.uint8, tf.uint8, tf.uint8), stateful=False)
        passed = {name: element[name] for name in ("sample", "counts", "origin")}
        return {"image": image, "plane": label, "soft": soft, **passed}

    dataset = tf.data.Dataset.from_generator(elements, output_signature=signature)
    dataset = dataset.map(load, num_parallel_calls=parallel_batches, deterministic=True).prefetch(prefetch)
    options = tf.data.Options()
    options.threading.private_threadpool_size = max(2, parallel_batches)
    # Nothing here is left to be tuned. The thread that tunes sleeps longer and longer, up to a minute, and the end of
    # the pipeline would wait for it.
    options.autotune.enabled = False
    try:
        for arrays in dataset.with_options(options).as_numpy_iterator():
            yield _by_stream(streams, arrays)
    except tf.errors.OpError as error:
        if damaged:  # TensorFlow tells a Python error as text, with the traceback in it
            raise damaged[0] from error
        raise
    finally:
        # TensorFlow keeps `crops` until the process ends, and with it the pool, and what readers keep in memory.
        pool.shutdown(wait=False, cancel_futures=True)
        readers.clear()


def _by_stream(streams: Sequence[Stream], arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """A step's crops, which come one stream after the other."""
    found, end = {}, 0
    for stream, count in zip(streams, arrays["counts"].tolist(), strict=True):
        mine, end = slice(end, end + count), end + count
        plane = "label" if stream.labelled else "padding"
        found[stream.name] = {
            "image": arrays["image"][mine],
            plane: arrays["plane"][mine],
            "sample": arrays["sample"][mine],
        }
        if stream.soft:
            found[stream.name]["soft"] = arrays["soft"][mine]
        if stream.marked:  # readers come in the order of `ORIGINS`: that of real masks is the first
            found[stream.name]["pseudo"] = arrays["origin"][mine] != 0
    return found
