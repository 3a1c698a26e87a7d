"""Lists of image ids as people publish them: ids, paths of images, or paths of an image and of its mask."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Collection, Iterable, Iterator

from csst_jax.types import CsstError
from csst_jax.user_files import same_name

_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".mat")
_CITYSCAPES = "_leftImg8bit"  # Cityscapes' ids are without it
_GAP = r"[\s,;]+"
_TWO_FILES = re.compile(rf"(.*?(?:{'|'.join(map(re.escape, _SUFFIXES))}))({_GAP})\S", re.IGNORECASE)
_MOST = 5


class IdList:
    """Finds the id that a line means.

    A line is an id, or the path of an image, with the path of its mask behind it or not. Without suffixes, the mask
    has the image's name, or this name with more behind `_`, `-` or `.`. Directories in front of an id may be left out
    of it (`JPEGImages/2007_000032.jpg`), as long as no other image can be meant: where ids have directories themselves,
    what is left must have one, too, and be the end of one id alone.
    """

    def __init__(self, ids: Iterable[str], labelled: Collection[str]) -> None:
        """Takes all ids that there are.

        Args:
          ids: of the data set, of every split; a line that means an image of another split must not mean a namesake.
          labelled: those that a list can choose.
        """
        named = [("/".join(_parts(same_name(image_id))), image_id) for image_id in ids]
        # Of names that differ by spaces at their ends a line means the one without.
        self._ids = dict(named) | {image_id: image_id for name, image_id in named if name == image_id}
        self._flat = not any("/" in image_id for image_id in labelled)
        self._ends: dict[str, int] = {}
        for name in self._ids:
            parts = name.split("/")
            for start in range(len(parts)):
                end = "/".join(parts[start:])
                self._ends[end] = self._ends.get(end, 0) + 1

    def find(self, lines: Iterable[str], where: str) -> set[str]:
        """The ids that lines mean; empty lines and those that begin with `#` mean none.

        Args:
          lines: of the list.
          where: the list, for messages.

        Raises:
          CsstError: lines that mean no image or more than one, or different lines that mean the same image.
        """
        found: dict[str, str] = {}
        unknown, twice = [], []
        for line in (same_name(line.strip()) for line in lines):
            if not line or (line.startswith("#") and line not in self._ids):
                continue
            image_id = self._of_line(line)
            if image_id is None:
                unknown.append(line)
            elif found.setdefault(image_id, line) != line:
                twice.append(f"{found[image_id]!r} and {line!r} are both {image_id!r}")
        if unknown:
            raise CsstError(
                f"{where}: {_count(unknown, 'line')} no image of the data set, or several: {_listed(unknown)}. Write "
                f"one id per line, for example {next(iter(self._ids.values()), 'x')!r}, as `dataset.json` has them."
            )
        if twice:
            raise CsstError(f"{where}: {_listed(twice)}. Write one id per line, each once.")
        return set(found)

    def _of_line(self, line: str) -> str | None:
        if line in self._ids:
            return self._ids[line]
        two_files = _TWO_FILES.match(line)
        if two_files is None and (whole := self._of_path(line)) is not None:
            return whole
        # Names may have spaces, so the rest must be the mask of the image: the image `photo (4)` may be missing.
        gaps = [two_files.span(2)] if two_files else [gap.span() for gap in re.finditer(_GAP, line)]
        for start, end in gaps:
            image = self._of_path(line[:start])
            if image is None:
                continue
            other = line[end:]
            any_name = two_files and other.lower().endswith(_SUFFIXES) and self._of_path(other) is None
            if any_name or self._is_mask_of(image, other):
                return image
        return None

    def _is_mask_of(self, image: str, text: str) -> bool:
        """Whether a path can be that of an image's mask: of no other image, and with the image's name."""
        other = self._of_path(text)
        if other is not None:
            return other == image
        name, own = _parts(text.replace("\\", "/"))[-1:], _parts(same_name(image))[-1]
        return bool(name) and re.fullmatch(rf"{re.escape(own)}([_.-]\S*)?", name[0]) is not None

    def _of_path(self, text: str) -> str | None:
        if text in self._ids:
            return self._ids[text]
        parts = _parts(text.replace("\\", "/"))
        for start in range(len(parts)):
            for name in _names("/".join(parts[start:])):
                if name not in self._ids:
                    continue
                left_out = start > 0
                if not left_out or (self._ends[name] == 1 and (self._flat or "/" in name)):
                    return self._ids[name]
        return None


def _parts(path: str) -> list[str]:
    """The names in a path, without the spaces around them that a line does not show."""
    return [part.strip() for part in path.split("/") if part.strip() not in ("", ".")]


def _names(path: str) -> Iterator[str]:
    yield path
    if pathlib.PurePosixPath(path).suffix.lower() in _SUFFIXES:
        path = path[: path.rindex(".")]
        yield path
    if path.endswith(_CITYSCAPES):
        yield path.removesuffix(_CITYSCAPES)


def _count(lines: Collection[str], word: str) -> str:
    return f"1 {word} means" if len(lines) == 1 else f"{len(lines)} {word}s mean"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST]) + (", …" if len(names) > _MOST else "")
