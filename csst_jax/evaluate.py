"""`python -m csst_jax.evaluate --config=FILE --checkpoint=DIR|FILE[,…] [--config.KEY=VALUE …]`: scores networks.

A checkpoint is a finished stage of a run (WORKDIR/student) or a file of weights. Predicts `data.val_split` as
`evaluate` in the configuration says, prints IoU by class, and writes scores.json, the confusion matrix and pictures of
predictions and failures; with --submission the file for a test server.
"""

from __future__ import annotations

import os
import pathlib
import sys
from typing import TYPE_CHECKING, Any

# TensorFlow only feeds here; its start-up notes are noise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from absl import app, flags

from csst_jax import command_line
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ml_collections import ConfigDict

    from csst_jax.data.selection import Selection
    from csst_jax.evaluation.whole_image import Prediction
    from csst_jax.stages.train import Trained

_CONFIG = command_line.define_config()
_CHECKPOINT = flags.DEFINE_list("checkpoint", None, "Finished stages' directories or files of weights.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Directory to write to; default: scores, beside the last checkpoint.")
_PREDICTIONS = flags.DEFINE_bool("predictions", False, "Write predictions as PNGs of class numbers, too.")
_SUBMISSION = flags.DEFINE_string(
    "submission", None, "Write a submission: cityscapes, voc_comp5, voc_comp6, bdd100k or mapillary."
)
SCORES_FILE = "scores.json"


def main(_: list[str]) -> int:
    """Evaluates and prints; returns the exit status: 2 when there is something for the user to mend."""
    from csst_jax import start  # JAX takes a second to import: not before the flags are right

    try:
        start.quiet_libraries()
        start.start_jax(_CONFIG.value)
        checkpoints = [pathlib.Path(path).expanduser().resolve() for path in _CHECKPOINT.value]
        output = pathlib.Path(_OUTPUT.value) if _OUTPUT.value else checkpoints[-1].parent / "scores"
        evaluate(_CONFIG.value, checkpoints, output, _PREDICTIONS.value, _SUBMISSION.value)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def evaluate(
    config: ConfigDict,
    checkpoints: Sequence[pathlib.Path],
    output: pathlib.Path,
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
    from csst_jax import build
    from csst_jax.stages import evaluate as stage
    from csst_jax.stages import finished

    if submission and len(checkpoints) != 1:
        raise CsstError(f"a submission is of one network; {len(checkpoints)} checkpoints are given.")
    selection = build.evaluation_selection(config, build.dataset(config))
    if not selection.labelled and not (predictions or submission):
        raise CsstError(
            f"split {selection.split!r} has no masks to score with; set --config.data.val_split to one that "
            "has, or ask for --predictions or a --submission."
        )
    classes = selection.dataset.description.classes
    networks = {_name(path, checkpoints): finished.load(path, len(classes)) for path in checkpoints}
    results: dict[str, Any] = {}
    for name, network in networks.items():
        writers = [_folder_writer(output / "predictions" / name, selection)] if predictions else []
        writers += [_submission_writer(output / "submission", submission, selection)] if submission else []
        records = sorted((*selection.labelled, *selection.unlabelled)) if writers else selection.labelled
        found = stage.score(config, selection, network, records, writers)
        if found:
            results[name] = {"weights_sha256": network.sha256, **found}
    if submission:
        _finish_submission(output, submission, selection)
    if results:
        _show(config, selection, networks, results, output)
    return results


def _name(path: pathlib.Path, checkpoints: Sequence[pathlib.Path]) -> str:
    """The stage's or the file's name, with its run's where several have that name."""
    same = [other for other in checkpoints if other.stem == path.stem]
    return path.stem if len(same) == 1 else f"{path.parent.name}_{path.stem}"


def _folder_writer(directory: pathlib.Path, selection: Selection) -> Callable[[Prediction], None]:
    from PIL import Image

    from csst_jax.evaluation.pictures import save_png

    ids = selection.dataset.ids(selection.split)
    return lambda prediction: save_png(Image.fromarray(prediction.classes), directory / f"{ids[prediction.record]}.png")


def _submission_writer(directory: pathlib.Path, name: str, selection: Selection) -> Callable[[Prediction], None]:
    from csst_jax.evaluation import submission

    how, description = submission.find(name), selection.dataset.description
    how.ids(description)  # refuses other classes before hours of prediction
    ids = selection.dataset.ids(selection.split)
    return lambda prediction: submission.write_image(
        directory, how, description, ids[prediction.record], prediction.classes
    )


def _finish_submission(output: pathlib.Path, name: str, selection: Selection) -> None:
    """The first process packs what all have written."""
    import jax
    from jax.experimental import multihost_utils

    from csst_jax.evaluation import submission

    multihost_utils.sync_global_devices("submission written")
    if jax.process_index() == 0:
        how, data = submission.find(name), selection.dataset
        archive = output / f"submission_{name}{how.suffix}"
        submission.pack(output / "submission", how, archive, data.ids(selection.split))
        submission.check(archive, how, data.description, data.image_sizes(selection.split))
        print(f"submission {archive}")


def _show(
    config: ConfigDict,
    selection: Selection,
    networks: Mapping[str, Trained],
    results: Mapping[str, Any],
    output: pathlib.Path,
) -> None:
    """The first process writes and prints the scores, and draws."""
    import jax
    import numpy as np

    from csst_jax.evaluation.matrix_picture import draw_confusion
    from csst_jax.evaluation.table import format_by_method
    from csst_jax.stages import evaluate as stage
    from csst_jax.stages.artifact import write_json

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


if __name__ == "__main__":
    app.run(main, flags_parser=command_line.parse_flags)
