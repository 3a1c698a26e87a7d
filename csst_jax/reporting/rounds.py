"""Rounds of self-training: what each of them has by now, and how its labels differ from those before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csst_jax.reporting.markup import escaped, number, percent, section, table
from csst_jax.runtime.json_files import read_json
from csst_jax.runtime.workdir import DONE_FILE, EVALUATION
from csst_jax.settings import rounds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from csst_jax.reporting.collected import Collected
    from csst_jax.runtime.storage import StoragePath

_LABELS = ("teacher_sha256", "labels_sha256", "class_share", "ignored_share")
_STUDENT = ("network", "steps", "weights_sha256")
_SCORES = ("miou", "iou")
_CHANGE_FILE, _RELIABILITY_FILE = "change.json", "reliability.json"


def gathered(workdir: StoragePath, total: int) -> list[dict[str, Any]]:
    """Every round that has labels, as results.json has it.

    Args:
      workdir: of the run.
      total: rounds of the run; of one round there is nothing to say.

    Returns:
      A dict for each round: its `round`; `labels` with hashes, `class_share`, `ignored_share`, and the settings
      `class_portion` and `reliable_share`; `change` against the round before, as `csst_jax.evaluation.agreement.change`
      has it; `mean_reliability` of the pool, where images were selected; and `student` with steps, hash and scores.
    """
    found = []
    for turn in rounds.of(total) if total > 1 else ():
        labels, student = workdir / turn.labels, workdir / turn.student
        done = _read(labels / DONE_FILE)
        if not done:
            break
        asked = {key: done["settings"][key] for key in ("class_portion", "reliable_share") if key in done["settings"]}
        one: dict[str, Any] = {"round": turn.number, "labels": {key: done[key] for key in _LABELS} | asked}
        if change := _read(labels / _CHANGE_FILE):
            one["change"] = change
        if reliability := _read(labels / _RELIABILITY_FILE):
            one["mean_reliability"] = sum(reliability.values()) / len(reliability)
        if trained := _read(student / DONE_FILE):
            scores = _read(student / EVALUATION / DONE_FILE)
            one["student"] = {key: trained[key] for key in _STUDENT} | {k: scores[k] for k in _SCORES if k in scores}
        found.append(one)
    return found


def lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """For the terminal, of what `gathered` returns: a line for each round."""
    told = []
    for one in found:
        change = one.get("change", {}).get("changed")
        against = "" if change is None else f"; {percent(change)} % of the labels changed"
        told.append(f"round {one['round']}: mIoU {percent(one.get('student', {}).get('miou'))} %{against}")
    return told


def changes(run: Collected) -> str:
    """A row for each round; settings that no round has are left out."""
    rows, settings = [], {"class_portion": ">kept of a class, %", "reliable_share": ">reliable images, %"}
    settings = {key: title for key, title in settings.items() if any(one["labels"].get(key) for one in run.rounds)}
    for one in run.rounds:
        change, labels, student = one.get("change", {}), one["labels"], one.get("student", {})
        found = [student.get("miou"), *(change.get(key) for key in ("changed", "agreement", "miou"))]
        values = [*found, labels["ignored_share"], *(labels.get(key) or None for key in settings)]
        rows.append(([str(one["round"]), *(number(percent(value)) for value in values)], ""))
    header = ["round", ">student's mIoU, %", ">labels changed, %", ">agreement, %", ">IoU of both, %", ">void, %"]
    note = (
        "Labels changed: pixels of the pool with another label than in the round before; void counts as a label. "
        "Agreement, and IoU of both: of the pixels that have a class in both. The last round's student is the run's."
    )
    shown = [table([*header, *settings.values()], rows), _by_class(run), f'<p class="note">{note}</p>'] if rows else []
    return section("Rounds", *shown, name="rounds")


def _by_class(run: Collected) -> str:
    """Shares of the pool's pixels that each round's teacher gives to each class."""
    shares = [one["labels"]["class_share"] for one in run.rounds]
    header = ["class: predicted, %", *(f">round {one['round']}" for one in run.rounds)]
    return table(header, [([escaped(name), *(number(percent(s[name], 2)) for s in shares)], "") for name in shares[0]])


def _read(path: StoragePath) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}
