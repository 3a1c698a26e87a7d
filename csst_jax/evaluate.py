"""`python -m csst_jax.evaluate --workdir=DIR[,…] [--config.KEY=VALUE …]`: scores all networks of one run or several.

Data and settings are those of the first run. `--config=FILE --checkpoint=DIR|FILE[,…]` scores any networks: a
checkpoint is a file of weights, a finished stage of a run (WORKDIR/student) or a workdir, whose student is meant.
Predicts `data.val_split` as `evaluate` in the configuration says, prints IoU by class, and writes scores.json, the
confusion matrix and pictures of predictions and failures; with --submission the file for a test server.
"""

from __future__ import annotations

import sys

from absl import app, flags

from csst_jax import command_line
from csst_jax.runtime import outputs, storage
from csst_jax.runtime.host_memory import collect_seldom
from csst_jax.runtime.patience import to_stderr, told
from csst_jax.runtime.signals import stopped_at_once, tell_interruption
from csst_jax.types import CsstError

_CONFIG = command_line.define_config()
_WORKDIR = flags.DEFINE_list("workdir", [], "Workdirs of runs, whose networks are all scored; needs no --config.")
_CHECKPOINT = flags.DEFINE_list("checkpoint", [], "Files of weights, finished stages or workdirs.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "Directory to write to; default: scores in the last workdir, or beside the last file."
)
_PREDICTIONS = flags.DEFINE_bool("predictions", False, "Write predictions as PNGs of class numbers, too.")
_SUBMISSION = flags.DEFINE_string(
    "submission", None, "Write a submission: cityscapes, voc_comp5, voc_comp6, bdd100k or mapillary."
)


def main(_: list[str]) -> int:
    """Evaluates and prints; returns the exit status: 2 when there is something for the user to fix."""
    collect_seldom()
    with told("importing JAX", to_stderr):  # takes a second or more: not before the flags are right
        from csst_jax.runtime import leaving, startup

    try:
        if not _CHECKPOINT.value and not _WORKDIR.value:
            raise CsstError(
                "there is nothing to score; give --workdir=DIR, or --checkpoint: files of weights, stages or workdirs."
            )
        workdirs = [storage.as_path(path, "--workdir") for path in _WORKDIR.value]
        checkpoints = [storage.as_path(path, "--checkpoint") for path in _CHECKPOINT.value]
        chosen = None if _OUTPUT.value is None else outputs.directory(_OUTPUT.value, "--output")
        startup.quiet_libraries()
        with told("starting JAX", to_stderr):
            startup.start_jax(_CONFIG.value)
        with leaving.none_left_waiting(goes_on=False), startup.lines_of_progress(sys.stderr):
            with told("importing Flax and the data", to_stderr):  # seconds: not before JAX is set up
                from csst_jax.settings import resolve
                from csst_jax.stages import rescored, scoring

            for workdir in workdirs:
                checkpoints += rescored.networks(workdir)
            output = chosen or outputs.directory(scoring.beside(checkpoints[-1]), "--output")
            parts = (resolve.evaluation(_CONFIG.value), resolve.data(_CONFIG.value), resolve.mesh(_CONFIG.value))
            rescored.require_same_data(workdirs, parts[1])
            rescored.tell_changed(workdirs, parts[1])
            with outputs.errors_told(output):
                scoring.score_networks(*parts, checkpoints, output, _PREDICTIONS.value, _SUBMISSION.value)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    tell_interruption()
    with stopped_at_once("scores are written at the end; files that are there are complete."):
        app.run(main, flags_parser=command_line.parse_flags_of_workdir)
