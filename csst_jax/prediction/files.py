"""Predicts image files, those of one size after another, then videos, and writes what is asked for."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

from csst_jax.data import image_sizes
from csst_jax.data.picture_file import Bad, read_pixels, upright_size
from csst_jax.data.shrinking import smaller
from csst_jax.evaluation.memory import advice, memory_told
from csst_jax.prediction.ahead import ahead
from csst_jax.prediction.video import frames, num_frames
from csst_jax.prediction.written import frame_of
from csst_jax.types import CsstError
from csst_jax.user_files import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from csst_jax.evaluation.whole_image import Averaging, Prediction
    from csst_jax.prediction.inputs import Photo
    from csst_jax.prediction.loaded import Loaded
    from csst_jax.prediction.predicted import Predicted
    from csst_jax.prediction.shrinking import Predictor
    from csst_jax.prediction.written import Written

_THREADS = 2  # that read ahead, and as many that write behind
_SAY_EVERY_S = 5.0

Size = tuple[int, int]
"""Height and width in pixels; (0, 0) where a file's header does not tell."""


class Run:
    """One command's work.

    Attributes:
      failed: what is wrong with each image that was not predicted, in sentences.
      done: how many were.
    """

    def __init__(self, network: Loaded, averaging: Averaging, written: Written):
        """Predicts nothing yet.

        Args:
          network: the network.
          averaging: how it predicts.
          written: takes the outputs.
        """
        self.failed: list[str] = []
        self.done = 0
        self._network, self._averaging, self._written = network, averaging, written

    def predict(self, photos: Sequence[Photo]) -> None:
        """Predicts the images; what is wrong with one of them is told, and the others go on.

        Raises:
          CsstError: the network cannot predict any.
          OSError: the disk does not take the outputs.
        """
        predictor = self._network.predictor(self._averaging)
        if images := [photo for photo in photos if not photo.is_video]:
            self._predict_images(images, predictor)
        for video in photos:
            if video.is_video:
                self._predict_video(video, predictor)

    def _predict_images(self, photos: Sequence[Photo], predictor: Predictor) -> None:
        groups = self._by_size(photos)
        progress, before = _Progress(len(photos), predictor), len(self.failed)
        for size, group in groups.items():
            predictions = self._predictions(predictor, size, group)
            for line in ahead(lambda one: self._write(*one), predictions, _THREADS):
                if isinstance(line, Bad):
                    self._fail(line)
                else:
                    self._written.note(line)
                    self.done += 1
                progress.say(self.done + len(self.failed) - before)
        progress.end(self.done)

    def _predict_video(self, video: Photo, predictor: Predictor) -> None:
        """Its film appears when all of it is predicted; until then it counts as not done."""
        print(f"{shown(video.path)}", flush=True)
        said = num_frames(video.path)
        progress, count = _Progress(said, predictor, "frames"), 0
        times: dict[int, float] = {}

        def read() -> Iterator[tuple[int, np.ndarray]]:
            for number, (time_s, pixels) in enumerate(frames(video.path)):
                times[number] = time_s
                yield number, pixels

        def write(prediction: Prediction) -> tuple[dict[str, Any], np.ndarray]:
            predicted = self._network.shown(prediction)
            return self._written.write(frame_of(video, prediction.record), predicted), predicted.overlay()

        fix = advice(self._averaging.window_px)
        try:
            with self._written.film(video) or contextlib.nullcontext(_nothing) as add, memory_told("a frame", fix):
                for line, overlay in ahead(write, predictor.of_images(read()), _THREADS):
                    time_s = times.pop(count)
                    add(time_s, overlay)
                    self._written.note({**line, "time_s": round(time_s, 4)})
                    count += 1
                    progress.say(count)
        except (Bad, CsstError) as error:
            self._fail(error if isinstance(error, Bad) else Bad(f"{video.path}: {error}"))
            return
        if said > count:
            print(f"warning: {shown(video.path)}: {said} frames by its header, {count} in it", file=sys.stderr)
        self._written.note_video(video, count)
        self.done += 1
        progress.end(count)

    def _by_size(self, photos: Sequence[Photo]) -> dict[Size, list[Photo]]:
        """Images that share a program, in order of their names; says how many programs there will be."""
        pad_px = self._averaging.pad_px
        groups: dict[Size, list[Photo]] = {}
        sizes: list[Size] = []
        for photo, size in zip(photos, ahead(lambda photo: upright_size(photo.path), photos, _THREADS), strict=True):
            height, width = size = smaller(size, self._network.description.longest_side) if size else (0, 0)
            if height:
                sizes.append((width, height))
            groups.setdefault((-(-height // pad_px) * pad_px, -(-width // pad_px) * pad_px), []).append(photo)
        programs = len(image_sizes.padded(sizes, pad_px))
        print(f"images: {len(photos)}, sizes: {len(set(sizes))}, programs to compile: {programs}", flush=True)
        if programs > image_sizes.FEW and (fewer := image_sizes.fewer(sizes, pad_px)):
            print(f"--pad_px={fewer[0]} would make them {fewer[1]} (docs/predict.md)", flush=True)
        return groups

    def _predictions(
        self, predictor: Predictor, size: Size, group: Sequence[Photo]
    ) -> Iterator[tuple[Photo, Predicted]]:
        height, width = size
        seen: set[int] = set()
        try:
            with memory_told(f"an image of {width} x {height} px", advice(self._averaging.window_px)):
                for prediction in predictor.of_images(self._images(group, seen)):
                    seen.add(prediction.record)
                    yield group[prediction.record], self._network.shown(prediction)
        except CsstError as error:  # this size does not fit the memory; a smaller one may
            for number, photo in enumerate(group):
                if number not in seen:
                    self._fail(Bad(f"{photo.path}: {error}"))

    def _images(self, group: Sequence[Photo], seen: set[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The pixels of those images that can be read, with their places in the group; `seen` gets the others'."""
        for number, pixels in enumerate(ahead(_pixels, group, _THREADS)):
            if isinstance(pixels, Bad):
                seen.add(number)
                self._fail(pixels)
            else:
                yield number, pixels

    def _write(self, photo: Photo, predicted: Predicted) -> dict[str, Any] | Bad:
        try:
            return self._written.write(photo, predicted)
        except Bad as bad:
            return bad

    def _fail(self, bad: Bad) -> None:
        self.failed.append(str(bad))
        print(f"error: {shown(str(bad))}", file=sys.stderr, flush=True)


def _nothing(time_s: float, pixels: np.ndarray) -> None:
    """In place of a film that is not asked for."""


def _pixels(photo: Photo) -> np.ndarray | Bad:
    try:
        return read_pixels(photo.path)
    except Bad as bad:
        return bad


class _Progress:
    """Images a second and the time that is left, in which compiling is not counted."""

    def __init__(self, total: int, predictor: Predictor, things: str = "images"):
        """`total` is 0 if it is not known."""
        self._total, self._predictor, self._things = total, predictor, things
        self._begin = self._said = time.monotonic()
        self._compiled_before = predictor.compile_s

    def say(self, count: int) -> None:
        if count in (0, self._total) or time.monotonic() - self._said < _SAY_EVERY_S:
            return
        self._said, rate = time.monotonic(), self._rate(count)
        line = f"{count}{f' of {self._total}' if self._total else ''} {self._things}, {rate:.3g} {self._things}/s"
        if self._total > count:
            minutes, seconds = divmod(round((self._total - count) / rate), 60)
            line += f", left {minutes}:{seconds:02d}"
        print(line, flush=True)

    def end(self, count: int) -> None:
        seconds = time.monotonic() - self._begin
        compiling = self._predictor.compile_s - self._compiled_before
        rate = f", {self._rate(count):.3g} {self._things}/s" if count else ""
        print(f"{self._things}: {count} in {seconds:.1f} s{rate}, compiling {compiling:.1f} s", flush=True)

    def _rate(self, count: int) -> float:
        compiling = self._predictor.compile_s - self._compiled_before
        return count / max(time.monotonic() - self._begin - compiling, 1e-3)
