"""Puts numbers where a configuration leaves sizes open, before any stage runs.

`sizes.json` in the workdir keeps each question with its answer. The same question, of the same data and settings, gets
the same answer for as long as the workdir lives: a run that goes on on another machine goes on with its numbers.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import TYPE_CHECKING, Any

from csst_jax import registry
from csst_jax.data.chosen import Data
from csst_jax.data.stored import encoded
from csst_jax.methods import METHODS
from csst_jax.models import counting
from csst_jax.runtime.json_files import read_json, write_json
from csst_jax.runtime.machine import Machine, this_machine
from csst_jax.settings.sizes import KEYS, OPEN, Answer, Question, choose
from csst_jax.streams import PSEUDO, REAL, UNLABELLED, total_parts
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_collections import ConfigDict

    from csst_jax.data.selection import Selection
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.streams import Stream

log = logging.getLogger(__name__)

SIZES_FILE = "sizes.json"
"""In the workdir, beside config.json."""
_STAGES = ("teacher", "student")
_LOOKED_AT = 200  # images whose size is read
_ANSWERED = {"asked", "chosen", "reasons", "machine"}


@dataclasses.dataclass(frozen=True)
class Facts:
    """What sizes depend on of the data.

    Attributes:
      labelled: images with masks that a run trains on.
      unlabelled: images without.
      image_px: height and width of the image whose shorter side is the median.
    """

    labelled: int
    unlabelled: int
    image_px: tuple[int, int]


def is_open(config: ConfigDict) -> bool:
    """Whether a stage leaves any size to be chosen."""
    return any(OPEN in _sizes(config[stage]).values() for stage in _STAGES)


def with_sizes(config: ConfigDict, workdir: StoragePath | None, keep: bool = True) -> ConfigDict:
    """The configuration with all sizes in it; one that leaves none open is returned as it is, and nothing is read.

    All processes of a run choose what the first one does.

    Args:
      config: as configs/base.py defines it, with sound values.
      workdir: where earlier answers lie, and new ones are kept; None for neither.
      keep: whether new ones are.

    Raises:
      CsstError: the data set cannot be opened, or what is kept is damaged.
    """
    if not is_open(config):
        return config
    facts, machine = read_facts(Data(**config.data.to_dict())), this_machine()
    path = None if workdir is None else workdir / SIZES_FILE
    kept = _kept(path)
    answers = answer(config, facts, machine, kept)
    import jax  # settings are resolved where there is no JAX yet

    if jax.process_count() > 1:
        from csst_jax.runtime import peers

        answers = peers.gathered(answers)[0]
    tell(answers, kept)
    if keep and path is not None and jax.process_index() == 0 and kept | answers != kept:
        write_json(path, kept | answers)
    return filled(config, answers)


def tell(answers: Mapping[str, Mapping[str, Any]], kept: Mapping[str, Any] | None = None) -> None:
    """A line of the log for each stage: what was chosen, and why.

    Args:
      answers: see `answer`.
      kept: those that were there before.
    """
    for stage, found in answers.items():
        chosen = ", ".join(f"{key}={value} ({found['reasons'][key]})" for key, value in found["chosen"].items())
        when = " when this run began" if found == (kept or {}).get(stage) else ""
        log.info("%s: sizes chosen for %s%s: %s; each can be set", stage, found["machine"], when, chosen)


def read_facts(data: Data) -> Facts:
    """Opens the data set and looks.

    Raises:
      CsstError: it is not there, or does not have what the settings name.
    """
    opened = data.open()
    pool = data.training(opened)
    return Facts(len(pool.labelled), len(pool.unlabelled), _median_size(pool))


def answer(
    config: ConfigDict, facts: Facts, machine: Machine, kept: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """What is chosen, by stage, for stages that leave something open.

    Args:
      config: as for `with_sizes`.
      facts: of the data.
      machine: what it will run on.
      kept: what this function returned before, for the same workdir.

    Returns:
      JSON-able: what was `asked`, what was `chosen`, the `reasons`, and for which `machine`; `earlier` has those of
      other questions, to which a command may come back.
    """
    found: dict[str, dict[str, Any]] = {}
    for stage in _STAGES:
        if OPEN not in _sizes(config[stage]).values():
            continue
        question = ask(config, stage, facts)
        asked = json.loads(json.dumps(dataclasses.asdict(question)))
        del asked["gflop"]  # the network's name stands for it; counting it again may give another last digit
        before = _answers((kept or {}).get(stage))
        # A workdir of an earlier version was asked fewer things.
        own = next(
            (known for known in before if known["asked"] == {key: asked.get(key) for key in known["asked"]}), None
        )
        others = [known for known in before if known is not own]
        if own is None:
            chosen: Answer = choose(question, machine)
            reasons = {"reasons": dict(chosen.reasons), "machine": machine.words}
            own = {"asked": asked, "chosen": dict(chosen.values), **reasons}
        found[stage] = own | ({"earlier": others} if others else {})
    return found


def _answers(kept: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Of one stage, the newest first."""
    if kept is None:
        return []
    newest = {key: value for key, value in kept.items() if key != "earlier"}
    return [newest, *kept.get("earlier", [])]


