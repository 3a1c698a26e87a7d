"""Which images of the pool have reliable pseudo labels: ST++ (Yang et al., CVPR 2022, §3.3).

While a teacher learns, its answers to an easy image soon stay the same, and those to a hard one go on changing. An
image's reliability is the mean IoU of the label maps of the teacher's earlier networks with those of its last one,
averaged over the earlier ones. As in the reference implementation (LiheYoung/ST-PlusPlus f4e7a57, `main.py`), the
networks see whole images at one scale for this.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import jax
from jax.experimental import multihost_utils

from csst_jax import build
from csst_jax.data.stored import pseudo_labels
from csst_jax.evaluation.agreement import mean_iou
from csst_jax.runtime.json_files import read_json, write_json
from csst_jax.runtime.patience import EVERY_S
from csst_jax.runtime.signals import StopRequest
from csst_jax.settings import rounds
from csst_jax.stages import snapshots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from csst_jax.evaluation.whole_image import Prediction
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.stages.experiment import Experiment
    from csst_jax.stages.model_file import Trained

log = logging.getLogger(__name__)

FILE = "reliability.json"
"""In the label stage's directory: every image's reliability by its id, the most reliable one first."""


def rank(this: Experiment, directory: StoragePath, teacher: Trained, stage: StoragePath) -> None:
    """Writes every image's reliability, or goes on after the last whole part; processes take turns at parts.

    Args:
      this: the run.
      directory: of the label stage.
      teacher: the last network.
      stage: the directory of the training stage with its earlier ones.

    Raises:
      CsstError: these are missing.
      Preempted: SIGTERM or Ctrl-C came; whole parts are kept.
    """
    if (directory / FILE).exists():
        return
    pool, size, num_classes = this.pool, this.settings.label.shard_size, len(this.description.classes)
    total = len(pool.unlabelled)
    parts = pseudo_labels.shards(total, size)
    earlier = snapshots.read(stage, this.settings.teacher.snapshots)
    last = build.predictor(
        this.settings.label.averaging.plain(),
        teacher.network,
        teacher.weights,
        teacher.expects,
        this.settings.evaluate.batch_size,
        this.settings.mesh,
        window_key="label.window_px",
    )
    others = [last.of_network(*network.weights) for network in earlier]
    (directory / "parts").mkdir(parents=True, exist_ok=True)
    steps = ", ".join(str(network.steps) for network in earlier)
    log.info("%s: how far the teacher's networks of steps %s agree with its last one", directory.name, steps)
    said = time.monotonic()
    with StopRequest() as stop:
        for number, positions in enumerate(parts):
            if number % jax.process_count() != jax.process_index() or _part(directory, number).exists():
                continue
            records = [pool.unlabelled[i] for i in positions]
            with stop.at_once(directory.name, f"{number} of {len(parts)} parts are compared"):
                predicted = [predict(pool.reader, records) for predict in (last, *others)]
                found: list[float] = []
                for value in agreements(*predicted, num_classes=num_classes):
                    found.append(value)
                    if time.monotonic() - said > EVERY_S:
                        log.info("%s: image %d of %d compared", directory.name, positions[0] + len(found), total)
                        said = time.monotonic()
            write_json(_part(directory, number), found)
            log.info("%s: %d of %d images compared", directory.name, positions[-1] + 1, total)
    multihost_utils.sync_global_devices("reliability known")
    if jax.process_index() == 0:
        values = [value for number in range(len(parts)) for value in read_json(_part(directory, number))]
        write_json(directory / FILE, ordered(dict(zip(pool.ids(pool.unlabelled), values, strict=True))))
    multihost_utils.sync_global_devices("reliability written")


def agreements(last: Iterable[Prediction], *earlier: Iterable[Prediction], num_classes: int) -> Iterator[float]:
    """Each image's reliability, from 0 to 1.

    Args:
      last: what the last network predicts.
      earlier: what each of the earlier ones does, for the same images.
      num_classes: of the data set.
    """
    for final, *others in zip(last, *earlier, strict=True):
        yield sum(mean_iou(other.classes, final.classes, num_classes) for other in others) / len(others)


def ordered(values: Mapping[str, float]) -> dict[str, float]:
    """The most reliable image first; equally reliable ones keep their order."""
    return dict(sorted(values.items(), key=lambda item: -item[1]))


def chosen(this: Experiment, directory: StoragePath) -> Sequence[int] | None:
    """Positions in the pool of the images that the round trains on, in their order; None for all."""
    settings, pool = this.settings.label, this.pool
    if not settings.reliable_share:
        return None
    ranked: dict[str, Any] = read_json(directory / FILE)
    best = set(list(ranked)[: rounds.num_reliable(settings, len(pool.unlabelled))])
    return [position for position, image_id in enumerate(pool.ids(pool.unlabelled)) if image_id in best]


def _part(directory: StoragePath, number: int) -> StoragePath:
    return directory / "parts" / f"reliability-{number:05d}.json"
