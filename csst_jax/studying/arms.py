"""What a study runs: named arms, each a configuration with some keys changed, and each with every seed."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from csst_jax.settings import ranges
from csst_jax.studying import values
from csst_jax.studying.values import directory_name
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Mapping, Sequence

_NO_RESULT = (
    "checkpoint.", "input.", "profile.", "wandb.", "log_every_steps", "compilation_cache_dir",
    "evaluate.num_pictures", "evaluate.every_epochs", "evaluate.images_while_training",
)  # fmt: skip
"""Keys that change no score."""


def changes_results(key: str) -> bool:
    """Whether a key of the configuration may change a score."""
    return not key.startswith(_NO_RESULT)


@dataclasses.dataclass(frozen=True)
class Point:
    """Where an arm's scores are in the charts of curves.

    Attributes:
      chart: its title.
      curve: in the chart's legend.
      x: on its horizontal axis, in the order of the arms.
    """

    chart: str
    curve: str
    x: str


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
      name: in tables.
      changes: values by key below `config`, such as {"student.method.name": "mean_teacher"}. A value may be a network
        of an arm before this one, or a file that the study makes (`csst_jax.studying.values`).
      config: what the changes are made to, as `--config` takes it; the study's where it is empty.
      networks: whose scores are rows of the table, of teacher, baseline and student; the last of them that the run has
        where it is empty.
      reference: name of the arm that this one is compared with; the study's where it is empty.
      point: in the charts of curves; None for an arm that is in none.
      most_seeds: with how many of the study's seeds it runs, the first ones; 0 for all.
    """

    name: str
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    config: str = ""
    networks: tuple[str, ...] = ()
    reference: str = ""
    point: Point | None = None
    most_seeds: int = 0


