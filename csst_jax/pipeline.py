"""The paper at a glance: train a teacher, label the pool, train a student on both, evaluate.

    labelled images ─▶ teacher ─▶ pseudo labels of the unlabelled images ─▶ student ─▶ results.json

Each box is a stage with a directory of its own in the workdir. A finished one is skipped, an interrupted one goes on
where it stopped, and one that was made by other settings or from other inputs is refused.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import jax

from csst_jax import build
from csst_jax.data import readiness
from csst_jax.data.stored import centroid_index
from csst_jax.evaluation.table import format_table
from csst_jax.models.weights.files import identity
from csst_jax.report import write_report
from csst_jax.runtime.json_files import fingerprint, write_json
from csst_jax.stages import evaluate, label, train
from csst_jax.stages.artifact import DONE_FILE, Artifact
from csst_jax.train.compile import distinct_phases
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_collections import ConfigDict

    from csst_jax.data.sampling import LabelledSource
    from csst_jax.data.selection import Selection
    from csst_jax.runtime.storage import Place
    from csst_jax.stages.model_file import Trained

log = logging.getLogger(__name__)

STAGES = ("teacher", "label", "student", "baseline", "evaluate")
RESULTS_FILE = "results.json"
SCORES = ("miou", "iou", "pixel_accuracy", "frequency_weighted_iou", "boundary_miou", "boundary_iou")
"""What results.json has of `Scores.result`; the rest is in each network's `evaluation`."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What all stages share.

    Attributes:
      config: the resolved configuration.
      stages: the boxes to run; what others made is used as it is.
      workdir: where artifacts lie.
      pool: the training split: labelled and unlabelled images.
      validation: the labelled images that networks are judged on.
      classes: class names.
    """

    config: ConfigDict
    stages: set[str]
    workdir: Place
    pool: Selection
    validation: Selection
    classes: Sequence[str]


def run(config: ConfigDict, workdir: Place) -> dict[str, Any] | None:
    """Runs the stages that the configuration asks for (paper §3.1, Fig. 2).

    Args:
      config: a resolved configuration (see `configs/base.py`).
      workdir: directory for all artifacts.

    Returns:
      What `results.json` holds; None if the evaluate stage was not asked for.

    Raises:
      CsstError: something the user can mend.
      Preempted: SIGTERM came; everything so far is saved.
    """
    stages = wanted_stages(config.stages)
    data = build.dataset(config)
    this = Run(
        config,
        stages,
        workdir,
        build.training_selection(config, data),
        build.validation_selection(config, data),
        data.description.classes,
    )
    log.info(
        "data set %s: %d labelled and %d unlabelled images, %d for validation",
        data.description.name,
        len(this.pool.labelled),
        len(this.pool.unlabelled),
        len(this.validation.labelled),
    )
    if "student" in stages or "label" in stages:
        label.check_pool(this.pool)
    check_data(this)
    check_settings(this)

    # Stage one: a teacher on the real labels alone (eq. 1).
    real = build.real_labels(this.pool, config.teacher)
    teacher = train_network(this, "teacher", config.teacher, [real], seed=config.seed)
    networks = {"teacher": teacher}

    # Stage two: hard pseudo labels for the unlabelled images (eq. 2).
    if "label" in stages or has(this, "student"):
        pseudo = label_pool(this, teacher)

    # Stage three: a student of its own initialisation on both (eq. 3).
    if has(this, "student"):
        both = [build.real_labels(this.pool, config.student), pseudo]
        networks["student"] = train_network(this, "student", config.student, both, config.seed + 1, teacher.sha256)

    # The control (Table 1b): the teacher's recipe for as many steps as the student took.
    if has(this, "baseline"):
        longer = lengthened_teacher(this, networks["student"].steps)
        networks["baseline"] = train_network(this, "baseline", longer, [real], seed=config.seed)

    if "evaluate" not in stages:
        return None
    scores = {name: evaluate_network(this, name, network) for name, network in networks.items()}
    return conclude(this, networks, scores)


def wanted_stages(text: str) -> set[str]:
    """The stages that `config.stages` lists.

    Raises:
      CsstError: an unknown stage, or one without the stage it needs.
    """
    wanted = {name.strip() for name in text.split(",") if name.strip()}
    unknown = sorted(wanted - set(STAGES))
    if unknown or not wanted:
        raise CsstError(f"stages={text!r}: give a comma-separated list of {', '.join(STAGES)}.")
    if "baseline" in wanted and "student" not in wanted:
        raise CsstError(f"stages={text!r}: baseline trains for the student's number of steps; add student.")
    return wanted


def has(this: Run, name: str) -> bool:
    """Whether a network belongs to this run: it was asked for, or is there to be evaluated with the others."""
    finished = (this.workdir / name / DONE_FILE).exists()
    return name in this.stages or ("evaluate" in this.stages and finished)


def check_data(this: Run) -> None:
    """Says what is odd about the data, and refuses data that training or scores would go wrong with.

    Raises:
      CsstError: names what is wrong and the mend.
    """
    found = readiness.check(this.pool, this.validation)
    for warning in found.warnings:
        log.warning("data: %s", warning)
    if found.errors:
        raise CsstError("\n".join([*found.errors, "`python -m data_prep.check` with the same --config looks closer."]))


def check_settings(this: Run) -> None:
    """Refuses what the student would stumble over before a teacher is trained for it.

    Raises:
      CsstError: names the key or value and the mend.
    """
    if not 0 <= this.config.seed < 2**32 - 1:  # the student's is one more, and the device takes 32 bits
        raise CsstError(f"seed={this.config.seed} is out of range; give a number from 0 to {2**32 - 2}.")
    mesh, num_classes = build.mesh(this.config), len(this.classes)
    build.check_stage(this.config.teacher, this.pool, this.pool.labelled, num_classes, mesh)
    if "student" in this.stages:
        both = (*this.pool.labelled, *this.pool.unlabelled)
        build.check_stage(this.config.student, this.pool, both, num_classes, mesh)
    if "baseline" in this.stages:
        lengthened_teacher(this, steps=1)


def lengthened_teacher(this: Run, steps: int) -> ConfigDict:
    """The teacher's settings, for about as many steps."""
    mesh, longer_by = build.mesh(this.config), this.config.baseline.longer_by
    return build.lengthened(this.config.teacher, len(this.pool.labelled), steps, mesh, longer_by)


