"""A directory of predictions: what is in it by now, what is left to do, and the refusal to mix two networks' outputs.

`prediction.json` says what predicted, and is written first. `images.jsonl` has a line for each image whose pictures are
all written: its file, its size, the area of each class. So an interrupted command goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from csst_jax.data.picture_file import Bad
from csst_jax.data.readiness import listed
from csst_jax.prediction.inputs import Photo
from csst_jax.prediction.kinds import KINDS, LARGEST_JPEG_PX
from csst_jax.prediction.output_files import IMAGES_FILE, REQUEST_FILE
from csst_jax.prediction.video import FILM_SUFFIX, film
from csst_jax.runtime.json_files import differences, read_json, write_json
from csst_jax.runtime.storage import replacing
from csst_jax.types import CsstError
from csst_jax.user_files import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from csst_jax.evaluation.whole_image import Averaging
    from csst_jax.prediction.loaded import Loaded
    from csst_jax.prediction.predicted import Predicted

_FIX = "Delete it, and give --overwrite, to predict all images again."


def request(network: Loaded, averaging: Averaging) -> dict[str, Any]:
    """What decides what is predicted, as JSON has it: weights, how probabilities are averaged, names and colours."""
    weights, (names, palette) = network.description.weights_sha256, network.shown_as
    classes = [
        {"number": number, "name": name, "colour": list(colour)}
        for number, (name, colour) in enumerate(zip(names, palette, strict=True))
    ]
    averaged = dataclasses.asdict(averaging)
    return {"network": network.description.network, "weights_sha256": weights, **averaged, "classes": classes}


class Written:
    """The outputs of one command."""

    def __init__(self, directory: pathlib.Path, kinds: Sequence[str], request: Mapping[str, Any], overwrite: bool):
        """Opens what is there.

        Args:
          directory: `--output`.
          kinds: names in `KINDS`.
          request: what decides what is predicted, as JSON has it; recorded with the directory.
          overwrite: whether what is there gives way.

        Raises:
          CsstError: the directory has predictions of another request, and they do not give way.
        """
        self.directory, self.kinds = directory, kinds
        self._request: dict[str, Any] = json.loads(json.dumps(request))
        self._overwrite = overwrite
        self._known: dict[str, dict[str, Any]] = {}
        path = directory / REQUEST_FILE
        self._claimed = path.is_file()
        if self._claimed and not overwrite:
            if differing := differences(read_json(path, _FIX), self._request):
                raise CsstError(
                    f"--output={directory} has predictions made with other weights or settings "
                    f"({', '.join(differing)}). Give another --output, or --overwrite."
                )
            self._known = _read_lines(directory / IMAGES_FILE)

    def left(self, photos: Sequence[Photo]) -> list[Photo]:
        """The images that are not predicted yet, or whose file has changed since.

        Raises:
          CsstError: outputs that are there, and do not give way, are of other images or of no request that is known.
        """
        if self._overwrite:
            return list(photos)
        others = [photo for photo in photos if self._is_of_another(photo)]
        if others:
            made, fix = "by another program", "because --overwrite would replace them"
            if self._claimed:
                made, fix = "of other files", "or --overwrite"
            raise CsstError(
                f"--output={self.directory} has outputs of {len(others)} of these names already, made {made}: "
                f"{listed(shown(photo.name) for photo in others)}. Give another --output, {fix}."
            )
        return [photo for photo in photos if not self._is_done(photo)]

    def begin(self) -> None:
        """Records the request; with `overwrite` forgets earlier images, and removes pictures of another request."""
        images = self.directory / IMAGES_FILE
        if self._overwrite:
            self._drop_another()
            images.unlink(missing_ok=True)
        write_json(self.directory / REQUEST_FILE, self._request)
        if not self._overwrite:  # without a line that was cut off
            _write_lines(images, self._known.values())

    def write(self, photo: Photo, predicted: Predicted) -> dict[str, Any]:
        """Writes the pictures of an image, each whole or not at all; returns its line for `note`.

        Of a frame of a video, whose overlay is one of `film`, the others.

        Raises:
          Bad: a picture of this image cannot be written, others can.
        """
        try:
            stamp = _stamp(photo)
            self._drop_outdated(photo, stamp)
            for kind in self._kinds(photo):
                options = KINDS[kind].options
                if options["format"] == "JPEG" and max(predicted.classes.shape) > LARGEST_JPEG_PX:
                    raise Bad(
                        f"{photo.path}: the {kind} is a JPEG file, of at most {LARGEST_JPEG_PX} px a side; leave it "
                        "out with --write, or cut the image into parts."
                    )
                picture = KINDS[kind].draw(predicted)
                with replacing(self._picture(kind, photo)) as made:
                    picture.save(made, **options)
        except OSError as error:
            if error.errno not in (errno.ENAMETOOLONG, errno.ENOENT):
                raise
            fix = "is the image still there?" if error.errno == errno.ENOENT else "give the image a shorter name."
            raise Bad(f"{photo.path}: {shown(error.filename or '')}: {error.strerror}; {fix}") from error
        return {
            "name": photo.name,
            **stamp,
            "width": predicted.classes.shape[1],
            "height": predicted.classes.shape[0],
            "mean_confidence": round(float(predicted.confidence.mean(dtype=np.float64)), 4),
            "areas": predicted.areas(),
        }

    def note(self, line: Mapping[str, Any]) -> None:
        """Records that an image is done."""
        with open(self.directory / IMAGES_FILE, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def end(self) -> None:
        """Leaves one line for each image, the newest: those that are predicted again were told of before."""
        path = self.directory / IMAGES_FILE
        if path.is_file():
            _write_lines(path, _read_lines(path).values())

    def film(self, video: Photo) -> contextlib.AbstractContextManager[Callable[[float, np.ndarray], None]] | None:
        """Takes the overlays of a video's frames; None if they are not asked for. See `video.film`."""
        return film(self._picture("overlay", video)) if "overlay" in self.kinds else None

    def note_video(self, video: Photo, num_frames: int) -> None:
        """Records that a video is done, frames and film; pictures of frames that an earlier state of it had go."""
        stamp = _stamp(video)
        self._drop_outdated(video, stamp)
        for number in itertools.count(num_frames):
            more = [self._picture(kind, frame_of(video, number)) for kind in KINDS]
            if not any(path.is_file() for path in more):
                break
            for path in more:
                path.unlink(missing_ok=True)
        self.note({"name": video.name, **stamp, "frames": num_frames})

    def _drop_outdated(self, photo: Photo, stamp: Mapping[str, Any]) -> None:
        """Removes pictures of kinds that are not written now, if they are of another state of the file or request."""
        if not stamp.items() <= self._known.get(photo.name, {}).items():
            for kind in KINDS.keys() - set(self.kinds):
                self._picture(kind, photo).unlink(missing_ok=True)

    def _drop_another(self) -> None:
        """Removes the pictures that `images.jsonl` tells of, if another request made them."""
        with contextlib.suppress(CsstError):  # damaged files give way as well
            if not self._claimed or not differences(read_json(self.directory / REQUEST_FILE), self._request):
                return
            for name, line in _read_lines(self.directory / IMAGES_FILE).items():
                for kind in KINDS:
                    self._picture(kind, Photo(pathlib.Path(line["file"]), name)).unlink(missing_ok=True)

    def _kinds(self, photo: Photo) -> list[str]:
        """The kinds of pictures of an image, or of a video's frame."""
        return [kind for kind in self.kinds if not (photo.is_video and kind == "overlay")]

    def _picture(self, kind: str, photo: Photo) -> pathlib.Path:
        is_film = kind == "overlay" and photo.is_video
        return self.directory / kind / f"{photo.name}{FILM_SUFFIX if is_film else KINDS[kind].suffix}"

    def _pictures(self, photo: Photo, known: Mapping[str, Any]) -> list[pathlib.Path]:
        """All that is written of an image, or of a video that is done."""
        if not photo.is_video:
            return [self._picture(kind, photo) for kind in self.kinds]
        frames = [frame_of(photo, number) for number in range(known.get("frames", 0))]
        films = [self._picture("overlay", photo)] if "overlay" in self.kinds else []
        return films + [self._picture(kind, frame) for kind in self._kinds(photo) for frame in frames]

    def _is_of_another(self, photo: Photo) -> bool:
        if photo.name in self._known:
            return self._known[photo.name]["file"] != os.fspath(photo.path.absolute())
        pictures = self._pictures(photo, {"frames": 1})
        return not self._claimed and any(os.path.lexists(path) for path in pictures)

    def _is_done(self, photo: Photo) -> bool:
        known = self._known.get(photo.name)
        if known is None or not all(path.is_file() for path in self._pictures(photo, known)):
            return False
        with contextlib.suppress(OSError):  # who reads it will tell
            return _stamp(photo).items() <= known.items()
        return False


