"""Rounds of self-training: the student of a round is the teacher of the next one.

The last round lies in the workdir itself, as that of a run of one round does: all that looks for labels or a student
finds the last ones. Those of the rounds before are in `rounds/1`, `rounds/2`, …
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from csst_jax.runtime.workdir import LABELS
from csst_jax.settings.training import RequestedSettings
from csst_jax.streams import PSEUDO
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from csst_jax.settings.run import Labelling, Run

DIRECTORY = "rounds"
SELECTING = 2
"""Rounds of a run that selects images by reliability: on the reliable ones, and on all."""


@dataclasses.dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
      number: from 1.
      total: how many the run has.
    """

    number: int
    total: int

    @property
    def labels(self) -> str:
        """Directory of its pseudo labels, below the workdir."""
        return self._prefix(self.number) + LABELS

    @property
    def student(self) -> str:
        """Directory of its student."""
        return self._prefix(self.number) + "student"

    @property
    def teacher(self) -> str:
        """Directory of the network that makes its pseudo labels."""
        return self._prefix(self.number - 1) + "student" if self.number > 1 else "teacher"

    def _prefix(self, number: int) -> str:
        return "" if number == self.total else f"{DIRECTORY}/{number}/"


def of(total: int) -> tuple[Round, ...]:
    """All rounds of a run."""
    return tuple(Round(number, total) for number in range(1, total + 1))


def labelling(settings: Labelling, turn: Round) -> Labelling:
    """The label stage's settings of one round.

    Each class's portion grows by `class_portion_growth` a round, up to 1 (CBST). The first of several rounds selects
    reliable images; the last one takes all (ST++).
    """
    changed: dict[str, Any] = {
        "class_portion": min(1.0, settings.class_portion + settings.class_portion_growth * (turn.number - 1)),
        "class_portion_growth": 0.0,
        "reliable_share": settings.reliable_share if turn.number < turn.total else 0.0,
    }
    whole = {**settings.request.whole, **changed}
    # The defaults of these keys are 0: what differs is what is not.
    asked = {**settings.request.differing, **changed}
    differing = {key: value for key, value in asked.items() if value or key not in changed}
    return dataclasses.replace(settings, **changed, request=RequestedSettings(whole, differing))


def num_reliable(settings: Labelling, unlabelled: int) -> int:
    """How many of the pool's images a round trains on; half of an odd number is rounded down, as in ST++."""
    return max(1, int(settings.reliable_share * unlabelled)) if settings.reliable_share else unlabelled


def snapshot_epochs(epochs: int, snapshots: int) -> tuple[int, ...]:
    """After which epochs a stage keeps its network: at equal distances, before the last one.

    2 of 80 epochs are kept after 26 and 53, as the reference implementation of ST++ does.

    Args:
      epochs: of the stage.
      snapshots: how many.
    """
    return tuple(epochs * number // (snapshots + 1) for number in range(1, snapshots + 1))


def require_sound(run: Run) -> None:
    """Refuses settings of rounds that do not fit each other.

    Raises:
      CsstError: names the keys and the fix.
    """
    label, teacher = run.label, run.teacher
    for name, training in (("teacher", teacher), ("student", run.student)):
        if training.snapshots and training.crops.epochs <= training.snapshots:
            raise CsstError(
                f"{name}.snapshots is {training.snapshots}, and {name}.epochs {training.crops.epochs}; give "
                f"{training.snapshots + 1} epochs or more, or fewer snapshots."
            )
    if label.class_portion_growth and not label.class_portion:
        raise CsstError(
            f"label.class_portion_growth is {label.class_portion_growth}, and label.class_portion is off; set "
            "class_portion to the share of the first round, such as 0.2."
        )
    if label.lower_of_two and not label.class_portion:
        raise CsstError(
            "label.lower_of_two is True, and label.class_portion is off, so that all classes have one threshold; set "
            "class_portion, such as to 0.5, or lower_of_two to False."
        )
    if run.rounds > 1 and "student" in run.stages and PSEUDO not in run.student.origins:
        raise CsstError(
            f"rounds is {run.rounds}, and student.method.name={run.student.method.name} learns no stored pseudo "
            f"labels; set rounds to 1, or take a method that does, such as supervised or real_and_pseudo."
        )
    if label.reliable_share and "student" in run.stages and run.rounds != SELECTING:
        raise CsstError(
            f"label.reliable_share is {label.reliable_share}, and rounds is {run.rounds}; set rounds to "
            f"{SELECTING}: one on the reliable images, one on all."
        )
    # The first labels of several rounds rank the images, whether a student follows or not.
    if label.reliable_share and run.rounds > 1 and run.stages & {"label", "student"} and not teacher.snapshots:
        raise CsstError(
            "label.reliable_share needs networks of the teacher from earlier epochs; set teacher.snapshots to 2, "
            "as published."
        )
