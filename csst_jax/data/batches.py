"""The training input: from a plan of samples to uint8 batches, one tf.data pipeline for the whole run.

The plan is data: which component of which image goes where, for every step from any step on. A pipeline that starts at
step k yields exactly what an uninterrupted one yields from there, so resuming is seeking.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from csst_jax.data.crop import scaled_crop
from csst_jax.data.tensorflow_import import tf
from csst_jax.samplers.plan import process_slice
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from csst_jax.types import Phase


class Source(Protocol):
    """Random access to encoded images and labels; called from several threads."""

    def __len__(self) -> int: ...

    def pair_bytes(self, record: int) -> tuple[bytes, bytes]:
        """Image and label (class indices, 255 = void), encoded as `csst_jax.data.stored.encoded` reads them."""
        ...

    def label_bytes(self, record: int) -> bytes:
        """The label alone."""
        ...

    def describe(self, record: int) -> str:
        """File and record, for messages."""
        ...


class Sampler(Protocol):
    """See `csst_jax.samplers`: a pure plan of an epoch."""

    def plan(self, epoch: int, seed: int, num_samples: int) -> np.ndarray:
        """`num_samples` rows of `PLAN_DTYPE`."""
        ...


@dataclasses.dataclass(frozen=True)
class BatchSpec:
    """One process's share of one step.

    Attributes:
      crop_px: side of the crops.
      rows: samples (`PLAN_DTYPE`), one a crop.
      scales: float32, one a crop.
      samples: int32 [b, 2], (epoch, position in the epoch).
    """

    crop_px: int
    rows: np.ndarray
    scales: np.ndarray
    samples: np.ndarray


def batch_specs(
    sampler: Sampler,
    phases: Sequence[Phase],
    seed: int,
    scale_range: tuple[float, float],
    start_step: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[BatchSpec]:
    """The rest of a run as one spec a step, from `start_step` on. Pure: no reading, no decoding.

    Scales are drawn uniformly from `scale_range` (paper §4.2: 0.5 to 2.0) by (seed, epoch, position) alone.
    """
    first = 0
    for epoch, phase in enumerate(phases):
        if first + phase.steps > start_step:
            total = phase.steps * phase.global_batch
            plan = sampler.plan(epoch, seed, total)
            # Key 1 keeps this stream apart from the samplers', which use (seed, epoch) without it.
            generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch, 1))))
            scales = generator.uniform(*scale_range, size=total).astype(np.float32)
            positions = np.arange(total, dtype=np.int32)
            samples = np.stack([np.full(total, epoch, np.int32), positions], axis=1)
            for step in range(max(0, start_step - first), phase.steps):
                whole = positions[step * phase.global_batch : (step + 1) * phase.global_batch]
                mine = process_slice(whole, process_index, process_count)
                yield BatchSpec(phase.crop_px, plan[mine], scales[mine], samples[mine])
        first += phase.steps


def batches(
    specs: Iterator[BatchSpec], sources: Sequence[Source], *, parallel_batches: int, prefetch: int
) -> Iterator[dict[str, np.ndarray]]:
    """Reads, decodes and crops, on all cores.

    One thread a core takes crops, whichever batch they belong to; reading, decoding and resizing release the
    interpreter's lock. What a crop holds does not depend on its thread.

    Args:
      specs: what to read, in order.
      sources: what the rows' `source` indexes.
      parallel_batches: batches prepared at the same time.
      prefetch: finished batches kept ready.

    Yields:
      `image` uint8 [b, s, s, 3], `label` uint8 [b, s, s], `sample` int32 [b, 2].

    Raises:
      CsstError: an image or a label is damaged; names file and record.
    """
    cv2.setNumThreads(1)  # the crops are what runs in parallel
    pool = concurrent.futures.ThreadPoolExecutor(num_cores(), thread_name_prefix="crop")
    damaged: list[CsstError] = []
    signature = {
        "crop_px": tf.TensorSpec((), tf.int32),
        "source": tf.TensorSpec((None,), tf.int32),
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
                "source": spec.rows["source"],
                "record": spec.rows["record"],
                "centre": np.stack([spec.rows["y"], spec.rows["x"]], axis=1),
                "scale": spec.scales,
                "anywhere": spec.rows["klass"] < 0,
                "sample": spec.samples,
            }

    def crops(crop_px: np.ndarray, *rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = np.empty((len(rows[0]), crop_px, crop_px, 3), np.uint8)
        labels = np.empty((len(rows[0]), crop_px, crop_px), np.uint8)

        def one(i: int) -> None:
            source, record, centre, scale, anywhere = (column[i] for column in rows)
            chosen = sources[int(source)]
            try:
                image, label = chosen.pair_bytes(int(record))
                scaled_crop(
                    image, label, centre, float(scale), bool(anywhere), image_out=images[i], label_out=labels[i]
                )
            except CsstError as error:
                damaged.append(CsstError(f"{chosen.describe(int(record))}: {error}"))
                raise

        for _ in pool.map(one, range(len(images))):
            pass  # raises what a crop raised
        return images, labels

    def load(element: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        arguments = [element[name] for name in ("crop_px", "source", "record", "centre", "scale", "anywhere")]
        image, label = tf.numpy_function(crops, arguments, (tf.uint8, tf.uint8), stateful=False)
        return {"image": image, "label": label, "sample": element["sample"]}

    dataset = tf.data.Dataset.from_generator(elements, output_signature=signature)
    dataset = dataset.map(load, num_parallel_calls=parallel_batches, deterministic=True).prefetch(prefetch)
    options = tf.data.Options()
    options.threading.private_threadpool_size = max(2, parallel_batches)
    try:
        yield from dataset.with_options(options).as_numpy_iterator()
    except tf.errors.OpError as error:
        if damaged:  # TensorFlow tells a Python error as text, with the traceback in it
            raise damaged[0] from error
        raise
    finally:
        # TensorFlow keeps `crops`, and with it the pool, until the process ends.
        pool.shutdown(wait=False, cancel_futures=True)


def num_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
