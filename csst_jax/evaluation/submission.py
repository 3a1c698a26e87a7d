"""What test servers want: predictions under the official numbers and names, in one archive; and a check of that.

Sources: Cityscapes: cityscapesScripts' evalPixelLevelSemanticLabeling.py (names, labelIds). PASCAL VOC: the development
kit of VOC2012, §5.3 and §8 (indexed PNGs, results/VOC2012/Segmentation). BDD100K: doc.bdd100k.com, Semantic
Segmentation (a folder of masks, trainIds). Mapillary: mapillary_vistas/tools/evaluation.py (names as the images').
"""

from __future__ import annotations

import dataclasses
import io
import pathlib
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from csst_jax.data.descriptions import BDD100K, CITYSCAPES, VOC2012, voc_colour
from csst_jax.runtime.storage import replacing
from csst_jax.types import CsstError, DatasetDescription

_SHOWN = 5  # names in a message


@dataclasses.dataclass(frozen=True)
class Format:
    """What one server wants.

    Attributes:
      description: the classes, and their official numbers; None for the data set's own.
      folder: inside the archive, with a slash at its end.
      suffix: of the archive: ".zip" or ".tar.gz".
      numbers: what the official numbers are, for messages.
      indexed: whether PNGs have PASCAL VOC's palette; otherwise they are grey.
      id_pattern: that image ids must match, or the server does not find them.
      longer_names: whether names may go on after the image's id.
    """

    description: DatasetDescription | None
    folder: str
    suffix: str
    numbers: str
    indexed: bool = False
    id_pattern: str = ".+"
    longer_names: bool = False

    def ids(self, data: DatasetDescription) -> tuple[int, ...]:
        """The official number of each of the data set's classes.

        Raises:
          CsstError: the data set has other classes than the server.
        """
        wanted = self.description or data
        if [name.lower() for name in data.classes] != [name.lower() for name in wanted.classes]:
            raise CsstError(
                f"data set {data.name!r} does not have the classes of {wanted.name!r} in their order "
                f"({', '.join(wanted.classes)}); a submission needs a network that was trained on them."
            )
        return wanted.official_ids or tuple(range(len(wanted.classes)))


def _voc(competition: str) -> Format:
    folder = f"results/VOC2012/Segmentation/{competition}_test_cls/"
    return Format(VOC2012, folder, ".tar.gz", "0 for background and 1 to 20 for the objects", indexed=True)


FORMATS = {
    "cityscapes": Format(
        CITYSCAPES,
        "",
        ".zip",
        "labelIds (road is 7, bicycle 33), not trainIds",
        id_pattern=r"[a-z-]+_\d{6}_\d{6}",
        longer_names=True,
    ),
    "voc_comp5": _voc("comp5"),
    "voc_comp6": _voc("comp6"),
    "bdd100k": Format(BDD100K, "", ".zip", "trainIds (road is 0, bicycle 18), not labelIds"),
    "mapillary": Format(None, "", ".zip", "positions in the labels of its config file"),
}
"""By name. VOC's comp5 is for networks that saw VOC's data alone, comp6 for all others (ImageNet counts)."""


def find(name: str) -> Format:
    """The format of a name.

    Raises:
      CsstError: there is none; lists the known ones.
    """
    if name not in FORMATS:
        raise CsstError(f"unknown submission format {name!r}; known are: {', '.join(FORMATS)}.")
    return FORMATS[name]


def write_image(
    directory: pathlib.Path,
    file_format: Format,
    data: DatasetDescription,
    image_id: str,
    classes: UInt8[np.ndarray, "h w"],
) -> None:
    """Writes one prediction below `directory`, where the archive will have it.

    Raises:
      CsstError: the data set's classes or the image's id are not the server's.
    """
    if not re.fullmatch(file_format.id_pattern, image_id):
        raise CsstError(f"image id {image_id!r} is not what the server looks for ({file_format.id_pattern}).")
    official = np.array(file_format.ids(data), np.uint8)[classes]
    image = Image.fromarray(official)
    if file_format.indexed:
        image.putpalette([channel for index in range(256) for channel in voc_colour(index)])
    with replacing(directory / file_format.folder / f"{image_id}.png") as temporary:
        image.save(temporary, format="PNG")


