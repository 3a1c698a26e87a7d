"""The arms of a comparison of methods: same data, same network, same number of steps."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from csst_jax import registry
from csst_jax.data import readiness
from csst_jax.methods import METHODS
from csst_jax.settings import ranges, resolve, sized
from csst_jax.streams import PSEUDO, REAL
from csst_jax.studying.arms import Arm, Study
from csst_jax.studying.flags import (
    CSST,
    IN_ROUNDS,
    NAMES,
    ROUNDS,
    ST_PLUS_PLUS,
    VARIANTS,
    known_methods,
    method_of,
)
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence


MASKS_ALONE, ORACLE = "masks_alone", "oracle"
_TWO_STAGES, _ONE_STAGE = "teacher,label,student,evaluate", "student,evaluate"
_UNION = -1.0
"""`sampler.real_share` of a stage without a stream of both real and pseudo labels."""
_ROUNDS, _RELIABLE_SHARE, _SNAPSHOTS = 3, 0.5, 2
"""Where the configuration has one round; the others are those of ST++ (Yang et al. 2022)."""


def study(
    config: ConfigDict, chosen: str, methods: Sequence[str], seeds: Sequence[int], workdir: pathlib.Path
) -> Study:
    """Masks alone, each method, and the oracle where the pool has masks.

    Every network that is scored is trained as `config.student` says. Methods that learn pseudo labels have a teacher
    (`config.teacher`) and labels first; the others are one stage.

    Args:
      config: with what the command line overrides.
      chosen: value of `--config`.
      methods: names of `csst_jax.methods.METHODS`, `csst` for the paper's, or those of `VARIANTS` or `IN_ROUNDS`.
      seeds: of the runs.
      workdir: where sizes that the configuration leaves open are kept, once chosen.

    Raises:
      CsstError: an unknown method, none, or one twice; the data set is not there, or has no image without a mask.
    """
    names = [CSST if name == NAMES[CSST] else name for name in methods]
    if not names or len(set(names)) < len(names):
        raise CsstError(
            f"--methods={','.join(methods)}: give one method or more, each once: {', '.join(known_methods())}."
        )
    for name in [name for name in names if name not in IN_ROUNDS]:
        registry.resolve("method", METHODS, method_of(name))
    sizes, config = _with_sizes(config, workdir)
    data = resolve.data(config)
    opened = data.open()
    pool = data.training(opened)
    readiness.require_pool(pool, "compare on data that has some")
    if not config.student.samples_per_epoch:  # 0 is the number of the stage's images, which methods differ in
        sizes["student.samples_per_epoch"] = len(pool.labelled) + len(pool.unlabelled)
    if ST_PLUS_PLUS in names:  # in all arms, which then share the teacher
        sizes["teacher.snapshots"] = config.teacher.snapshots or _SNAPSHOTS
    alone = _masks_alone(config, sizes)
    arms = [Arm(MASKS_ALONE, alone), *(_arm(config, name, sizes) for name in names)]
    unmasked = f"{len(pool.unlabelled):,} images without"
    if config.data.labelled_ids and len(opened.labelled_ids(data.train_split)) > len(pool.labelled):
        arms.append(Arm(ORACLE, alone | {"data.labelled_ids": ""}))
    about = (
        f"{config.student.network} on {pool.dataset.description.name}: {len(pool.labelled):,} images with masks and "
        f"{unmasked}. All rows are trained as `student` of `{chosen}` says, for as many steps and with as many crops a "
        f"step. `{MASKS_ALONE}` sees the masks alone"
        + (f", `{ORACLE}` all masks of the split." if arms[-1].name == ORACLE else ".")
    )
    return Study("Comparison of methods", chosen, tuple(arms), tuple(seeds), MASKS_ALONE, about)


def two_stages(config: ConfigDict, method: str) -> bool:
    """Whether the method learns pseudo labels that a teacher made before, by the streams that it takes."""
    return any(PSEUDO in stream.origins for stream in sized.streams_of(config.student.method, method))


def _arm(config: ConfigDict, name: str, sizes: dict[str, Any]) -> Arm:
    method = method_of(name)
    turns: dict[str, Any] = {"rounds": 1, "label.reliable_share": 0.0}
    if name == ROUNDS:
        method = config.student.method.name
        method = method if two_stages(config, method) else NAMES[CSST]
        turns["rounds"] = config.rounds if config.rounds > 1 else _ROUNDS
    elif name == ST_PLUS_PLUS:
        method = "real_and_pseudo"
        turns = {"rounds": 2, "label.reliable_share": config.label.reliable_share or _RELIABLE_SHARE}
    if not any({REAL, PSEUDO} <= set(stream.origins) for stream in sized.streams_of(config.student.method, method)):
        turns["student.sampler.real_share"] = _UNION  # it has its own shares
    there = ranges.flattened(config)
    stages = _TWO_STAGES
    if not two_stages(config, method):
        stages, turns["finetune_teacher"] = _ONE_STAGE, False  # there is no teacher to go on
    changes = sizes | {key: value for key, value in turns.items() if value != there[key]}
    changes |= {"student.method.name": method, "stages": stages, **VARIANTS.get(name, {})}
    return Arm(name, changes, networks=("student",))


def _masks_alone(config: ConfigDict, sizes: dict[str, Any]) -> dict[str, Any]:
    """The student's training without pseudo labels: the teacher's stage with the student's settings.

    Where the teacher has these settings anyway, this is the methods' teacher, which is trained once.
    """
    own = {key.removeprefix("student."): value for key, value in sizes.items() if key.startswith("student.")}
    wanted = ranges.flattened(config.student) | own
    there = ranges.flattened(config.teacher)
    wanted |= {"method.name": NAMES[CSST], "snapshots": there["snapshots"], "sampler.real_share": _UNION}
    differing = {f"teacher.{key}": value for key, value in wanted.items() if value != there[key]}
    return {**sizes, **differing, "stages": "teacher,evaluate"}


def _with_sizes(config: ConfigDict, workdir: pathlib.Path) -> tuple[dict[str, Any], ConfigDict]:
    """Sizes that the configuration leaves open, chosen once for all runs, and the configuration with them."""
    if not sized.is_open(config):
        return {}, config
    # A process of its own: the runs need the devices that JAX takes to look at the machine.
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        filled = ConfigDict(pool.submit(_chosen, config.to_dict(), workdir).result())
    before, now = ranges.flattened(config), ranges.flattened(filled)
    return {key: value for key, value in now.items() if value != before[key]}, filled


def _chosen(config: dict[str, Any], workdir: pathlib.Path) -> dict[str, Any]:
    return sized.with_sizes(ConfigDict(config), workdir).to_dict()
