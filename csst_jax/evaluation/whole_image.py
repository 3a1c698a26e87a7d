"""Class maps and confidences of stored images, batch by batch, at original resolution."""

from __future__ import annotations

import copy
import dataclasses
import functools
import time
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from csst_jax.data.stored.encoded import decode_rgb
from csst_jax.evaluation.inference import make_labeller, make_predictor, require_sound
from csst_jax.evaluation.memory import advice, require_room
from csst_jax.platforms import traced_for
from csst_jax.runtime import durations
from csst_jax.runtime.interruptible import interruptible
from csst_jax.runtime.patience import told
from csst_jax.train.sharding import DATA, SPATIAL, make_mesh, replicated
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from csst_jax.data.store import Reader
    from csst_jax.models.nnx_io import Arrays, Network
    from csst_jax.models.preprocessing import Preprocessing

_MOST_PROGRAMS = 128  # of a predictor: on CPU, each takes about 20 MB, and photos can have many hundreds of sizes


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One image's prediction.

    Attributes:
      record: which image.
      image: uint8 [h, w, 3].
      classes: uint8 [h, w], the most probable class.
      confidence: float32 [h, w], its probability.
      runner_up: uint8 [h, w], the second most probable class; None where it was not asked for.
      runner_up_confidence: float32 [h, w], its probability; likewise.
      further: of the third class and so on, as many as were asked for: uint8 and float32 [h, w] in turn.
    """

    record: int
    image: np.ndarray
    classes: np.ndarray
    confidence: np.ndarray
    runner_up: np.ndarray | None = None
    runner_up_confidence: np.ndarray | None = None
    further: tuple[np.ndarray, ...] = ()

    def ranked(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """uint8 and float32 [k, h, w]: the k most probable classes and their probabilities, as far as asked for."""
        told = (self.classes, self.confidence, self.runner_up, self.runner_up_confidence, *self.further)
        known = [array for array in told[: 2 * k] if array is not None]
        return np.stack(known[::2]), np.stack(known[1::2])


@dataclasses.dataclass(frozen=True)
class Averaging:
    """Over what probabilities are averaged; see `make_predictor`.

    Attributes:
      scales: magnifications.
      flip: whether mirror images count as well.
      window_px: side of the network's input; 0 for whole images.
      window_overlap: share of a window that its neighbour sees as well.
      pad_px: images are padded at the right and at the bottom to a multiple of this, with the colour that preprocessing
        makes zero, so that images of many sizes share few programs, and batches; 1 for none.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window_px: int = 0
    window_overlap: float = 1 / 3
    pad_px: int = 1

    def __post_init__(self) -> None:
        require_sound(self.scales, self.window_px, self.window_overlap)
        if self.pad_px < 1:
            raise CsstError(f"pad_px={self.pad_px}: give a number of pixels, 1 for images as they are.")

    def plain(self) -> Averaging:
        """Images at their own size alone, and no mirror images."""
        return dataclasses.replace(self, scales=(1.0,), flip=False)


@dataclasses.dataclass(frozen=True)
class PredictProgram:
    """One compile unit of prediction: whole images of one size. Prediction and the plan both take it from here."""

    fn: Callable[..., tuple[jax.Array, ...]]
    in_shardings: tuple[Any, ...]
    out_shardings: Any
    abstract_args: tuple[Any, ...]

    def lower(self) -> jax.stages.Lowered:
        """Traces and lowers the prediction for its abstract arguments."""
        jitted = jax.jit(self.fn, in_shardings=self.in_shardings, out_shardings=self.out_shardings)
        return jitted.lower(*self.abstract_args)


def predict_program(
    network: Network,
    *,
    averaging: Averaging,
    preprocessing: Preprocessing,
    batch_size: int,
    image_size: tuple[int, ...],
    mesh: jax.sharding.Mesh,
    ranks: int = 1,
) -> PredictProgram:
    """What predicts a batch of images of one size.

    Args:
      network: the network.
      averaging: over what probabilities are averaged.
      preprocessing: what the network expects of its input.
      batch_size: images per step; rounded up to a multiple of the devices that share the batch.
      image_size: height and width in pixels; padded as `averaging` says.
      mesh: the devices. Those along `spatial` have the whole image, and share the rows of what the network makes of it
        (where they divide these: see `csst_jax.models.ops.rows`).
      ranks: how many of the most probable classes are returned.

    Returns:
      A function of (images uint8 [b, h, w, 3], params, batch_stats) that returns the most probable classes, uint8
      [b, h, w], and their probabilities, float32 [b, h, w], then those of the second ones, and so on.
    """

    def logits(images: jax.Array, params: Arrays, batch_stats: Arrays) -> jax.Array:
        images = jax.lax.with_sharding_constraint(images, jax.P(None, SPATIAL))
        with traced_for(mesh):
            return network.apply_eval(params, batch_stats, images)["logits"]

    options = dataclasses.asdict(averaging)
    pad_px = options.pop("pad_px")
    size = padded_size(image_size, pad_px)
    predict = make_labeller(make_predictor(logits, preprocessing, **options), mesh, ranks)
    images = jax.ShapeDtypeStruct((_multiple(batch_size, mesh.shape[DATA]), *size, 3), jnp.uint8)
    state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (network.params, network.batch_stats))
    by_batch = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(DATA))
    return PredictProgram(predict, (by_batch, replicated(mesh), replicated(mesh)), by_batch, (images, *state))


