"""The tasks of `benchmarks.recipe`: which CamVid images have masks, which are the pool, and which are judged.

A and C are judged on `val`, as papers do. Its images continue the drive that gives most of the masks: near-duplicates
of labelled frames. B is the case of a user whose masks come from some places and whose pictures come from everywhere:
masks from two drives, the pool from all three, judged on the second half of the third.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from csst_jax.types import CsstError
from data_prep import camvid

if TYPE_CHECKING:
    from collections.abc import Sequence

DRIVES = ("0016E5", "0006R0", "0001TP")
_SPLITS = pathlib.Path(__file__).resolve().parent.parent / "data_prep" / "splits" / "camvid"


@dataclasses.dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
      data: name of its data directory.
      masks: how many images have masks.
      judged: a drive whose second half is judged; empty for CamVid's `val`.
    """

    data: str
    masks: int
    judged: str = ""


TASKS = {
    "A-46": Task("val", 46),
    "C-23": Task("val", 23),
    "C-12": Task("val", 12),
    **{f"B-{drive}": Task(drive, 46, drive) for drive in DRIVES},
}


def prepare(source_dir: pathlib.Path, data_dir: pathlib.Path) -> None:
    """Writes `data_dir/<task's data>`, and `data_dir/<task>.txt` with the ids of its masks.

    Args:
      source_dir: CamVid in the SegNet tutorial's layout.
      data_dir: where to.

    Raises:
      CsstError: a list or an image is missing.
    """
    lists = {split: _listed(source_dir / f"{split}.txt") for split in ("train", "val")}
    data_dir.mkdir(parents=True, exist_ok=True)
    for name, task in TASKS.items():
        train, judged = divided(lists["train"], lists["val"], task.judged)
        ids = masks(train, task)
        (data_dir / f"{name}.txt").write_text("".join(f"{image_id}\n" for image_id in ids), encoding="utf-8")
        if (data_dir / task.data).exists():
            continue
        with tempfile.TemporaryDirectory(dir=data_dir) as temporary:
            _copy(source_dir, pathlib.Path(temporary) / "source", {"train": train, "val": judged})
            written = pathlib.Path(temporary) / task.data
            camvid.main([f"--source_dir={temporary}/source", f"--data_dir={written}"])
            written.rename(data_dir / task.data)


def divided(train: Sequence[str], val: Sequence[str], judged: str) -> tuple[list[str], list[str]]:
    """(training, judged) image paths: CamVid's own, or with the second half of a drive's training images judged."""
    if not judged:
        return list(train), list(val)
    drive = sorted(path for path in train if drive_of(path) == judged)
    later = set(drive[len(drive) // 2 :])
    return [path for path in train if path not in later], sorted(later)


def masks(train: Sequence[str], task: Task) -> list[str]:
    """Ids of the images with masks: the published 1/8 and 1/16, every other one of the latter, or spread evenly."""
    if not task.judged:
        listed = (_SPLITS / ("1_8.txt" if task.masks == 46 else "1_16.txt")).read_text(encoding="utf-8").splitlines()
        ids = [line.strip() for line in listed if line.strip() and not line.startswith("#")]
        return ids if len(ids) == task.masks else ids[::2]
    others = sorted(pathlib.PurePath(path).stem for path in train if drive_of(path) != task.judged)
    return [others[i] for i in np.linspace(0, len(others) - 1, task.masks).round().astype(int)]


def drive_of(path: str) -> str:
    """The drive that an image is of."""
    return pathlib.PurePath(path).name.partition("_")[0]


def _listed(path: pathlib.Path) -> list[str]:
    """`split/name.png` of each line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise CsstError(f"cannot read {path} ({error}); give CamVid in the SegNet tutorial's layout.") from error
    return ["/".join(line.split()[0].split("/")[-2:]) for line in lines if line.strip()]


def _copy(source_dir: pathlib.Path, to: pathlib.Path, wanted: dict[str, list[str]]) -> None:
    for split, paths in wanted.items():
        rows = []
        for path in paths:
            folder, file = path.split("/")
            for kind in ("", "annot"):
                (to / f"{split}{kind}").mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source_dir / f"{folder}{kind}" / file, to / f"{split}{kind}" / file)
            rows.append(f"x/{split}/{file} x/{split}annot/{file}\n")
        (to / f"{split}.txt").write_text("".join(rows), encoding="utf-8")
