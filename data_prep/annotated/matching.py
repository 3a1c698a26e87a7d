"""Finds the image that an entry of annotations means."""

from __future__ import annotations

import collections
import pathlib
import re
from collections.abc import Mapping, Sequence

from csst_jax.data.picture_file import IMAGE_SUFFIXES, Bad
from csst_jax.data.readiness import listed
from csst_jax.user_files import same_name
from data_prep.annotated.shapes import Annotated
from data_prep.found_files import place


class Images:
    """Finds images by the paths that tools give them.

    An image is found by the path from the annotations' own directory, else by the end of its path: `photos/a.jpg`,
    `/data/upload/1/a.jpg` and `a.jpg` all mean the image `a`, as long as one image alone is called so. Where image and
    path have directories, the last one must be the same: frames of different videos are called alike.
    """

    def __init__(self, paths: Mapping[str, pathlib.Path]) -> None:
        """Takes the images by id."""
        self._by_path = {place(path): image_id for image_id, path in paths.items()}
        self._by_end: dict[str, list[str]] = collections.defaultdict(list)
        for image_id in paths:
            parts = image_id.split("/")
            for start in range(len(parts)):
                self._by_end["/".join(parts[start:])].append(image_id)
        self._by_uploaded: dict[str, list[str]] = collections.defaultdict(list)
        for image_id in paths:
            self._by_uploaded[_as_uploaded(image_id.split("/")[-1])].append(image_id)

    def find(self, annotated: Annotated, beside: pathlib.Path) -> str | None:
        """The id of the image; None where there is none.

        Args:
          annotated: the entry.
          beside: directory of its file.

        Raises:
          Bad: several images can be meant.
        """
        for name in annotated.names:
            if found := self._by_path.get(place(beside / name)):
                return found
        for name in annotated.names:
            parts = [part for part in same_name(_without_suffix(name)).split("/") if part not in ("", ".", "..")]
            for start in range(len(parts)):
                file_alone = start > 0 and start == len(parts) - 1
                meant = self._by_end.get("/".join(parts[start:]), [])
                meant = [image_id for image_id in meant if not (file_alone and "/" in image_id)]
                if meant:
                    return _only(meant, name, annotated)
        meant = self._by_uploaded.get(_as_uploaded(same_name(_without_suffix(annotated.uploaded))), [])
        return _only(meant, annotated.uploaded, annotated) if meant else None


def _only(meant: Sequence[str], name: str, annotated: Annotated) -> str:
    if len(meant) > 1:
        raise Bad(
            f"{annotated.where}: {name!r} can be {listed(meant)}. Put the annotations of each directory beside its "
            "images, or give the images different names."
        )
    return meant[0]


def _as_uploaded(name: str) -> str:
    """What Label Studio calls an uploaded file, as Django's `get_valid_filename` makes it."""
    return re.sub(r"[^-\w.]", "", name.lstrip().replace(" ", "_"))


def _without_suffix(name: str) -> str:
    name = name.replace("\\", "/")
    suffix = pathlib.PurePosixPath(name).suffix
    return name[: -len(suffix)] if suffix.lower() in IMAGE_SUFFIXES else name
