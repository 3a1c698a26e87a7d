"""`python -m csst_jax.main --config=FILE --workdir=DIR [--config.KEY=VALUE …]`: the whole pipeline."""

from __future__ import annotations

import os
import sys

# TensorFlow only feeds here; its start-up notes are noise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from absl import app, flags

from csst_jax import command_line
from csst_jax.runtime import outputs
from csst_jax.runtime.host_memory import collect_seldom, keep_freed_memory
from csst_jax.runtime.signals import Preempted, leave_at_once, stop_between_stages, tell_interruption
from csst_jax.types import CsstError

_CONFIG = command_line.define_config()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory for checkpoints, pseudo labels and results, or gs://BUCKET/…", required=True
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
        from csst_jax.runtime import (  # JAX takes a second to import: not before the flags are right
            leaving,
            peers,
            startup,
        )
        from csst_jax.runtime.claim import claimed

        startup.quiet_libraries()
        startup.start_jax(_CONFIG.value)
        with leaving.none_left_waiting(), outputs.errors_told(workdir):
            peers.require_alike({"config": _CONFIG.value.to_dict(), "workdir": str(workdir)})
            from csst_jax import pipeline  # seconds to import: not before the checks above
            from csst_jax.settings import resolve

            settings = resolve.run(_CONFIG.value)  # nothing is written before all of them have been looked at
            with claimed(workdir), startup.logged(workdir), startup.recorded_config(_CONFIG.value, workdir):
                pipeline.run(settings, workdir)
    except Preempted as stopped:
        print(f"{stopped} Run the same command again to go on.")
        leave_at_once(stopped.status)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    tell_interruption()
    app.run(main, flags_parser=command_line.parse_flags)
