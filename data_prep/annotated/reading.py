"""Finds files of annotations, tells their format, reads them, and finds the image that each entry means."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Mapping

from csst_jax.data.picture_file import IMAGE_SUFFIXES
from csst_jax.data.readiness import listed
from csst_jax.data.walk import LeftOut, walk
from csst_jax.types import CsstError
from csst_jax.user_files import same_name, shown
from data_prep.annotated import coco, cvat, label_studio, labelme
from data_prep.annotated.shapes import Annotated, Annotations, Bad
from data_prep.annotated.values import Value
from data_prep.problems import Problems

KNOWN = (
    "COCO (JSON, instance segmentation; Roboflow's too), LabelMe (JSON), CVAT (XML, 'CVAT for images 1.1') and Label "
    "Studio (JSON)"
)


class UnknownFormat(Bad):
    """A file of something else."""

    def __init__(self, path: pathlib.Path):
        """`path` is the file."""
        super().__init__(f"{path}: of no known format. Known are {KNOWN}.")


def read_file(path: pathlib.Path) -> Annotations:
    """What a file of one of the formats holds.

    Raises:
      Bad: it is damaged or of no known format.
    """
    suffix = path.suffix.lower()
    if suffix == ".zip":
        raise Bad(f"{path}: an archive. Unpack it and give the directory.")
    if suffix == ".xml":
        return cvat.read(path)
    content = Value.of_file(path)
    if coco.is_it(content):
        return coco.read(content)
    if labelme.is_it(content):
        return labelme.read(content, path)
    if label_studio.is_it(content):
        return label_studio.read(content)
    raise UnknownFormat(path)


def read_all(given: pathlib.Path, problems: Problems) -> list[tuple[pathlib.Path, Annotations]]:
    """The files that --annotations names: one, or all .json and .xml files below a directory.

    Args:
      given: the file or directory.
      problems: gets what is wrong with each file.

    Raises:
      CsstError: there is none, or something is wrong with some.
    """
    left_out = LeftOut()
    if given.is_dir():
        every = walk(given, left_out, problems.add)
        files = [path for path in every if path.suffix.lower() in (".json", ".xml")]
    elif given.is_file():
        files = [given]
    else:
        raise CsstError(f"--annotations={given}: there is no such file or directory.")
    if not files:
        raise CsstError(f"--annotations={given} holds no .json or .xml file. Known are {KNOWN}.")
    found = []
    for path in files:
        try:
            found.append((path, read_file(path)))
        except UnknownFormat as unknown:
            if given.is_file():
                raise CsstError(str(unknown)) from unknown
            left_out.add(shown(path.relative_to(given)), "of no known format of annotations")
        except Bad as bad:
            problems.add(str(bad))
    left_out.tell(f"--annotations={given}")
    problems.raise_if_any()
    if not found:
        raise CsstError(f"--annotations={given}: no file is of a known format. Known are {KNOWN}.")
    return found


class Images:
    """Finds images by the paths that tools give them.

    An image is found by the path from the annotations' own directory, else by the end of its path: `photos/a.jpg`,
    `/data/upload/1/a.jpg` and `a.jpg` all mean the image `a`, as long as one image alone is called so.
    """

    def __init__(self, paths: Mapping[str, pathlib.Path]) -> None:
        """Takes the images by id."""
        self._by_path = {path.resolve(): image_id for image_id, path in paths.items()}
        self._by_end: dict[str, list[str]] = collections.defaultdict(list)
        for image_id in paths:
            parts = image_id.split("/")
            for start in range(len(parts)):
                self._by_end["/".join(parts[start:])].append(image_id)

    def find(self, annotated: Annotated, beside: pathlib.Path) -> str | None:
        """The id of the image; None where there is none.

        Args:
          annotated: the entry.
          beside: directory of its file.

        Raises:
          Bad: several images can be meant.
        """
        for name in annotated.names:
            if found := self._by_path.get((beside / name).resolve()):
                return found
        for name in annotated.names:
            parts = [part for part in same_name(_without_suffix(name)).split("/") if part not in ("", ".", "..")]
            for start in range(len(parts)):
                meant = self._by_end.get("/".join(parts[start:]), [])
                if len(meant) == 1:
                    return meant[0]
                if meant:
                    raise Bad(
                        f"{annotated.where}: {name!r} can be {listed(meant)}. Put the annotations of each directory "
                        "beside its images, or give the images different names."
                    )
        return None


def _without_suffix(name: str) -> str:
    name = name.replace("\\", "/")
    suffix = pathlib.PurePosixPath(name).suffix
    return name[: -len(suffix)] if suffix.lower() in IMAGE_SUFFIXES else name