@dataclasses.dataclass(frozen=True)
class Study:
    """A grid of arms and seeds.

    Attributes:
      title: of the page.
      config: what arms change, as `--config` of `csst_jax.main` takes it.
      arms: in the order of the table.
      seeds: values of `config.seed`.
      reference: name of the arm whose scores the others' are compared with, seed by seed; empty for none.
      about: sentences above the table.
      axis: what the horizontal axis of the charts of curves shows.
      prepare: takes the study's workdir and its runs before the first begins. It makes the files that arms name, and
        may leave a file notes.md for the study's page. It is called again when the study goes on.
    """

    title: str
    config: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    reference: str = ""
    about: str = ""
    axis: str = ""
    prepare: Callable[[pathlib.Path, Sequence[Run]], None] | None = None

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if not names or len({directory_name(name) for name in names}) < len(names):
            raise CsstError(f"study {self.title!r}: give one arm or more, each with another name; there are {names}.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise CsstError(f"study {self.title!r}: give one seed or more, each once; seeds are {self.seeds}.")
        for reference in {self.reference, *(arm.reference for arm in self.arms)} - {"", *names}:
            raise CsstError(f"study {self.title!r}: reference={reference!r} is no arm; arms are {names}.")
        for number, arm in enumerate(self.arms):
            if later := [name for name in values.arms_needed(arm.changes.values()) if name not in names[:number]]:
                raise CsstError(f"study {self.title!r}: arm {arm.name!r} needs {later[0]!r}; put that arm before it.")
            for other in self.arms[:number]:
                needed = other.name in values.arms_needed(arm.changes.values())
                if needed and 0 < other.most_seeds < (arm.most_seeds or len(self.seeds)):
                    raise CsstError(
                        f"study {self.title!r}: arm {arm.name!r} needs {other.name!r} with every seed of its own; "
                        "raise most_seeds of the latter."
                    )

    def only(self, arms: Sequence[str], seeds: Sequence[int]) -> Study:
        """With some of the arms, those whose networks they need, and other seeds; empty leaves them as they are.

        Raises:
          CsstError: an unknown arm.
        """
        known = {arm.name: arm for arm in self.arms}
        if unknown := [name for name in arms if name not in known]:
            raise CsstError(f"--arms: unknown {', '.join(map(repr, unknown))}; arms are {', '.join(map(repr, known))}.")
        wanted = set(arms or known)
        for arm in reversed(self.arms):  # what an arm needs comes before it
            wanted |= set(values.arms_needed(arm.changes.values())) if arm.name in wanted else set()

        def there(name: str) -> str:
            return name if name in wanted else ""

        chosen = tuple(
            dataclasses.replace(arm, reference=there(arm.reference)) for arm in self.arms if arm.name in wanted
        )
        own = tuple(seeds) or self.seeds
        return dataclasses.replace(self, arms=chosen, seeds=own, reference=there(self.reference))


@dataclasses.dataclass(frozen=True)
class Run:
    """One arm with one seed.

    Attributes:
      arm: of the study.
      seed: of the configuration.
      config: all keys.
      command: what trains and scores it.
      workdir: of its own.
    """

    arm: Arm
    seed: int
    config: ConfigDict
    command: tuple[str, ...]
    workdir: pathlib.Path

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.arm.name}, seed {self.seed}"

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the runs whose networks it takes."""
        return tuple(f"{name}, seed {self.seed}" for name in values.arms_needed(self.arm.changes.values()))

    @property
    def stages(self) -> set[str]:
        """The stages that it is asked for."""
        return {stage.strip() for stage in self.config.stages.split(",")}

    def asked(self) -> dict[str, Any]:
        """The values that differ from the defaults and may change a result, by key."""
        default = ranges.known_keys()
        own = ranges.flattened(self.config) | values.wherever(self.arm.changes)
        return {k: v for k, v in own.items() if changes_results(k) and v != default[k]}


def runs(study: Study, workdir: pathlib.Path, load: Callable[[str], tuple[ConfigDict, ConfigDict]]) -> list[Run]:
    """All runs, one seed after another, so that arms can be compared as soon as the first seed is through.

    Args:
      study: the grid.
      workdir: each run has a directory `runs/<arm>-<seed>` below it.
      load: from the value of `--config` to the configuration alone, and with what the command line overrides.

    Raises:
      CsstError: a key or value of an arm is wrong, or the command line sets the seed.
    """
    loaded = {chosen: load(chosen) for chosen in dict.fromkeys(arm.config or study.config for arm in study.arms)}
    found = []
    for number, seed in enumerate(study.seeds):
        for arm in study.arms:
            if 0 < arm.most_seeds <= number:
                continue
            chosen = arm.config or study.config
            plain, overridden = loaded[chosen]
            config = _changed(arm, seed, workdir, plain, overridden)
            directory = values.run_directory(workdir, arm.name, seed)
            found.append(Run(arm, seed, config, _command(chosen, plain, config, directory), directory))
    return found


def refuse_overrides(study: Study, load: Callable[[str], tuple[ConfigDict, ConfigDict]]) -> None:
    """Refuses keys of the command line that arms set to something else.

    Args:
      study: the grid.
      load: as for `runs`.

    Raises:
      CsstError: names the key and the arm.
    """
    for arm in study.arms:
        alone, given = map(ranges.flattened, load(arm.config or study.config))
        for key, value in arm.changes.items():
            if key in alone and given[key] not in (alone[key], value):
                raise CsstError(
                    f"--config.{key}={given[key]}: arm {arm.name!r} sets this key to {value!r}; leave it out."
                )


def _changed(arm: Arm, seed: int, workdir: pathlib.Path, plain: ConfigDict, overridden: ConfigDict) -> ConfigDict:
    """The configuration of a run.

    Raises:
      CsstError: as `runs`.
    """
    known = ranges.flattened(plain)
    if overridden.seed != plain.seed:
        raise CsstError(f"--config.seed={overridden.seed}: every run has a seed of its own; give --seeds instead.")
    for key in arm.changes:
        if key not in known:
            raise CsstError(f"arm {arm.name!r}: unknown configuration key {key!r}. {ranges.near(key)}")
    config = overridden.copy_and_resolve_references()
    try:
        config.update_from_flattened_dict(values.found(arm.changes, workdir, seed) | {"seed": seed})
        ranges.require_sound(config)
    except (CsstError, TypeError, ValueError) as error:
        raise CsstError(f"arm {arm.name!r}: {error}") from error
    return config


def _command(chosen: str, plain: ConfigDict, config: ConfigDict, workdir: pathlib.Path) -> tuple[str, ...]:
    before = ranges.flattened(plain)
    differing = {key: value for key, value in ranges.flattened(config).items() if value != before[key]}
    flags = (f"--config.{key}={value}" for key, value in differing.items())
    return sys.executable, "-m", "csst_jax.main", f"--config={chosen}", f"--workdir={workdir}", *flags


def shown(command: Sequence[str]) -> str:
    """A command as one types it."""
    return shlex.join(["python", *command[1:]])
