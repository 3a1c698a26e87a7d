"""Whether pseudo labels can work: told before the student trains, and kept for the report."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from csst_jax.data.statistics import class_statistics
from csst_jax.data.stored.encoded import decode_label
from csst_jax.evaluation.confusion import ConfusionMatrix
from csst_jax.runtime.json_files import read_json, write_json
from csst_jax.runtime.patience import told
from csst_jax.runtime.workdir import DONE_FILE, EVALUATION
from csst_jax.stages.while_training import DIRECTORY, SCORES_FILE
from csst_jax.types import IGNORE_LABEL

if TYPE_CHECKING:
    from csst_jax.stages.experiment import Experiment
    from csst_jax.stages.label import PseudoLabels

log = logging.getLogger(__name__)

QUALITY_FILE = "quality.json"
_HARDLY = 0.1
"""A class has few labels where its share of their pixels is this part of its share in the masks, or less."""
_MUCH_VOID, _WEAK = 0.5, 0.25
_MOST_CHECKED = 100


def tell(this: Experiment, pseudo: PseudoLabels, directory: Any, teacher: str = "teacher") -> None:
    """One warning where pseudo labels will not work, or a line that they may; of the first process alone.

    Args:
      this: the run.
      pseudo: what was labelled.
      directory: the label stage's; the findings are kept in it.
      teacher: directory of the network that labelled, below the workdir.
    """
    path = directory / QUALITY_FILE
    if path.exists():
        found = read_json(path)
    else:
        with told(f"{directory.name}: looking at the pseudo labels"):
            found = _findings(this, pseudo, read_json(directory / DONE_FILE), teacher)
        write_json(path, found)
    if found["warnings"]:
        log.warning("pseudo labels: %s", " ".join(found["warnings"]))
    else:
        log.info(
            "pseudo labels: every class of the masks is there; %.0f %% of the pixels are void", 100 * found["void"]
        )


def _findings(this: Experiment, pseudo: PseudoLabels, manifest: dict[str, Any], teacher: str) -> dict[str, Any]:
    """Shares of pixels by class, what hidden masks say, the teacher's score, and what to warn of."""
    labelled, index = pseudo.images
    classes = this.description.classes
    masks = class_statistics(this.pool.dataset.centroids(this.pool.split), this.pool.labelled).pixels
    labels = class_statistics(index, range(len(labelled))).pixels
    found: dict[str, Any] = {
        "masks_share": _shares(classes, masks),
        "labels_share": _shares(classes, labels),
        "void": manifest["ignored_share"],
        "teacher": _teacher(this.workdir / teacher),
    }
    if checked := _checked(this, pseudo):
        found["checked"] = checked
    return found | {"warnings": warnings(found, manifest["class_share"])}


def warnings(found: dict[str, Any], predicted: dict[str, float]) -> list[str]:
    """Sentences about what will not work; empty where nothing is odd.

    Args:
      found: `masks_share` and `labels_share` by class, `void`, and the `teacher`'s scores.
      predicted: shares of the pool's pixels by class, before any becomes void.
    """
    sentences = []
    shown = {name: share for name, share in found["masks_share"].items() if share}
    never = [name for name in shown if not predicted[name]]
    hardly = [name for name in shown if predicted[name] and found["labels_share"][name] <= _HARDLY * shown[name]]
    if never:
        sentences.append(f"The teacher never predicts {_listed(never)}, which the masks show.")
    if hardly:
        sentences.append(
            f"Few labels of {_listed(hardly)} are left: a tenth of their share in the masks, or less. The teacher "
            "predicts them rarely, or is too uncertain (label.confidence_threshold, label.class_portion)."
        )
    if found["void"] > _MUCH_VOID:
        sentences.append(f"{100 * found['void']:.0f} % of the pixels are void, so much of the pool teaches nothing.")
    if teacher := found["teacher"]:
        on = f"on {teacher['images']} image{'s' * (teacher['images'] != 1)}"
        best, others = _without_best(teacher.get("iou", {}))
        if teacher["miou"] < _WEAK:
            sentences.append(f"The teacher is weak: mIoU {100 * teacher['miou']:.0f} % {on}.")
        elif others is not None and others < _WEAK:
            sentences.append(f"The teacher is weak: mIoU {100 * others:.0f} % without {best}, its best class, {on}.")
    if never or hardly:
        sentences.append("The student learns such classes from the masks alone, and may forget them.")
    if sentences:
        sentences.append("Add masks that show what is missing, or train the teacher longer.")
    return sentences


def _without_best(iou: dict[str, float | None]) -> tuple[str, float | None]:
    """The class with the highest IoU, and the mean of the others; "" and None if there is no other.

    A network that sees background everywhere has an mIoU of nearly one half where there are two classes.
    """
    known = {name: value for name, value in iou.items() if value is not None}
    if len(known) < 2:
        return "", None
    best = max(known, key=lambda name: known[name])
    return best, (sum(known.values()) - known[best]) / (len(known) - 1)


def _listed(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _shares(classes: tuple[str, ...], pixels: np.ndarray) -> dict[str, float]:
    return dict(zip(classes, (pixels / max(int(pixels.sum()), 1)).tolist(), strict=True))


def _teacher(stage: Any) -> dict[str, Any] | None:
    """Its evaluation, or its last score while it trained."""
    evaluated = stage / EVALUATION / DONE_FILE
    if evaluated.exists():
        found = read_json(evaluated)
        return {key: found[key] for key in ("miou", "iou", "images")}
    watched = stage / DIRECTORY / SCORES_FILE
    found = read_json(watched) if watched.exists() else {}
    if not found.get("scores"):
        return None
    last = found["scores"][-1]
    return {"miou": last["miou"], "iou": last.get("iou", {}), "images": len(found["images"])}


def _checked(this: Experiment, pseudo: PseudoLabels) -> dict[str, Any] | None:
    """By masks of the pool that the run does not train on, if there are any: how many labels are right."""
    pool, classes = this.pool, this.description.classes
    ids, hidden = pool.ids(pool.unlabelled), set(pool.dataset.labelled_ids(pool.split))
    positions = [position for position, image_id in enumerate(ids) if image_id in hidden]
    if not positions:
        return None
    chosen = [positions[i] for i in np.linspace(0, len(positions) - 1, min(len(positions), _MOST_CHECKED)).astype(int)]
    counted, truth = ConfusionMatrix(classes), np.zeros(len(classes), np.int64)
    for position in chosen:
        label = decode_label(pseudo.images[0].label_bytes(position))
        mask = decode_label(pool.reader.label_bytes(pool.unlabelled[position]))
        truth += np.bincount(mask[mask != IGNORE_LABEL], minlength=len(classes))[: len(classes)]
        counted.update(np.where(label == IGNORE_LABEL, IGNORE_LABEL, mask)[None], label[None])
    right, given = np.diag(counted.matrix), counted.matrix.sum(0)
    return {
        "images": len(chosen),
        "accuracy": float(right.sum()) / max(int(given.sum()), 1),
        "precision": _ratios(classes, right, given),
        "recall": _ratios(classes, right, truth),
    }


def _ratios(classes: tuple[str, ...], part: np.ndarray, whole: np.ndarray) -> dict[str, float | None]:
    return {name: float(p / w) if w else None for name, p, w in zip(classes, part, whole, strict=True)}
