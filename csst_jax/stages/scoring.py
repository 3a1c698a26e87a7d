"""Scores finished networks on a split, one after another, and writes what there is to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from PIL import Image

from csst_jax import build
from csst_jax.evaluation import submission as formats
from csst_jax.evaluation.matrix_picture import draw_confusion
from csst_jax.evaluation.pictures import save_png
from csst_jax.evaluation.table import format_by_method
from csst_jax.runtime.json_files import write_json
from csst_jax.runtime.storage import is_remote
from csst_jax.stages import evaluate as stage
from csst_jax.stages import finished
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ml_collections import ConfigDict

    from csst_jax.data.selection import Selection
    from csst_jax.evaluation.whole_image import Prediction
    from csst_jax.runtime.storage import Place
    from csst_jax.stages.train import Trained

SCORES_FILE = "scores.json"
PREDICTIONS = "predictions"  # a directory a network in it


def evaluate(
    config: ConfigDict,
    checkpoints: Sequence[Place],
    output: Place,
    predictions: bool = False,
    submission: str | None = None,
) -> dict[str, Any]:
    """Scores networks on `data.val_split`, one after another, and writes what there is to see.

    Args:
      config: the run's: `data` and `evaluate` count.
      checkpoints: finished stages' directories, or files of weights.
      output: directory to write to; what is there under the same names is replaced.
      predictions: whether to write every prediction as a PNG of class numbers.
      submission: format of the submission to write, or None.

    Returns:
      By network what `Scores.result` gives, with the weights' hash; empty for a split without masks.

    Raises:
      CsstError: something the user can mend.
    """
    if submission and len(checkpoints) != 1:
        raise CsstError(f"a submission is of one network; {len(checkpoints)} checkpoints are given.")
    if submission and is_remote(output):
        raise CsstError(f"a submission is packed on this machine, and the output is {output}; give a local --output.")
    selection = build.evaluation_selection(config, build.dataset(config))
    if not selection.labelled and not (predictions or submission):
        raise CsstError(
            f"split {selection.split!r} has no masks to score with; set --config.data.val_split to one that "
            "has, or ask for --predictions or a --submission."
        )
    classes = selection.dataset.description.classes
    names = [_name(path, checkpoints) for path in checkpoints]
    if len(set(names)) < len(names):
        raise CsstError(f"checkpoints are told apart by their names, and these are {', '.join(names)}; rename one.")
    networks = {name: finished.load(path, len(classes)) for name, path in zip(names, checkpoints, strict=True)}
    results: dict[str, Any] = {}
    for name, network in networks.items():
        writers = [_folder_writer(output / PREDICTIONS / name, selection)] if predictions else []
        writers += [_submission_writer(output / "submission", submission, selection)] if submission else []
        records = sorted((*selection.labelled, *selection.unlabelled)) if writers else selection.labelled
        found = stage.score(config, selection, network, records, writers)
        if found:
            results[name] = {"weights_sha256": network.sha256, **found}
    if submission:
        _finish_submission(output, submission, selection)
    if results:
        _show(config, selection, networks, results, output)
    if predictions and jax.process_index() == 0:
        print(f"predictions {output / PREDICTIONS}")
    return results


def _name(path: Place, checkpoints: Sequence[Place]) -> str:
    """The stage's or the file's name, with its run's where several have that name."""
    same = [other for other in checkpoints if other.stem == path.stem]
    return path.stem if len(same) == 1 else f"{path.parent.name}_{path.stem}"


def _folder_writer(directory: Place, selection: Selection) -> Callable[[Prediction], None]:
    ids = selection.dataset.ids(selection.split)
    return lambda prediction: save_png(Image.fromarray(prediction.classes), directory / f"{ids[prediction.record]}.png")


def _submission_writer(directory: Place, name: str, selection: Selection) -> Callable[[Prediction], None]:
    how, description = formats.find(name), selection.dataset.description
    how.ids(description)  # refuses other classes before hours of prediction
    ids = selection.dataset.ids(selection.split)
    return lambda prediction: formats.write_image(
        directory, how, description, ids[prediction.record], prediction.classes
    )


def _finish_submission(output: Place, name: str, selection: Selection) -> None:
    """The first process packs what all have written."""
    multihost_utils.sync_global_devices("submission written")
    if jax.process_index() == 0:
        how, data = formats.find(name), selection.dataset
        archive = output / f"submission_{name}{how.suffix}"
        formats.pack(output / "submission", how, archive, data.ids(selection.split))
        formats.require_fit(archive, how, data.description, data.image_sizes(selection.split))
        print(f"submission {archive}")


def _show(
    config: ConfigDict,
    selection: Selection,
    networks: Mapping[str, Trained],
    results: Mapping[str, Any],
    output: Place,
) -> None:
    """The first process writes and prints the scores, and draws."""
    if jax.process_index() > 0:
        return
    output.mkdir(parents=True, exist_ok=True)
    how = {"split": selection.split, "images": len(selection.labelled), "settings": config.evaluate.to_dict()}
    write_json(output / SCORES_FILE, {**how, "networks": results})
    for name, found in results.items():
        matrix, classes = np.array(found["confusion"]), selection.dataset.description.classes
        draw_confusion(matrix, classes, output / f"confusion_{name}.png")
        failures = output / f"failures_{name}.png"
        stage.draw_failures(failures, config, selection, name, networks[name], found["worst"])
    stage.draw(output / "comparison.png", config, selection, networks)
    print(format_by_method(results))
    print(f"\nscores    {output / SCORES_FILE}\npictures  {output}")
