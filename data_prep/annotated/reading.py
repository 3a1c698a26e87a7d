"""Finds files of annotations, tells their format and reads them."""

from __future__ import annotations

import pathlib

from csst_jax.data.picture_file import Bad
from csst_jax.data.walk import LeftOut, walk
from csst_jax.types import CsstError
from csst_jax.user_files import shown
from data_prep.annotated import coco, cvat, label_studio, labelme
from data_prep.annotated.shapes import Annotations
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
            found.append((path, read_file(path).without_blanks()))
        except (UnknownFormat, cvat.OtherXml) as unknown:  # GDAL and others leave XML beside images
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
