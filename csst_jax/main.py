"""`python -m csst_jax.main --config=FILE --workdir=DIR [--config.KEY=VALUE …]`: the whole pipeline.

Trains a teacher, labels the images without masks, trains a student, scores both, and writes a report into --workdir.
The same command continues a run that was stopped. For your own images, after `csst prepare`:

  csst train --config=folder --config.data.dir=data/mine --workdir=runs/mine

"""

from __future__ import annotations

import sys

from absl import app, flags

from csst_jax import command_line
from csst_jax.runtime import outputs
from csst_jax.runtime.host_memory import collect_seldom, keep_freed_memory
from csst_jax.runtime.patience import print_line, told
from csst_jax.runtime.signals import Preempted, leave_at_once, stop_between_stages, tell_interruption
from csst_jax.types import CsstError

_CONFIG = command_line.define_config()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory for checkpoints, pseudo labels, results and report, or gs://BUCKET/…", required=True
)


def main(_: list[str]) -> int:
    """Runs the pipeline.

    Returns:
      The exit status: 0 when it is finished or was stopped by SIGTERM, 130 when it was stopped by Ctrl-C, 2 when there
      is something for the user to fix.
    """
    keep_freed_memory()  # before the first thread, which would get memory of its own to keep
    collect_seldom()
    stop_between_stages()
    try:
        workdir = outputs.directory(_WORKDIR.value, "--workdir")
        with told("importing JAX", print_line):  # takes a second or more: not before the flags are right
            from csst_jax.runtime import leaving, peers, startup
            from csst_jax.runtime.claim import claimed
        startup.quiet_libraries()
        with told("starting JAX", print_line):
            startup.start_jax(_CONFIG.value)
        with leaving.none_left_waiting(), outputs.errors_told(workdir, goes_on=True):
            peers.require_alike({"config": _CONFIG.value.to_dict(), "workdir": str(workdir)})
            with told("importing Flax, Optax and Orbax", print_line):  # seconds: not before the checks above
                from csst_jax import pipeline
                from csst_jax.data.in_use import read_by_a_run
                from csst_jax.settings import recorded, resolve, sized
            resolve.run(_CONFIG.value)  # nothing is written before all of them have been looked at
            directories = resolve.data(_CONFIG.value).directories()
            with read_by_a_run(directories), claimed(workdir), startup.logged(workdir):
                with told("choosing sizes for the data and this machine"):
                    config = sized.with_sizes(_CONFIG.value, workdir)
                with startup.recorded_config(recorded.with_whole_paths(config), workdir):
                    pipeline.run(resolve.run(config), workdir)
    except Preempted as stopped:
        print(f"{stopped} Run the same command again to continue.")
        leave_at_once(stopped.status)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if type(error).__module__.startswith("jax"):  # jaxlib's own
            error.add_note("TF_CPP_MIN_LOG_LEVEL=0 in the environment shows what XLA says besides.")
        raise
    return 0


if __name__ == "__main__":
    tell_interruption()
    app.run(main, flags_parser=command_line.parse_flags)