def check_made(this: Run, stage: str, artifact: Artifact) -> None:
    """Refuses to make in passing what `config.stages` does not ask for.

    Raises:
      CsstError: the stage is needed, is not finished, and was not asked for.
    """
    if stage not in this.stages and not artifact.done:
        raise CsstError(
            f"stages={this.config.stages!r} needs the {stage} stage, and {artifact.directory} is not finished; "
            f"add {stage} to --config.stages."
        )


def train_network(
    this: Run, name: str, stage: ConfigDict, sources: Sequence[LabelledSource], seed: int, teacher: str | None = None
) -> Trained:
    """One training stage in `workdir/<name>`.

    The batches are part of the request, and the devices are not: batches are multiples of the mesh's data axis, so
    other devices can mean other steps. Where they do not, a run goes on on other devices than it began on.
    """
    phases = build.phases(stage, sum(len(labelled.records) for labelled in sources), build.mesh(this.config))
    settings = stage.to_dict()
    pretrained = settings.pop("pretrained")  # its content counts, not its place
    request = {
        "seed": seed,
        "settings": settings,
        "pretrained_sha256": identity(pretrained) if pretrained else None,
        "preprocessing": dataclasses.asdict(build.preprocessing(this.config, stage)),
        "batches": [f"{p.steps} of {p.global_batch} x {p.crop_px} px an epoch" for p in distinct_phases(phases)],
        "labels_sha256": [labelled.index.labels_sha256 for labelled in sources],
        "records_sha256": [fingerprint(list(labelled.records)) for labelled in sources],
    }
    artifact = Artifact(this.workdir / name, request)
    check_made(this, name, artifact)
    return train.run(artifact, this.config, stage, sources, this.pool.dataset.description, seed, teacher)


