"""Which images and videos `--input` means: a file, all that lie below a folder, or what a pattern matches."""

from __future__ import annotations

import dataclasses
import glob
import os
import pathlib
import re
from typing import TYPE_CHECKING

from csst_jax.data.picture_file import IMAGE_SUFFIXES
from csst_jax.data.readiness import listed
from csst_jax.data.walk import LeftOut, walk
from csst_jax.prediction.output_files import NAMES, is_output
from csst_jax.prediction.video import INSTALL, VIDEO_SUFFIXES, is_reader_there
from csst_jax.runtime.storage import is_remote
from csst_jax.types import CsstError
from csst_jax.user_files import same_name, shown, user_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

_SUFFIXES = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
_KINDS = " or ".join(_SUFFIXES)


@dataclasses.dataclass(frozen=True)
class Photo:
    """One image file, or one video.

    Attributes:
      path: where it lies.
      name: what its outputs are called: its place below the folder or pattern, without suffix, in composed Unicode.
    """

    path: pathlib.Path
    name: str

    @property
    def is_video(self) -> bool:
        """Whether it is a video."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def find_photos(given: Sequence[str], own: Collection[pathlib.Path], problems: list[str]) -> list[Photo]:
    """The images and videos that are meant, in order, each once; what is left out is counted and named on stderr.

    Outputs of an earlier command in a folder or pattern are left out.

    Args:
      given: files, folders and patterns (`photos/**/*.jpg`), as the user wrote them.
      own: outputs, files and directories, which are no inputs wherever they lie.
      problems: gets links and directories that cannot be followed, in sentences.

    Raises:
      CsstError: nothing is there, or nothing of it is an image; or two would write one output; or a video is given by
        name and nothing here reads it.
    """
    outputs = {path.resolve() for path in own}
    photos: dict[pathlib.Path, Photo] = {}
    for text in given:
        left_out = LeftOut()
        for path, name in _files(text, left_out, problems):
            real = path.resolve()
            if outputs & {real, *real.parents}:
                left_out.add(shown(name), "where this command writes its outputs")
            elif path != user_path(text) and _is_of_output(path, len(name.parts)):
                left_out.add(shown(name), "written by csst predict")
            elif path.suffix.lower() not in _SUFFIXES:
                left_out.add(shown(name), f"not {_KINDS}")
            elif not path.is_file():
                left_out.add(shown(name), "no file: a link to nowhere, or a pipe")
            elif path.suffix.lower() in VIDEO_SUFFIXES and not is_reader_there():
                if path == user_path(text):
                    raise CsstError(f"--input={text} is a video, which needs PyAV: {INSTALL}.")
                left_out.add(shown(name), f"a video, which needs PyAV: {INSTALL}")
            elif real in photos:
                left_out.add(shown(name), "given twice")
            else:
                photos[real] = Photo(path, same_name(name.with_suffix("").as_posix()))
        left_out.tell(f"--input={text}")
    if not photos:
        found = f" ({'; '.join(problems)})" if problems else ""
        raise CsstError(f"--input={' '.join(given)}: no {_KINDS} file is there{found}.")
    _require_own_names(photos.values())
    return list(photos.values())


def _is_of_output(path: pathlib.Path, depth: int) -> bool:
    """Whether one of the `depth` directories above a file has predictions, and the file is among them."""
    return any(path.relative_to(above).parts[0] in NAMES and is_output(above) for above in path.parents[:depth])


def _files(text: str, left_out: LeftOut, problems: list[str]) -> Iterator[tuple[pathlib.Path, pathlib.PurePath]]:
    """The files that one argument means, with their place below its folder."""
    if is_remote(text):
        raise CsstError(f"--input={text}: images are read from this machine's disks; copy them there first.")
    try:
        path = user_path(text)
    except CsstError as error:
        raise CsstError(f"--input={text}: {error}") from error
    try:
        is_directory, exists = path.is_dir(), path.exists()
    except OSError as error:  # a name that is too long
        raise CsstError(f"--input={text}: {error.strerror}; give a file, a folder or a pattern.") from error
    if is_directory:
        for file in walk(path, left_out, problems.append):
            yield file, file.relative_to(path)
    elif exists:
        yield path, pathlib.PurePath(path.name)
    elif glob.has_magic(text):
        yield from _matches(path, left_out)
    else:
        raise CsstError(f"--input={text}: there is no such file or folder; give one, or a pattern in quotation marks.")


def _matches(pattern: pathlib.Path, left_out: LeftOut) -> Iterator[tuple[pathlib.Path, pathlib.PurePath]]:
    """The files that a pattern matches; their place is below the folder at its beginning.

    A folder that exists is no pattern, though its name may have brackets.
    """
    fixed = next(part for part in pattern.parents if part.is_dir() or not glob.has_magic(os.fspath(part)))
    wanted = pathlib.Path(glob.escape(os.fspath(fixed)), pattern.relative_to(fixed))
    for match in sorted(glob.glob(os.fspath(wanted), recursive=True)):
        path = pathlib.Path(match)
        if path.is_dir():
            left_out.add(shown(path.relative_to(fixed)), "a folder; /** takes what lies below")
        else:
            yield path, path.relative_to(fixed)


def _require_own_names(photos: Iterable[Photo]) -> None:
    """Refuses two inputs that would write one output; the frames of a video have names as well, see `frame_of`."""
    first: dict[str, Photo] = {}
    twice: list[str] = []
    for photo in photos:
        if photo.name in first:
            twice.append(f"{shown(first[photo.name].path)} and {shown(photo.path)}")
        first.setdefault(photo.name, photo)
    for name, photo in first.items():
        folder, _, last = name.rpartition("/")
        if folder in first and first[folder].is_video and re.fullmatch("[0-9]{6,}", last):
            twice.append(f"{shown(first[folder].path)} and {shown(photo.path)}")
    if twice:
        raise CsstError(
            f"{len(twice)} images would write over another's outputs: {listed(twice)}. Rename them, or predict them "
            "with another --output."
        )