def frame_of(video: Photo, number: int) -> Photo:
    """A frame of a video, as an image of its own below the video's name."""
    return Photo(video.path, f"{video.name}/{number:06d}")


def _stamp(photo: Photo) -> dict[str, Any]:
    """What tells whether an image's file has changed."""
    stat = photo.path.stat()
    return {"file": os.fspath(photo.path.absolute()), "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _read_lines(path: pathlib.Path) -> dict[str, dict[str, Any]]:
    """The images that are done, by name; a last line that was cut off is of one that is not.

    Frames that a video had in an earlier state, behind its end now, are left out.
    """
    if not path.is_file():
        return {}
    found: dict[str, dict[str, Any]] = {}
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            image = json.loads(line)
            found[image["name"]] = image | {"file": str(image["file"])}
        except (ValueError, TypeError, KeyError) as error:
            raise CsstError(f"{path}: line {number} is damaged ({error!r}). {_FIX}") from error
    return {name: image for name, image in found.items() if not _is_behind_the_end(name, found)}


def _is_behind_the_end(name: str, images: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether this is a frame of a video that is done and has fewer frames."""
    video, _, number = name.rpartition("/")
    count = images.get(video, {}).get("frames")
    return count is not None and number.isdecimal() and int(number) >= count


def _write_lines(path: pathlib.Path, lines: Collection[Mapping[str, Any]]) -> None:
    with replacing(path) as made, open(made, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