def ask(config: ConfigDict, stage: str, facts: Facts) -> Question:
    """The question of one stage.

    Raises:
      CsstError: the network or the method is unknown, or a setting of the method is out of range.
    """
    block, mesh = config[stage], config.mesh
    streams = streams_of(block.method, block.method.name)
    origins = {origin for stream in streams for origin in stream.origins}
    pool = UNLABELLED in origins or (stage == "student" and PSEUDO in origins)
    return Question(
        images=facts.labelled * (REAL in origins) + facts.unlabelled * pool,
        pool=pool,
        image_px=facts.image_px,
        network=block.network,
        gflop=counting.gflop(block.network),
        parts=total_parts(streams) * max(1, block.accumulate),
        per_real=total_parts(streams) / (sum(s.parts for s in streams if REAL in s.origins) or total_parts(streams)),
        spatial=max(1, mesh.spatial),
        stride=block.schedule.stride,
        given={key: value for key, value in _sizes(block).items() if value != OPEN},
    )


def streams_of(section: ConfigDict, name: str) -> tuple[Stream, ...]:
    """The streams of a method, the chosen one or another, by its block in the `method` of a stage.

    Raises:
      CsstError: the method is unknown, or a setting of it is out of range.
    """
    own = section[name].to_dict() if name in section else {}
    return registry.resolve("method", METHODS, name).streams_of(registry.settings("method", METHODS, name, own))


def filled(config: ConfigDict, answers: Mapping[str, Mapping[str, Any]]) -> ConfigDict:
    """A copy of the configuration with the answers in it."""
    copy = config.copy_and_resolve_references()
    for stage, found in answers.items():
        copy[stage].update_from_flattened_dict(dict(found["chosen"]))
    return copy


def _sizes(block: ConfigDict) -> dict[str, int]:
    """The keys of a stage that may be open, with their values."""
    return {key: block.schedule.num_sizes if key == "schedule.num_sizes" else block[key] for key in KEYS}


def _median_size(pool: Selection) -> tuple[int, int]:
    """Height and width of the image whose shorter side is the median, of some spread over the split."""
    records = sorted([*pool.labelled, *pool.unlabelled])
    some = records[:: -(-len(records) // _LOOKED_AT)]
    sizes = sorted((encoded.size(pool.reader.label_bytes(record)) for record in some), key=min)
    return sizes[len(sizes) // 2]


def _kept(path: StoragePath | None) -> dict[str, Any]:
    if path is None or not path.exists():
        return {}
    found = read_json(path, "If no stage of this run has begun, delete it: sizes are then chosen again.")
    if not isinstance(found, dict) or not all(isinstance(a, dict) and a.keys() >= _ANSWERED for a in found.values()):
        raise CsstError(f"{path} was not written by csst_jax; move it away, or give another --workdir.")
    return found