def pack(directory: pathlib.Path, file_format: Format, archive: pathlib.Path, ids: Sequence[str]) -> None:
    """Puts the predictions of the images `ids` into one archive, which appears only when complete."""
    names = [f"{file_format.folder}{image_id}.png" for image_id in ids]
    with replacing(archive) as temporary:
        if file_format.suffix == ".zip":
            with zipfile.ZipFile(temporary, "w") as target:  # PNGs are compressed already
                for name in names:
                    target.write(directory / name, name)
        else:
            with tarfile.open(temporary, "w:gz") as tar:
                for name in names:
                    tar.add(directory / name, name)


def require_fit(
    archive: pathlib.Path, file_format: Format, data: DatasetDescription, sizes: Mapping[str, tuple[int, int]]
) -> None:
    """Refuses an archive that the server would refuse, or score near zero.

    Args:
      archive: the file.
      file_format: its format.
      data: classes of the data set.
      sizes: height and width of every image that the server scores, by id.

    Raises:
      CsstError: lists what is wrong: names, missing and surplus images, their kind, size and values.
    """
    wrong: dict[str, list[str]] = {}
    official = set(file_format.ids(data))
    found: set[str] = set()
    for name, content in _members(archive):
        image_id = _image_id(name, file_format, sizes)
        if image_id is None:
            wrong.setdefault("files that belong to no image, or lie in another folder", []).append(name)
        elif image_id in found:
            wrong.setdefault("second predictions of an image", []).append(name)
        else:
            found.add(image_id)
            problem = _problem(content, file_format, official, sizes[image_id])
            if problem:
                wrong.setdefault(problem[0], []).append(f"{name} ({problem[1]})")
    if missing := sorted(set(sizes) - found):
        wrong["images without a prediction"] = missing
    if wrong:
        lines = [
            f"  {len(names)} {what}: {', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"
            for what, names in wrong.items()
        ]
        raise CsstError("\n".join([f"{archive} cannot be submitted as it is:", *lines]))


def _members(archive: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as source:
                for info in source.infolist():
                    if not info.is_dir():
                        yield info.filename, source.read(info)
        else:
            with tarfile.open(archive, "r:*") as tar:
                for member in tar:
                    if (file := tar.extractfile(member)) is not None:
                        yield member.name.removeprefix("./"), file.read()
    except Exception as error:  # damaged, encrypted or odd archives can make the readers raise anything
        raise CsstError(f"{archive}: no readable zip or tar ({error}). Pack the predictions again.") from error


def _image_id(name: str, file_format: Format, known: Mapping[str, Any]) -> str | None:
    """The image that a file is a prediction of."""
    path = pathlib.PurePosixPath(name)
    if file_format.longer_names:  # Cityscapes looks in all folders for the beginning of a name
        begin = re.match(file_format.id_pattern, path.name)
        stem = begin.group() if begin else ""
    else:
        stem = path.stem if name == f"{file_format.folder}{path.stem}.png" else ""
    return stem if path.suffix == ".png" and stem in known else None


def _problem(content: bytes, file_format: Format, official: set[int], size: tuple[int, int]) -> tuple[str, str] | None:
    """What is wrong with one file, and the particulars."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            mode, values = image.mode, np.asarray(image)
    except Exception as error:  # a damaged or odd file can make Pillow raise anything
        return "files that are no readable PNG", str(error)
    if mode != "P" and (file_format.indexed or mode != "L"):
        kind = "indexed PNGs of 8 bits (a palette)" if file_format.indexed else "PNGs with one channel of 8 bits"
        return f"files that are not {kind}", f"mode {mode}"
    if values.shape != size:
        return "predictions of another size than their image", f"{values.shape[0]}x{values.shape[1]}, not {size}"
    strange = sorted(set(np.unique(values).tolist()) - official)
    if strange:
        some = ", ".join(map(str, strange[:_SHOWN]))
        return f"predictions with numbers of no class; the server wants {file_format.numbers}", some
    return None