class WholeImagePredictor:
    """Predicts whole images on this process's own devices; nothing is exchanged with other processes.

    Attributes:
      compile_s: seconds that compiling has taken so far.
    """

    def __init__(
        self,
        network: Network,
        params: Arrays,
        batch_stats: Arrays,
        *,
        averaging: Averaging,
        preprocessing: Preprocessing,
        batch_size: int,
        spatial: int = 1,
        ranks: int = 1,
        window_key: str = "window_px",
    ):
        """Puts the network's state on the devices.

        Args:
          network: the network.
          params: its parameters.
          batch_stats: its running statistics.
          averaging: over what probabilities are averaged.
          preprocessing: what the network expects of its input.
          batch_size: images per step; rounded up to a multiple of the devices that share the batch.
          spatial: devices that share an image's rows.
          ranks: how many of the most probable classes predictions tell.
          window_key: what sets `averaging.window_px`, for messages.
        """
        mesh = make_mesh(jax.local_devices(), spatial)
        self._program = functools.partial(
            predict_program,
            network,
            averaging=averaging,
            preprocessing=preprocessing,
            batch_size=batch_size,
            mesh=mesh,
            ranks=ranks,
        )
        self._parameters = sum(np.size(value) for value in network.params.values())
        self._batch_size = _multiple(batch_size, mesh.shape[DATA])
        self._pad_px, self._fix = averaging.pad_px, advice(averaging.window_px, window_key)
        # BGR preprocessing has its mean in the order of its own channels.
        mean = np.asarray(preprocessing.mean[:: 1 if preprocessing.channels == "RGB" else -1])
        self._padding = (255 * mean / preprocessing.value_range).round().astype(np.uint8)
        self._replicated = replicated(mesh)
        self.take(params, batch_stats)
        self._compiled: dict[tuple[int, ...], tuple[Any, jax.sharding.Sharding]] = {}
        self.compile_s = 0.0

    def of_network(self, params: dict[str, Any], batch_stats: dict[str, Any]) -> WholeImagePredictor:
        """The same with other values of the network; both share their programs."""
        other = copy.copy(self)
        other.take(params, batch_stats)
        return other

    def take(self, params: dict[str, Any], batch_stats: dict[str, Any]) -> None:
        """Predicts with these values of the network from now on; programs stay. Empty ones free the devices' memory."""
        self._state = jax.device_put(jax.tree.map(np.asarray, (params, batch_stats)), self._replicated)

    def compile(self, size: tuple[int, int]) -> None:
        """Compiles the program for images of a size, (height, width), before it is needed.

        Raises:
          CsstError: the program takes more memory than there is.
        """
        self._for_size(padded_size(size, self._pad_px))

    def __call__(self, reader: Reader, records: Sequence[int]) -> Iterator[Prediction]:
        """Predictions in the order of `records`. Each image size, padded, is compiled once."""
        return self.of_images((record, decode_rgb(reader.image_bytes(record))) for record in records)

    def of_images(self, images: Iterable[tuple[int, np.ndarray]]) -> Iterator[Prediction]:
        """Predictions in the order in which images come; those of one size after another share batches and programs.

        SIGTERM and Ctrl-C are heard while a program is compiled, and while it runs.

        Args:
          images: the number that the prediction has as its record, and the image, uint8 RGB "h w 3".
        """
        batch: list[np.ndarray] = []
        waiting: list[int] = []
        for record, image in images:
            if batch and (len(batch) == self._batch_size or self._padded_size(image) != self._padded_size(batch[0])):
                yield from self._run(waiting, batch)
                batch, waiting = [], []
            batch.append(image)
            waiting.append(record)
        if batch:
            yield from self._run(waiting, batch)

    def _run(self, records: list[int], images: list[np.ndarray]) -> Iterator[Prediction]:
        size = self._padded_size(images[0])
        full = np.empty((self._batch_size, *size, 3), np.uint8)
        full[:] = self._padding
        # A short batch is filled up with its first image, so that it needs no program of its own.
        for row, image in zip(full, images + [images[0]] * (self._batch_size - len(images)), strict=True):
            row[: image.shape[0], : image.shape[1]] = image
        predict, layout = self._for_size(size)
        found = interruptible(lambda: jax.device_get(predict(jax.device_put(full, layout), *self._state)))
        for i, (record, image) in enumerate(zip(records, images, strict=True)):
            height, width, _ = image.shape
            classes, confidence, *more = (array[i, :height, :width] for array in found)
            second, its_confidence = more[:2] or (None, None)
            yield Prediction(record, image, classes, confidence, second, its_confidence, tuple(more[2:]))

    def _padded_size(self, image: np.ndarray) -> tuple[int, ...]:
        return padded_size(image.shape[:2], self._pad_px)

    def _for_size(self, size: tuple[int, ...]) -> tuple[Any, jax.sharding.Sharding]:
        """The compiled program for images of a size, and how it wants them laid out.

        Raises:
          CsstError: the program takes more memory than there is.
        """
        if size not in self._compiled:
            name = durations.key("predict", self._parameters, *size, self._batch_size)
            begin = time.perf_counter()
            what = f"the prediction of images of {size[1]} x {size[0]} px, {self._batch_size} at a time"
            with told(f"compiling {what}{durations.words(name)}"):
                program = self._program(image_size=size)
                compiled = interruptible(program.lower().compile)
            took = time.perf_counter() - begin
            durations.note(name, took)
            self.compile_s += took
            require_room(compiled, size, self._fix, jax.local_device_count())
            found = (compiled, program.in_shardings[0])
            if len(self._compiled) == _MOST_PROGRAMS:
                del self._compiled[next(iter(self._compiled))]
        else:
            found = self._compiled.pop(size)
        self._compiled[size] = found  # the last one is the one used last
        return found


def padded_size(size: tuple[int, ...], pad_px: int) -> tuple[int, ...]:
    """Height and width in pixels, each rounded up to a multiple of `pad_px`."""
    return tuple(_multiple(side, pad_px) for side in size)


def _multiple(value: int, of: int) -> int:
    return -(-value // of) * of
