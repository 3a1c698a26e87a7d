"""The label stage: hard pseudo labels for the unlabelled pool (paper §3.1, eq. 2), and their centroid index.

With `label.soft.k` the most probable classes and their probabilities are stored beside them (eq. 6).
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from csst_jax import build
from csst_jax.data.stored import centroid_index, pseudo_labels, soft_labels
from csst_jax.data.stored.encoded import decode_label, encode_label
from csst_jax.data.stored.pseudo_labels import PseudoLabelled, shard_path, write_shard
from csst_jax.evaluation.pictures import colour, contact_sheet
from csst_jax.runtime.json_files import read_json, write_json
from csst_jax.runtime.patience import EVERY_S, told
from csst_jax.runtime.signals import StopRequest
from csst_jax.runtime.workdir import SHEET_FILE
from csst_jax.stages import label_counts, reliability, thresholds
from csst_jax.stages.label_counts import Counts
from csst_jax.types import IGNORE_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from csst_jax.data.selection import Selection
    from csst_jax.data.stored.centroid_index import CentroidIndex
    from csst_jax.evaluation.whole_image import WholeImagePredictor
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.settings.run import Labelling
    from csst_jax.stages.artifact import Artifact
    from csst_jax.stages.experiment import Experiment
    from csst_jax.stages.model_file import Trained

log = logging.getLogger(__name__)

INDEX_FILE = "centroids.tfrecord"
MANIFEST_FILE = "manifest.json"
_COUNTS = "counts.json"


@dataclasses.dataclass(frozen=True)
class PseudoLabels:
    """What the stage makes.

    Attributes:
      images: the unlabelled images with their pseudo labels, and the components of these.
      teacher_sha256: hash of the weights that made them.
      records: positions in the pool of the images that the student trains on; None for all.
      soft_sha256: hash of the soft labels; None where labels are hard.
    """

    images: tuple[PseudoLabelled, CentroidIndex]
    teacher_sha256: str
    records: Sequence[int] | None = None
    soft_sha256: str | None = None


def run(this: Experiment, artifact: Artifact, teacher: Trained, before: PseudoLabels | None = None) -> PseudoLabels:
    """Labels the pool, or goes on after the last whole shard, or opens what is labelled.

    Processes take turns at shards; the first one writes the index and the manifest at the end.

    Args:
      this: the run, with the settings of the round.
      artifact: of the stage.
      teacher: what predicts.
      before: of the round before; where that one selected images, these keep their labels.

    Raises:
      Preempted: SIGTERM or Ctrl-C came; whole shards are kept.
    """
    settings, directory = this.settings.label, artifact.directory
    if not artifact.done:
        with artifact.clock() as elapsed:
            _run(this, artifact, teacher, before, elapsed)
    else:
        log.info("%s: done, skipped", directory.name)
    with told(f"{directory.name}: reading what was labelled"):
        images = read(directory, this.pool, settings.shard_size, settings.soft_k > 0)
        soft_sha256 = read_json(directory / MANIFEST_FILE)["soft"]["sha256"] if settings.soft_k else None
        return PseudoLabels(images, teacher.sha256, reliability.chosen(this, directory), soft_sha256)


def _run(
    this: Experiment, artifact: Artifact, teacher: Trained, before: PseudoLabels | None, elapsed: Callable[[], float]
) -> None:
    settings, directory = this.settings.label, artifact.directory
    if settings.reliable_share:
        reliability.rank(this, directory, teacher, this.workdir / "teacher")
    predictor = build.predictor(
        settings.averaging,
        teacher.network,
        teacher.weights,
        teacher.expects,
        this.settings.evaluate.batch_size,
        this.settings.mesh,
        ranks=settings.ranks,
        window_key="label.window_px",
    )
    _write_shards(directory, settings, this.pool, predictor, before)
    multihost_utils.sync_global_devices("pseudo labels written")
    if jax.process_index() == 0:
        with told(f"{directory.name}: joining the index of components, drawing the contact sheet"):
            manifest = _finish(directory, settings, this.pool, teacher)
            _draw_sheet(directory / SHEET_FILE, this, predictor)
        artifact.finish({**manifest, "wall_s": elapsed()})
    multihost_utils.sync_global_devices("pseudo labels finished")


def read(
    directory: StoragePath, selection: Selection, shard_size: int, soft: bool = False
) -> tuple[PseudoLabelled, CentroidIndex]:
    """The pseudo labels of the pool, and their components.

    Args:
      directory: the label stage's.
      selection: the split whose unlabelled images were labelled.
      shard_size: images a file.
      soft: whether there are soft labels.

    Raises:
      CsstError: a file is missing, or the index was made from other labels.
    """
    labelled = PseudoLabelled(directory, selection.reader, selection.unlabelled, shard_size, soft)
    ids = selection.ids(selection.unlabelled)
    sha256 = centroid_index.labels_sha256((ids[i], labelled.label_bytes(i)) for i in range(len(labelled)))
    rebuild = f"delete {directory} and run the label stage again"
    return labelled, centroid_index.read(directory / INDEX_FILE, sha256, rebuild_command=rebuild)


def _part(directory: StoragePath, shard: int, suffix: str) -> StoragePath:
    return directory / "parts" / f"{shard:05d}.{suffix}"


def _write_shards(
    directory: StoragePath,
    settings: Labelling,
    selection: Selection,
    predictor: WholeImagePredictor,
    before: PseudoLabels | None,
) -> None:
    """One shard after another: label maps, their components, their statistics; the last written marks it whole."""
    num_classes = len(selection.dataset.description.classes)
    shards = pseudo_labels.shards(len(selection.unlabelled), settings.shard_size)
    ids = selection.ids(selection.unlabelled)
    (directory / "parts").mkdir(parents=True, exist_ok=True)
    stays = frozenset() if before is None or before.records is None else frozenset(before.records)
    log.info("%s: labelling %d images, shards: %d", directory.name, len(ids) - len(stays), len(shards))
    said = time.monotonic()
    asked = [record for position, record in enumerate(selection.unlabelled) if position not in stays]
    keep = thresholds.of_pool(directory, settings, selection, asked, predictor)
    with StopRequest() as stop:
        for shard, positions in enumerate(shards):
            if shard % jax.process_count() != jax.process_index() or _part(directory, shard, _COUNTS).exists():
                continue
            builder = centroid_index.IndexBuilder(num_classes)
            encoded: list[bytes] = []
            soft: list[bytes] = []
            counts = Counts(num_classes)
            records = [selection.unlabelled[position] for position in positions if position not in stays]
            with stop.at_once(directory.name, f"{shard} of {len(shards)} shards are kept"):
                predictions = iter(predictor(selection.reader, records))
                for row, position in enumerate(positions):
                    if before is not None and position in stays:
                        label = decode_label(before.images[0].label_bytes(position))
                        counts.add_kept(label)
                        if settings.soft_k:
                            soft.append(before.images[0].soft_bytes(position))
                    else:
                        prediction = next(predictions)
                        label = np.where(keep.void(prediction), np.uint8(IGNORE_LABEL), prediction.classes)
                        counts.add_predicted(prediction, label)
                        if settings.soft_k:
                            ranked = prediction.ranked(settings.soft_k)
                            soft.append(soft_labels.encode(label, *ranked, settings.soft_bits))
                    encoded.append(encode_label(label))
                    builder.add(row, ids[position], label, encoded[-1])
                    if time.monotonic() - said > EVERY_S:
                        log.info("%s: image %d of %d", directory.name, position + 1, len(ids))
                        said = time.monotonic()
            write_shard(shard_path(directory, shard, len(shards)), encoded)
            if soft:
                write_shard(shard_path(directory, shard, len(shards), soft=True), soft)
            centroid_index.write(_part(directory, shard, "tfrecord"), builder.finish())
            write_json(_part(directory, shard, _COUNTS), counts.as_json())
            log.info("%s: %d of %d images labelled", directory.name, positions[-1] + 1, len(ids))


def _finish(directory: StoragePath, settings: Labelling, selection: Selection, teacher: Trained) -> dict[str, Any]:
    """Joins the shards' parts into one index and one manifest."""
    description = selection.dataset.description
    shards = pseudo_labels.shards(len(selection.unlabelled), settings.shard_size)
    soft = settings.soft_k > 0
    labelled = PseudoLabelled(directory, selection.reader, selection.unlabelled, settings.shard_size, soft)
    ids = selection.ids(selection.unlabelled)
    sha256 = centroid_index.labels_sha256((ids[i], labelled.label_bytes(i)) for i in range(len(labelled)))
    indices = [centroid_index.read(_part(directory, shard, "tfrecord")) for shard in range(len(shards))]
    centroid_index.write(directory / INDEX_FILE, centroid_index.concatenate(indices, ids, sha256))
    counts = [read_json(_part(directory, shard, _COUNTS)) for shard in range(len(shards))]
    manifest = {
        "teacher_sha256": teacher.sha256,
        "labels_sha256": sha256,
        "images": len(ids),
        "shards": len(shards),
        **label_counts.joined(counts, description.classes),
        "settings": dict(settings.request.whole),
    }
    if soft:
        manifest["soft"] = _of_soft(labelled, ids, sum(part["pixels"] for part in counts))
        log.info(
            "%s: soft labels of %d classes take %.3f bytes a pixel, hard ones %.3f, and all %d as float32 %d",
            directory.name,
            settings.soft_k,
            *(manifest["soft"][name] for name in ("bytes_a_pixel", "hard_bytes_a_pixel")),
            len(description.classes),
            4 * len(description.classes),
        )
    write_json(directory / MANIFEST_FILE, manifest)
    return manifest


