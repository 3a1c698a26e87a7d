"""`python -m csst_jax.suggest --workdir=DIR [--count=20] [--output=DIR] [--config.KEY=VALUE …]`: what to label next.

Ranks a run's unlabelled images. The first ones are images on which the network is uncertain and teacher and student
differ, and which are unlike the labelled images and each other. Data and networks are the run's. Writes a list of ids
(suggested.txt), copies of these images for an annotation tool (images/), the numbers (suggested.json) and a contact
sheet into WORKDIR/suggested, or --output.
"""

from __future__ import annotations

import sys

from absl import app, flags

from csst_jax import command_line
from csst_jax.runtime import outputs
from csst_jax.runtime.host_memory import collect_seldom, keep_freed_memory
from csst_jax.runtime.patience import to_stderr, told
from csst_jax.runtime.signals import stopped_at_once, tell_interruption
from csst_jax.types import CsstError

_CONFIG = command_line.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "The workdir of a run, or gs://BUCKET/…", required=True)
_COUNT = flags.DEFINE_integer("count", 20, "How many images to suggest.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "Directory to write to; default: WORKDIR/suggested.")


def main(_: list[str]) -> int:
    """Suggests and prints; returns the exit status: 2 when there is something for the user to fix."""
    keep_freed_memory()
    collect_seldom()
    with told("importing JAX", to_stderr):
        from csst_jax.runtime import startup, storage

    try:
        workdir = storage.as_path(_WORKDIR.value, "--workdir")
        output = outputs.directory(_OUTPUT.value or str(workdir / "suggested"), "--output")
        startup.quiet_libraries()
        startup.start_jax(_CONFIG.value)
        with told("importing Flax and the data", to_stderr):  # seconds: not before JAX is set up
            from csst_jax.models.weights import locate
            from csst_jax.settings import resolve
            from csst_jax.stages import model_file
            from csst_jax.suggestion import pool as pools
            from csst_jax.suggestion import written
            from csst_jax.suggestion.look import Looker

        files = locate.networks(workdir)
        found = {stage: model_file.load(path) for stage, path in files.items()}
        data = resolve.data(_CONFIG.value)
        pool = data.training(data.open())
        for stage, trained in found.items():
            model_file.require_classes(files[stage], trained, pool.dataset.description.classes)
        judge, other = pools.networks(found)
        averaging = resolve.averaging(_CONFIG.value.label)
        looker = Looker(judge, averaging)
        with outputs.errors_told(output), startup.lines_of_progress():
            suggestions = pools.suggest(pool, looker, Looker(other, averaging) if other else None, _COUNT.value)
            with told("writing images and the contact sheet"):
                kept = written.write(output, pool, looker, suggestions, judge.sha256)
        print(written.table(suggestions))
        print("\n" + written.places(output, pool.dataset.description.longest_side))
        for path in kept:
            print(
                f"warning: {path} is not the copy that this version wrote there. It stays as it is. If it is a mask, "
                "move it to your masks.",
                file=sys.stderr,
            )
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    tell_interruption()
    with stopped_at_once("the list is written at the end; what is written is whole."):
        app.run(main, flags_parser=command_line.parse_flags_of_workdir)
