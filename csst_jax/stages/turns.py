"""A round of self-training in its stages: what it takes over from the round before, and how far their labels differ."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from csst_jax import build
from csst_jax.data.stored.encoded import decode_label
from csst_jax.evaluation import agreement
from csst_jax.runtime.json_files import fingerprint, write_json
from csst_jax.runtime.patience import told
from csst_jax.settings import rounds
from csst_jax.streams import PSEUDO

if TYPE_CHECKING:
    from csst_jax.data.sampling import Images
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.settings.rounds import Round
    from csst_jax.settings.training import Training
    from csst_jax.stages.experiment import Experiment
    from csst_jax.stages.label import PseudoLabels

log = logging.getLogger(__name__)

CHANGE_FILE = "change.json"
"""In a round's pseudo labels: how they differ from those of the round before."""
_MOST_COMPARED = 1000  # images, evenly spaced in the pool


def in_round(this: Experiment, turn: Round) -> Experiment:
    """The run with the label stage's settings of a round."""
    if turn.total > 1:
        log.info("round %d of %d: %s, %s", turn.number, turn.total, turn.labels, turn.student)
    label = rounds.labelling(this.settings.label, turn)
    return dataclasses.replace(this, settings=dataclasses.replace(this.settings, label=label))


def images(this: Experiment, training: Training, pseudo: PseudoLabels | None) -> dict[str, Images]:
    """What a stage trains on, by origin: with pseudo labels the images that their round selected."""
    found = build.images(training, this.pool, pseudo.images if pseudo and PSEUDO in training.origins else None)
    if pseudo is not None and pseudo.records is not None and PSEUDO in found:
        found[PSEUDO] = dataclasses.replace(found[PSEUDO], records=pseudo.records)
    return found


def inputs(before: PseudoLabels | None) -> dict[str, Any]:
    """What decides a round's labels beside settings, teacher and images, for its request: labels that stay."""
    if before is None or before.records is None:
        return {}
    return {"kept_sha256": fingerprint([before.images[1].labels_sha256, list(before.records)])}


def compare(this: Experiment, turn: Round, before: PseudoLabels | None, now: PseudoLabels) -> None:
    """Says how a round's labels differ from those of the round before, and keeps it; of the first process alone."""
    path: StoragePath = this.workdir / turn.labels / CHANGE_FILE
    if before is None or path.exists() or jax.process_index():
        return
    with told(f"{turn.labels}: comparing with the labels of round {turn.number - 1}"):
        found = difference(before, now, this.description.classes)
    write_json(path, found)
    same = "none has a class in both" if found["agreement"] is None else f"{100 * found['agreement']:.1f} % agree"
    log.info(
        "%s: %.1f %% of the pixels have another label than in round %d; of those with a class in both %s (mean IoU "
        "%.1f %%); %.1f %% are void, %.1f %% before",
        turn.labels,
        100 * (found["changed"] or 0.0),
        turn.number - 1,
        same,
        100 * (found["miou"] or 0.0),
        100 * (found["void"]["now"] or 0.0),
        100 * (found["void"]["before"] or 0.0),
    )


def difference(before: PseudoLabels, now: PseudoLabels, classes: tuple[str, ...]) -> dict[str, Any]:
    """`csst_jax.evaluation.agreement.change` of the pool, with the number of `images` that were compared."""
    old, new = before.images[0], now.images[0]
    chosen = np.unique(np.linspace(0, len(new) - 1, min(len(new), _MOST_COMPARED)).round().astype(int))
    counts = np.zeros((len(classes) + 1,) * 2, np.int64)
    for position in chosen.tolist():
        first, second = (decode_label(labels.label_bytes(position)) for labels in (old, new))
        counts += agreement.counted(first, second, len(classes))
    return {"images": len(chosen), **agreement.change(counts, classes)}
