"""How every command of `data_prep` starts and fails."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from csst_jax.types import CsstError
from data_prep import stored, workers


def run(main: Callable[[Sequence[str] | None], int | None]) -> None:
    """Runs `main` and exits: with what it returns when done, with 2 and `error: …` for what the user can mend."""
    # TensorFlow writes the index file and computes nothing; at import it would announce CPU features and oneDNN.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        sys.exit(main(None))
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; nothing was left half done.", file=sys.stderr)
        sys.exit(130)


def parser(module_doc: str | None) -> argparse.ArgumentParser:
    """A parser whose description is the module's docstring."""
    return argparse.ArgumentParser(
        description=module_doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def add_output_arguments(arguments: argparse.ArgumentParser) -> None:
    """Adds --data_dir, --overwrite, --storage and --num_workers, which every command that stores a data set takes."""
    arguments.add_argument("--data_dir", required=True, help="the data set is stored in DATA_DIR/<name>/<version>/")
    arguments.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a finished data set of this name that was made from another source",
    )
    stored.add_argument(arguments)
    workers.add_argument(arguments)
