"""What the runs of a study gave: their results.json, and mean and spread over the seeds."""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING, Any

from csst_jax.runtime.json_files import read_json
from csst_jax.runtime.workdir import LABELS, RESULTS_FILE
from csst_jax.studying.engine import is_finished, noted

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping, Sequence

    from csst_jax.studying.arms import Run, Study

_NETWORKS = ("student", "baseline", "teacher")


@dataclasses.dataclass(frozen=True)
class Spread:
    """Of some numbers.

    Attributes:
      mean: of all; None of none.
      deviation: the sample standard deviation; None of fewer than two.
      count: how many there are.
    """

    mean: float | None
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread:
        """Without the values that are None."""
        there = [value for value in values if value is not None]
        deviation = statistics.stdev(there) if len(there) > 1 else None
        return cls(statistics.fmean(there) if there else None, deviation, len(there))


@dataclasses.dataclass(frozen=True)
class Row:
    """One network of an arm, over the seeds that are finished.

    Attributes:
      name: in tables.
      arm: its name.
      miou: 0 to 1.
      by_seed: mIoU of each seed, 0 to 1.
      iou: of each class.
      reference: name of the arm that it is compared with; empty where there is none.
      gain: mIoU minus the reference's of the same seed; None where there is no reference, and of the reference.
      better: in how many of these seeds it is above 0.
      steps: of this network's training.
      steps_before: of the teacher that labelled for it, and of the students of earlier rounds; 0 for none.
      training_s: wall time of this network's training.
      total_s: of everything that leads to it, as if the arm had shared nothing: training, labelling, evaluation.
      label_bytes: of the files that hold the pseudo labels, of one seed; None without any.
      memory_bytes: of the largest compiled training step; None where the device does not say.
    """

    name: str
    arm: str
    miou: Spread
    by_seed: dict[int, float]
    iou: dict[str, Spread]
    reference: str
    gain: Spread | None
    better: int
    steps: Spread
    steps_before: Spread
    training_s: Spread
    total_s: Spread
    label_bytes: Spread
    memory_bytes: Spread


@dataclasses.dataclass(frozen=True)
class _Score:
    """One network of one run."""

    miou: float
    iou: dict[str, float | None]
    steps: int
    steps_before: int
    training_s: float
    total_s: float
    label_bytes: int | None
    memory_bytes: int | None


def rows(study: Study, runs: Sequence[Run]) -> list[Row]:
    """A row for each network that an arm shows, of arms with at least one finished seed.

    Raises:
      CsstError: a results.json cannot be read.
    """
    read = {(run.arm.name, run.seed): read_json(run.workdir / RESULTS_FILE) for run in runs if is_finished(run)}
    scores: dict[tuple[str, str], dict[int, _Score]] = {}
    for run in runs:
        if (found := read.get((run.arm.name, run.seed))) is not None:
            for network in _shown(run, found):
                scores.setdefault((run.arm.name, network), {})[run.seed] = _score(found, network, run.workdir)
    shown = [arm for arm, _ in scores]
    references = {arm.name: arm.reference or study.reference for arm in study.arms}

    def compared_with(name: str) -> dict[int, _Score]:
        return next((found for (arm, _), found in scores.items() if arm == references[name]), {})

    return [
        _row(arm, arm if shown.count(arm) == 1 else f"{arm}: {network}", own, references[arm], compared_with(arm))
        for (arm, network), own in scores.items()
    ]


def as_json(study: Study, runs: Sequence[Run], table: Sequence[Row]) -> dict[str, Any]:
    """All of it, for programs: the rows, and each finished run's command and versions."""
    done = {run.name: found for run in runs if is_finished(run) and (found := noted(run))}
    return {
        "title": study.title,
        "reference": study.reference,
        "rows": [dataclasses.asdict(row) for row in table],
        "runs": done,
        "missing": [run.name for run in runs if not is_finished(run)],
    }


def from_json(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows of `as_json`, as JSON has them."""
    spreads = [field.name for field in dataclasses.fields(Row) if field.type in ("Spread", "Spread | None")]
    found = []
    for row in rows:
        own: dict[str, Any] = {name: Spread(**row[name]) for name in spreads if row[name] is not None}
        own |= {"iou": {klass: Spread(**iou) for klass, iou in row["iou"].items()}}
        own |= {"by_seed": {int(seed): miou for seed, miou in row["by_seed"].items()}}
        found.append(Row(**{**row, **own}))
    return found


def _shown(run: Run, results: Mapping[str, Any]) -> list[str]:
    there = [network for network in _NETWORKS if network in results]
    return [network for network in run.arm.networks if network in there] or there[:1]


def _score(results: Mapping[str, Any], network: str, workdir: pathlib.Path) -> _Score:
    wall, own = results["wall_s"], results[network]
    labelled = network == "student" and LABELS in results
    turns = results.get("rounds", [])[:-1] if labelled else []
    earlier = [name for name in wall if name.startswith("rounds/")] if labelled else []
    before = ["teacher", LABELS, *earlier] if labelled else []
    needed = [name for name in (*before, network) if name in results["compilations"]]
    phases = [phase for name in needed for phase in results["compilations"][name]["phases"]]
    memory = [phase["memory_bytes"] for phase in phases if phase.get("memory_bytes") is not None]
    share = wall["evaluate"] / (sum(name in results for name in _NETWORKS) + len(turns))
    steps_before = results["teacher"]["steps"] if labelled and "teacher" in results else 0
    return _Score(
        miou=own["miou"],
        iou=own["iou"],
        steps=own["steps"],
        steps_before=steps_before + sum(turn["student"]["steps"] for turn in turns),
        training_s=wall[network],
        total_s=sum(wall.get(name, 0.0) for name in (*before, network)) + share * (1 + len(turns)),
        label_bytes=_bytes(workdir) if labelled else None,
        memory_bytes=max(memory, default=None),
    )


def _bytes(workdir: pathlib.Path) -> int | None:
    """Of the labels and the index of their components, of all rounds; None where they were deleted."""
    directories = [workdir / LABELS, *workdir.glob(f"rounds/*/{LABELS}")]
    kept = [path for found in directories for kind in ("labels-*", "soft-*", "centroids*") for path in found.glob(kind)]
    return sum(path.stat().st_size for path in kept) or None


def _row(arm: str, name: str, found: Mapping[int, _Score], reference: str, others: Mapping[int, _Score]) -> Row:
    gains = [found[seed].miou - others[seed].miou for seed in found if seed in others]
    own = list(found.values())
    compared = bool(gains) and found is not others
    fields = ("steps", "steps_before", "training_s", "total_s", "label_bytes", "memory_bytes")
    spreads = {field: Spread.of([getattr(score, field) for score in own]) for field in fields}
    classes = dict.fromkeys(name for score in own for name in score.iou)
    return Row(
        name=name,
        arm=arm,
        miou=Spread.of([score.miou for score in own]),
        by_seed={seed: score.miou for seed, score in found.items()},
        iou={klass: Spread.of([score.iou.get(klass) for score in own]) for klass in classes},
        reference=reference if compared else "",
        gain=Spread.of(gains) if compared else None,
        better=sum(gain > 0 for gain in gains) if compared else 0,
        **spreads,
    )