def _of_soft(labelled: PseudoLabelled, ids: Sequence[str], pixels: int) -> dict[str, Any]:
    """The hash of the soft labels, and what a pixel of them and of the hard ones takes."""
    size = 0

    def read() -> Iterator[tuple[str, bytes]]:
        nonlocal size
        for position, image_id in enumerate(ids):
            soft = labelled.soft_bytes(position)
            size += len(soft)
            yield image_id, soft

    sha256 = centroid_index.labels_sha256(read())
    hard = sum(len(labelled.label_bytes(position)) for position in range(len(ids)))
    return {"sha256": sha256, "bytes_a_pixel": size / pixels, "hard_bytes_a_pixel": hard / pixels}


def _draw_sheet(path: StoragePath, this: Experiment, predictor: WholeImagePredictor) -> None:
    selection, description, settings = this.pool, this.description, this.settings.label
    count = min(this.settings.evaluate.num_pictures, len(selection.unlabelled))
    if not count:
        return
    positions = np.linspace(0, len(selection.unlabelled) - 1, count).round().astype(int).tolist()
    names = selection.dataset.ids(selection.split)
    labelled = PseudoLabelled(path.parent, selection.reader, selection.unlabelled, settings.shard_size)
    rows = []
    predictions = predictor(selection.reader, [selection.unlabelled[i] for i in positions])
    for position, prediction in zip(positions, predictions, strict=True):
        label = decode_label(labelled.label_bytes(position))
        rows.append(
            [
                (names[prediction.record], prediction.image),
                ("pseudo label", colour(label, description.palette)),
                ("confidence", prediction.confidence),
            ]
        )
    contact_sheet(rows, path, description=description)
