"""What a run's networks see in its images, and which of the unlabelled ones a mask would help most."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from csst_jax.data.stored.encoded import decode_rgb
from csst_jax.runtime.patience import told
from csst_jax.suggestion import ranking
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from csst_jax.data.selection import Selection
    from csst_jax.stages.model_file import Trained
    from csst_jax.suggestion.look import Looker


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """An unlabelled image that is worth a mask.

    Attributes:
      record: of the pool.
      id: of the image.
      uncertainty: mean entropy of the class probabilities over its pixels, from 0 to 1.
      disagreement: share of its pixels that teacher and student see as different classes; None with one network.
      distance: how unlike it is to the labelled images and to those that are suggested before it, see `ranking.Choice`.
    """

    record: int
    id: str
    uncertainty: float
    disagreement: float | None
    distance: float


def networks(found: Mapping[str, Trained]) -> tuple[Trained, Trained | None]:
    """The network that judges, and the one that it is compared with: student and teacher where both are there.

    Args:
      found: a run's networks by stage, the best first.
    """
    first, *_ = found.values()
    return first, found["teacher"] if "student" in found and "teacher" in found else None


def suggest(pool: Selection, looker: Looker, other: Looker | None, count: int) -> list[Suggestion]:
    """The unlabelled images whose masks would help most, the most useful first.

    Args:
      pool: the training split.
      looker: the network that judges.
      other: the one that it is compared with, or None.
      count: how many to suggest; all of the pool if it has fewer.

    Raises:
      CsstError: every image has a mask, or an image cannot be read.
    """
    if not pool.unlabelled:
        raise CsstError(
            f"all {len(pool.labelled)} images of split {pool.split!r} in {pool.dataset.directory} have a mask: there "
            "is nothing to suggest. Prepare the data set again with more images."
        )
    entropy, disagreement, features = _look(pool, pool.unlabelled, looker, other, "unlabelled")
    _, _, known = _look(pool, pool.labelled, looker, None, "labelled")
    doubt = ranking.doubts(entropy, disagreement)
    ids = pool.ids(pool.unlabelled)
    return [
        Suggestion(
            record=pool.unlabelled[chosen.position],
            id=ids[chosen.position],
            uncertainty=float(entropy[chosen.position]),
            disagreement=None if disagreement is None else float(disagreement[chosen.position]),
            distance=chosen.distance,
        )
        for chosen in ranking.choose(doubt, features, known, count)
    ]


def _look(
    pool: Selection, records: Sequence[int], looker: Looker, other: Looker | None, kind: str
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Mean entropy "n", disagreement "n" or None, and features "n d" of some images."""
    entropy: list[float] = []
    disagreement: list[float] = []
    features: list[np.ndarray] = []
    with told(lambda: f"looking at {kind} images: {len(entropy)} of {len(records)}"):
        for record in records:
            image = decode_rgb(pool.reader.image_bytes(record))
            seen = looker(image)
            if other is not None:
                disagreement.append(float((other(image).classes != seen.classes).mean()))
            features.append(seen.features)
            entropy.append(float(seen.entropy.mean()))
    return np.array(entropy), np.array(disagreement) if other is not None else None, np.array(features)
