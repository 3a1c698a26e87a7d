"""Scores finished networks on a split, one after another, and writes what there is to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from PIL import Image

from csst_jax.evaluation import submission as formats
from csst_jax.evaluation.matrix_picture import confusion_picture
from csst_jax.evaluation.pictures import save_png
from csst_jax.evaluation.table import format_by_method
from csst_jax.models.weights.locate import MODEL_FILE, locate
from csst_jax.runtime.json_files import write_json
from csst_jax.runtime.storage import is_remote, told_apart
from csst_jax.runtime.workdir import STAGE_FILE
from csst_jax.stages import model_file
from csst_jax.stages.evaluate import Judge
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from csst_jax.data.chosen import Data
    from csst_jax.data.selection import Selection
    from csst_jax.evaluation.whole_image import Prediction
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.settings.run import Evaluation, Mesh
    from csst_jax.stages.model_file import Trained

SCORES_FILE = "scores.json"
PREDICTIONS = "predictions"  # a directory a network in it


def beside(checkpoint: StoragePath) -> StoragePath:
    """Where a network's scores go if nothing else is said: beside its stage, in the workdir; else beside its file.

    Args:
      checkpoint: see `locate`.

    Raises:
      CsstError: as `locate`.
    """
    directory = locate(checkpoint).parent
    return (directory.parent if (directory / STAGE_FILE).exists() else directory) / "scores"


def score_networks(
    settings: Evaluation,
    data: Data,
    mesh: Mesh,
    checkpoints: Sequence[StoragePath],
    output: StoragePath,
    predictions: bool = False,
    submission: str | None = None,
) -> dict[str, Any]:
    """Scores networks on `data.val_split`, one after another, and writes what there is to see.

    Args:
      settings: how images are predicted and what is counted.
      data: which images.
      mesh: how devices share an image.
      checkpoints: files of networks, or directories that have one (see `csst_jax.models.weights.locate`).
      output: directory to write to; what is there under the same names is replaced.
      predictions: whether to write every prediction as a PNG of class numbers.
      submission: format of the submission to write, or None.

    Returns:
      By network what `Scores.result` gives, with the weights' hash; empty for a split without masks.

    Raises:
      CsstError: something the user can fix.
    """
    if submission and len(checkpoints) != 1:
        raise CsstError(f"a submission is for one network, and there are {len(checkpoints)} checkpoints; give one.")
    if submission and is_remote(output):
        raise CsstError(f"a submission is packed on this machine, and the output is {output}; give a local --output.")
    selection = data.evaluation(data.open())
    judge = Judge(settings, mesh, selection)
    if not selection.labelled and not (predictions or submission):
        raise CsstError(
            f"split {selection.split!r} has no masks to score with; set --config.data.val_split to one that "
            "has, or ask for --predictions or a --submission."
        )
    classes = selection.dataset.description.classes
    checkpoints = [locate(path) for path in checkpoints]
    names = _names(checkpoints)
    networks = {name: model_file.load(path) for name, path in zip(names, checkpoints, strict=True)}
    for path, network in zip(checkpoints, networks.values(), strict=True):
        model_file.require_classes(path, network, classes)
    results: dict[str, Any] = {}
    for name, network in networks.items():
        writers = [_folder_writer(output / PREDICTIONS / name, selection)] if predictions else []
        writers += [_submission_writer(output / "submission", submission, selection)] if submission else []
        records = sorted((*selection.labelled, *selection.unlabelled)) if writers else selection.labelled
        found = judge.score(network, records, writers)
        if found:
            results[name] = {"weights_sha256": network.sha256, **found}
    if submission:
        _finish_submission(output, submission, selection)
    if results:
        _show(judge, networks, results, output)
    if predictions and jax.process_index() == 0:
        print(f"predictions {output / PREDICTIONS}")
    return results


def _names(checkpoints: Sequence[StoragePath]) -> list[str]:
    """Names of stages or files, with as much of their paths as tells those apart that have one name.

    Raises:
      CsstError: one is given twice, or two have one name all the same.
    """
    told_apart(checkpoints)  # none is given twice
    places = [own.parent / own.stem for own in map(_owner, checkpoints)]
    longer: dict[StoragePath, str] = {}
    for stem in {place.name for place in places}:
        same = [place for place in dict.fromkeys(places) if place.name == stem]
        longer |= zip(same, told_apart(same), strict=True)
    names = [longer[place].replace("/", "_") for place in places]  # files are called so
    if len(set(names)) < len(names):
        raise CsstError(f"checkpoints are told apart by their names, and these are {', '.join(names)}; rename one.")
    return names


def _owner(path: StoragePath) -> StoragePath:
    return path.parent if path.name == MODEL_FILE else path


def _folder_writer(directory: StoragePath, selection: Selection) -> Callable[[Prediction], None]:
    ids = selection.dataset.ids(selection.split)
    return lambda prediction: save_png(Image.fromarray(prediction.classes), directory / f"{ids[prediction.record]}.png")


def _submission_writer(directory: StoragePath, name: str, selection: Selection) -> Callable[[Prediction], None]:
    file_format, description = formats.find(name), selection.dataset.description
    file_format.ids(description)  # refuses other classes before hours of prediction
    ids = selection.dataset.ids(selection.split)
    return lambda prediction: formats.write_image(
        directory, file_format, description, ids[prediction.record], prediction.classes
    )


def _finish_submission(output: StoragePath, name: str, selection: Selection) -> None:
    """The first process packs what all have written."""
    multihost_utils.sync_global_devices("submission written")
    if jax.process_index() == 0:
        file_format, data = formats.find(name), selection.dataset
        archive = output / f"submission_{name}{file_format.suffix}"
        formats.pack(output / "submission", file_format, archive, data.ids(selection.split))
        formats.require_fit(archive, file_format, data.description, data.image_sizes(selection.split))
        print(f"submission {archive}")


def _show(
    judge: Judge,
    networks: Mapping[str, Trained],
    results: Mapping[str, Any],
    output: StoragePath,
) -> None:
    """The first process writes and prints the scores, and draws."""
    if jax.process_index() > 0:
        return
    output.mkdir(parents=True, exist_ok=True)
    selection, settings = judge.selection, dict(judge.settings.request.whole)
    judged = {"split": selection.split, "images": len(selection.labelled), "settings": settings}
    write_json(output / SCORES_FILE, {**judged, "networks": results})
    for name, found in results.items():
        matrix, classes = np.array(found["confusion"]), selection.dataset.description.classes
        save_png(confusion_picture(matrix, classes), output / f"confusion_{name}.png")
        failures = output / f"failures_{name}.png"
        judge.draw_failures(failures, name, networks[name], found["worst"])
    judge.draw(output / "comparison.png", networks)
    print(format_by_method(results))
    print(f"\nscores    {output / SCORES_FILE}\npictures  {output}")
