"""The end of a run: results.json, the contact sheets, the report, and what the terminal shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

from csst_jax.evaluation.table import format_table
from csst_jax.report import REPORT_FILE, write_report
from csst_jax.reporting.gallery import DIRECTORY, INDEX
from csst_jax.reporting.rounds import gathered, lines
from csst_jax.runtime.json_files import fingerprint, read_json, write_json
from csst_jax.runtime.patience import told
from csst_jax.runtime.workdir import DONE_FILE, LABELS, RESULTS_FILE, SHEET_FILE
from csst_jax.settings import rounds
from csst_jax.stages import gallery, record
from csst_jax.stages.evaluate import judge
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.stages.experiment import Experiment
    from csst_jax.stages.model_file import Trained

_SHOWN = ("teacher", "baseline", "student")
SCORES = ("miou", "iou", "pixel_accuracy", "frequency_weighted_iou", "boundary_miou", "boundary_iou")
"""What results.json has of `Scores.result`; the rest is in each network's `evaluation`."""


def conclude(
    this: Experiment, networks: dict[str, Trained], scores: dict[str, dict[str, Any]]
) -> dict[str, Any] | None:
    """The first process writes results.json, the contact sheets and the report.

    Returns:
      The results; None in the other processes, whose file system may not show the files of all stages yet.
    """
    if jax.process_index() > 0:
        return None
    results = summary(this, networks, scores)
    sheet, path = this.workdir / "pictures" / "validation.png", this.workdir / RESULTS_FILE
    report = this.workdir / REPORT_FILE
    if not (this.workdir / DIRECTORY / INDEX).exists() or _written(path) != fingerprint(results):
        shown = {name: networks[name] for name in _SHOWN if name in networks}
        last = list(shown)[-1]
        with told("drawing pictures"):
            _draw(this, sheet, shown, scores[last]["worst"])
            report.unlink(missing_ok=True)  # if this process ends now, the next one finds that it has to write it
            write_json(path, results)
    if not report.exists():
        with told("writing the report"):
            write_report(this.workdir)
    print(format_table(results))
    for line in lines(results.get("rounds", [])):
        print(line)
    print(f"\nresults   {path}\nreport    {report}")
    sheets = [sheet, *([this.workdir / LABELS / SHEET_FILE] if LABELS in results else [])]
    for number, drawn in enumerate(found for found in sheets if found.exists()):
        print(f"{'' if number else 'pictures':<8}  {drawn}")
    return results


def _draw(this: Experiment, sheet: StoragePath, networks: dict[str, Trained], worst: dict[str, Any]) -> None:
    """The contact sheets, and the report's gallery of the same images."""
    own = judge(this)
    captions, evenly = own.captions(worst), own.evenly()
    # One program's worth of work: the images of both sheets, each once.
    records = list(dict.fromkeys([*evenly, *captions]))
    by_record = {example.record: example for example in own.examples(networks, records)}
    normal, failures = ([by_record[record] for record in chosen] for chosen in (evenly, captions))
    own.draw_examples(sheet, normal)
    own.draw_examples(this.workdir / "pictures" / "failures.png", failures, captions)
    gallery.write(this.workdir, normal, failures, captions, this.description.palette)


def _written(path: StoragePath) -> str:
    """Fingerprint of the results that are there; empty where they are not, or were cut off, and are written anew."""
    try:
        return fingerprint(read_json(path))
    except CsstError:
        return ""


def summary(this: Experiment, networks: dict[str, Trained], scores: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What results.json holds."""
    earlier = [turn.labels for turn in rounds.of(this.settings.rounds)[:-1]]
    stages = {name: read_json(this.workdir / name / DONE_FILE) for name in networks}
    manifest = _result(this.workdir / LABELS) if "student" in networks else None
    results: dict[str, Any] = {}
    for name in [name for name in networks if name in _SHOWN]:
        done = stages[name]
        results[name] = {
            **{key: scores[name][key] for key in SCORES if key in scores[name]},
            "network": done["network"],
            "steps": done["steps"],
            "weights_sha256": done["weights_sha256"],
        }
    if manifest is not None:
        results[LABELS] = {key: value for key, value in manifest.items() if key != "wall_s"}
    if "student" in networks and this.settings.rounds > 1:
        results["rounds"] = gathered(this.workdir, this.settings.rounds)
    results["data"] = record.data(this)
    results["compilations"] = {name: done["compilations"] for name, done in stages.items()}
    results["wall_s"] = {name: done["wall_s"] for name, done in stages.items()}
    if manifest is not None:
        results["wall_s"][LABELS] = manifest["wall_s"]
        results["wall_s"] |= {name: found["wall_s"] for name in earlier if (found := _result(this.workdir / name))}
    results["wall_s"]["evaluate"] = sum(score["wall_s"] for score in scores.values())
    return results


def _result(directory: StoragePath) -> dict[str, Any] | None:
    """A finished stage's result; None where there is none."""
    done = directory / DONE_FILE
    return read_json(done) if done.exists() else None
