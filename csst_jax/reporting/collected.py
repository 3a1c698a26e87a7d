"""What a workdir holds by now, as far as a report shows it. Nothing here imports JAX."""

from __future__ import annotations

import dataclasses
import json
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from csst_jax.reporting import rounds as reporting_rounds
from csst_jax.runtime.storage import local_file
from csst_jax.runtime.workdir import (
    CONFIG_FILE,
    DONE_FILE,
    EVALUATION,
    LABELS,
    METRICS_FILE,
    RESULTS_FILE,
    RUN_FILE,
    STAGE_FILE,
    STUDY_FILE,
)
from csst_jax.settings import rounds
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from csst_jax.runtime.storage import StoragePath

NETWORKS = ("teacher", "baseline", "student")
"""Training stages, in the order of a report."""
_FEWER_LINES = 400
"""Points of a learning curve that a page of a few inches can show."""


@dataclasses.dataclass(frozen=True)
class Network:
    """One training stage.

    Attributes:
      name: of the stage.
      plan: its `plan.json`; {} in workdirs of earlier versions.
      done: its `DONE`; {} while it trains.
      lines: of `metrics.jsonl`, thinned out; those of scores are not among them.
      watched: `scores.json` of `while_training`; {} without.
      scores: its evaluation; {} before.
      counts: int64 [n, 3, c], see `csst_jax.evaluation.scores.Scores.images`; None in workdirs of earlier versions.
      ids: of these n images.
    """

    name: str
    plan: dict[str, Any]
    done: dict[str, Any]
    lines: list[dict[str, Any]]
    watched: dict[str, Any]
    scores: dict[str, Any]
    counts: np.ndarray | None
    ids: tuple[str, ...]

    @property
    def steps(self) -> int | None:
        """Steps that it has or will have; None where nothing says it."""
        return self.done.get("steps", self.plan.get("steps"))


@dataclasses.dataclass(frozen=True)
class Collected:
    """One run.

    Attributes:
      workdir: where it lies.
      config: the resolved configuration; {} without.
      record: `run.json`; {} in workdirs of earlier versions.
      results: `results.json`; {} before the end.
      networks: by name, those that have begun.
      labels: what the label stage reported; {} before.
      quality: `quality.json` of the pseudo labels; {} without.
      rounds: see `csst_jax.reporting.rounds.gathered`; empty in runs of one round.
      earlier: the students of the rounds before the last one that have begun, by their directory in the workdir.
    """

    workdir: StoragePath
    config: dict[str, Any]
    record: dict[str, Any]
    results: dict[str, Any]
    networks: dict[str, Network]
    labels: dict[str, Any]
    quality: dict[str, Any]
    rounds: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    earlier: dict[str, Network] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the workdir."""
        return self.workdir.name

    @property
    def judged(self) -> dict[str, Network]:
        """The networks that are evaluated."""
        return {name: network for name, network in self.networks.items() if network.scores}

    def asks_for(self, stage: str) -> bool:
        """Whether the run was asked for a stage, as far as its configuration tells."""
        asked = self.config.get("stages")
        return asked is None or stage in [one.strip() for one in asked.split(",")]

    @property
    def classes(self) -> list[str]:
        """Names, in the order of the label values; empty before anything says them."""
        for network in self.judged.values():
            return list(network.scores["iou"])
        return list(self.record.get("data", {}).get("classes", self.labels.get("class_share", [])))


def collect(workdir: StoragePath) -> Collected:
    """Reads a workdir.

    Raises:
      CsstError: it is no workdir of a run, or one of its files is damaged.
    """
    # Of a run's files, results.json alone makes a report, too.
    if not any((workdir / name).exists() for name in (CONFIG_FILE, RESULTS_FILE, RUN_FILE)):
        if (workdir / STUDY_FILE).exists():
            raise CsstError(
                f"{workdir} is the workdir of a study. Its page is {workdir / 'study.md'}. Its runs lie in "
                f"{workdir / 'runs'}: give one of them."
            )
        raise CsstError(
            f"{workdir} is no workdir of a run: it has neither config.json nor {RESULTS_FILE}. Give the --workdir of "
            "`csst train`."
        )
    results = _json(workdir / RESULTS_FILE)
    networks = {}
    for name in NETWORKS:
        found = _network(workdir / name, results.get(name, {}))
        if found is not None:
            networks[name] = found
    labels = _json(workdir / LABELS / DONE_FILE) or results.get(LABELS, {})
    config = _json(workdir / CONFIG_FILE)
    total = config.get("rounds", 1)
    students = {turn.student: _network(workdir / turn.student, {}) for turn in rounds.of(total)[:-1]}
    return Collected(
        workdir,
        config,
        _json(workdir / RUN_FILE),
        results,
        networks,
        labels,
        _json(workdir / LABELS / "quality.json"),
        reporting_rounds.gathered(workdir, total) or results.get("rounds", []),
        {name: network for name, network in students.items() if network is not None},
    )


def _network(directory: StoragePath, result: dict[str, Any]) -> Network | None:
    """A stage that has begun, or that results.json has; else None."""
    if not result and not (directory / STAGE_FILE).exists():
        return None
    counts, ids = _counts(directory / EVALUATION / "images.npz")
    scores = _json(directory / EVALUATION / DONE_FILE) or (result if "iou" in result else {})
    return Network(
        directory.name,
        _json(directory / "plan.json"),
        _json(directory / DONE_FILE) or {key: result[key] for key in ("network", "steps") if key in result},
        _lines(directory / METRICS_FILE),
        _json(directory / "while_training" / "scores.json"),
        scores,
        counts,
        ids,
    )


def _json(path: StoragePath) -> dict[str, Any]:
    """A file's object; {} where there is no file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CsstError(f"{path} is not valid JSON ({error}); delete it and run the pipeline again.") from error
    if not isinstance(found, dict):
        raise CsstError(f"{path} holds a {type(found).__name__}, not an object; delete it and run the pipeline again.")
    return found


def _lines(path: StoragePath) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # the line that is being written
            continue
    found = [line for line in found if "loss" in line]
    every = -(-len(found) // _FEWER_LINES) or 1
    return found[::-1][::every][::-1]


def _counts(path: StoragePath) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if not path.exists():
        return None, ()
    try:
        with local_file(path).open("rb") as opened, np.load(opened) as file:
            return file["counts"], tuple(file["ids"].tolist())
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise CsstError(f"{path} is damaged ({error}); delete the directory {path.parent} and run it again.") from error
