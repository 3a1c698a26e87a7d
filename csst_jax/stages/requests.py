"""What each stage is asked for: the settings and inputs that decide its result (see `Artifact`).

A request names the settings that differ from the defaults, so that a key which a new version adds, with a default that
changes nothing, leaves every workdir as it is. Where a default itself has changed, `Artifact` says so.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from csst_jax import build
from csst_jax.data.stored import centroid_index
from csst_jax.models.weights.files import identity
from csst_jax.runtime.json_files import fingerprint
from csst_jax.stages.artifact import Request
from csst_jax.streams import PSEUDO, REAL
from csst_jax.train.compile import distinct_phases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.data.selection import Selection
    from csst_jax.settings.training import RequestedSettings
    from csst_jax.stages.experiment import Experiment
    from csst_jax.stages.model_file import Trained
    from csst_jax.stages.train import Job

VERSION = 2
"""Of the requests' form: raised when the same settings and inputs would give another result, or another request."""


def train(this: Experiment, job: Job) -> Request:
    """Of a training stage.

    The batches are part of the request, and the devices are not: batches are multiples of the mesh's data axis, so
    other devices can mean other steps. Where they do not, a run goes on on other devices than it began on.
    """
    training, counts = job.training, {origin: len(given.records) for origin, given in job.images.items()}
    phases = build.phases(training, sum(counts.values()), this.mesh)
    pretrained, start_rows = training.network.pretrained, training.network.start_rows
    unlabelled = this.pool.unlabelled if job.images.keys() - {REAL} else ()
    return _request(
        training.request,
        files_sha256(this.pool, (*this.pool.labelled, *unlabelled)),
        seed=job.seed,
        pretrained_sha256=identity(pretrained) if pretrained else None,
        preprocessing=dataclasses.asdict(training.network.preprocessing),
        batches=[f"{p.steps} of {p.global_batch} x {p.crop_px} px an epoch" for p in distinct_phases(phases)],
        labels_sha256={o: given.index.labels_sha256 for o, given in job.images.items() if given.index is not None},
        records_sha256={origin: fingerprint(list(given.records)) for origin, given in job.images.items()},
        teacher_sha256=job.teacher_sha256 if PSEUDO in job.images else None,
        **({} if start_rows is None else {"start_rows": list(start_rows)}),
        **({"soft_sha256": job.soft_sha256} if job.soft_sha256 and PSEUDO in job.images else {}),
    )


def label(this: Experiment, teacher: Trained, **more: Any) -> Request:
    """Of the label stage; `more` as `csst_jax.stages.turns.inputs` has it."""
    return _request(
        this.settings.label.request,
        files_sha256(this.pool, this.pool.unlabelled),
        teacher_sha256=teacher.sha256,
        preprocessing=dataclasses.asdict(teacher.expects),
        images_sha256=fingerprint(this.pool.ids(this.pool.unlabelled)),
        **more,
    )


def evaluate(this: Experiment, network: Trained) -> Request:
    """Of one network's evaluation."""
    return _request(
        this.settings.evaluate.request,
        files_sha256(this.validation, this.validation.labelled),
        weights_sha256=network.sha256,
        preprocessing=dataclasses.asdict(network.expects),
        labels_sha256=validation_sha256(this.validation),
    )


def validation_sha256(selection: Selection) -> str:
    """Hash of the masks that networks are judged on."""
    labels, ids = selection.reader, selection.ids(selection.labelled)
    return centroid_index.labels_sha256(
        (image_id, labels.label_bytes(record)) for image_id, record in zip(ids, selection.labelled, strict=True)
    )


def files_sha256(selection: Selection, records: Sequence[int]) -> str:
    """Hash of some images' files; empty if the data set does not have the hash of each."""
    digests = selection.dataset.image_digests(selection.split)
    chosen = [digests[record] for record in records]
    return fingerprint(chosen) if all(chosen) else ""


def _request(settings: RequestedSettings, files: str, **inputs: Any) -> Request:
    asked = {"version": VERSION, "settings": settings.differing, **inputs}
    return Request(asked, settings.whole, files)