def label_pool(this: Run, teacher: Trained) -> LabelledSource:
    """The label stage in `workdir/pseudo_labels`."""
    request = {
        "teacher_sha256": teacher.sha256,
        "settings": this.config.label.to_dict(),
        "preprocessing": dataclasses.asdict(teacher.expects),
        "images_sha256": fingerprint(this.pool.ids(this.pool.unlabelled)),
    }
    artifact = Artifact(this.workdir / "pseudo_labels", request)
    check_made(this, "label", artifact)
    labelled, index = label.run(artifact, this.config, this.pool, teacher)
    return build.pseudo_labels(labelled, index, this.config.student)


def evaluate_network(this: Run, name: str, network: Trained) -> dict[str, Any]:
    """One network's evaluation in `workdir/<name>/evaluation`."""
    labels = this.validation.source
    ids = this.validation.ids(this.validation.labelled)
    request = {
        "weights_sha256": network.sha256,
        "averaging": dataclasses.asdict(build.averaging(this.config.evaluate)),
        "boundary_ratio": this.config.evaluate.boundary_ratio,
        "preprocessing": dataclasses.asdict(network.expects),
        "labels_sha256": centroid_index.labels_sha256(
            (image_id, labels.label_bytes(record))
            for image_id, record in zip(ids, this.validation.labelled, strict=True)
        ),
    }
    artifact = Artifact(this.workdir / name / "evaluation", request)
    return evaluate.run(artifact, this.config, this.validation, network)


def conclude(this: Run, networks: dict[str, Trained], scores: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Writes results.json, the contact sheet and the report; returns the results."""
    stages = {name: evaluate.read_result(this.workdir / name) for name in (*networks, "pseudo_labels")}
    results: dict[str, Any] = {}
    for name in networks:
        done = stages[name] or {}
        results[name] = {
            **{key: scores[name][key] for key in SCORES if key in scores[name]},
            "network": done["network"],
            "steps": done["steps"],
            "weights_sha256": done["weights_sha256"],
        }
    manifest = stages.pop("pseudo_labels")
    if manifest is not None and "student" in networks:
        results["pseudo_labels"] = {key: value for key, value in manifest.items() if key != "wall_s"}
    results["data"] = {
        "name": this.pool.dataset.description.name,
        "labelled": len(this.pool.labelled),
        "unlabelled": len(this.pool.unlabelled),
        "validation": len(this.validation.labelled),
    }
    results["compilations"] = {name: done["compilations"] for name, done in stages.items() if done}
    results["wall_s"] = {name: done["wall_s"] for name, done in stages.items() if done}
    if manifest is not None and "student" in networks:
        results["wall_s"]["pseudo_labels"] = manifest["wall_s"]
    results["wall_s"]["evaluate"] = sum(score["wall_s"] for score in scores.values())
    if jax.process_index() == 0:
        sheet = this.workdir / "pictures" / "validation.png"
        path = this.workdir / RESULTS_FILE
        if not path.exists() or not sheet.exists() or fingerprint(results) != fingerprint(evaluate.read_json(path)):
            order = ("teacher", "baseline", "student")
            shown = dict(sorted(networks.items(), key=lambda item: order.index(item[0])))
            evaluate.draw(sheet, this.config, this.validation, shown)
            judged = list(shown)[-1]
            failures = this.workdir / "pictures" / "failures.png"
            worst = scores[judged]["worst"]
            evaluate.draw_failures(failures, this.config, this.validation, judged, networks[judged], worst)
            write_json(path, results)
            write_report(this.workdir)
        print(format_table(results))
        print(f"\nresults   {path}\nreport    {this.workdir / 'report.html'}\npictures  {sheet}")
        if "pseudo_labels" in results:
            print(f"          {this.workdir / 'pseudo_labels' / label.SHEET_FILE}")
    return results
