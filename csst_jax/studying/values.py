"""Values of an arm's keys that depend on where a study runs: networks of other arms, and files that it makes."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Mapping


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that another arm trains with the same seed.

    Attributes:
      arm: its name.
      stage: teacher, student or baseline.
    """

    arm: str
    stage: str


@dataclasses.dataclass(frozen=True)
class Made:
    """A file that `Study.prepare` makes.

    Attributes:
      path: below the study's workdir, with slashes; `{seed}` stands for the run's seed.
    """

    path: str


def directory_name(name: str) -> str:
    """An arm's name without what directories should not have in theirs."""
    return re.sub(r"[^\w.+]+", "_", name).strip("_")


def run_directory(workdir: pathlib.Path, arm: str, seed: int) -> pathlib.Path:
    """Where the run of an arm and a seed lies."""
    return workdir / "runs" / f"{directory_name(arm)}-{seed}"


def arms_needed(values: Iterable[Any]) -> tuple[str, ...]:
    """Names of the arms whose networks are among the values."""
    return tuple(dict.fromkeys(value.arm for value in values if isinstance(value, Network)))


def found(changes: Mapping[str, Any], workdir: pathlib.Path, seed: int) -> dict[str, Any]:
    """The changes with paths in place of networks and files."""

    def of(value: Any) -> Any:
        if isinstance(value, Network):
            return str(run_directory(workdir, value.arm, seed) / value.stage)
        if isinstance(value, Made):
            return str(workdir / value.path.replace("{seed}", str(seed)))
        return value

    return {key: of(value) for key, value in changes.items()}


def wherever(changes: Mapping[str, Any]) -> dict[str, str]:
    """What stands for the networks and files among the changes, wherever the workdir lies."""
    names = {key: f"{value.arm}/{value.stage}" for key, value in changes.items() if isinstance(value, Network)}
    return names | {key: value.path for key, value in changes.items() if isinstance(value, Made)}
