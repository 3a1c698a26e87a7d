"""How every command of `data_prep` starts and fails."""

from __future__ import annotations

import argparse
import functools
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from csst_jax.arguments import Parser
from csst_jax.runtime.patience import to_stderr, told
from csst_jax.types import CsstError
from csst_jax.user_files import shown, user_path
from data_prep import distributed, raw, stored, workers
from data_prep.problems import Problems


def run(main: Callable[[Sequence[str] | None], int | None]) -> None:
    """Runs `main` and exits: with what it returns when done, with 2 and `error: …` for what the user can fix."""
    # Names of files may hold bytes that are not UTF-8; they are printed as numbers.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # TensorFlow writes the index file and computes nothing; at import it would announce CPU features and oneDNN.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        sys.exit(main(None))
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a disk or file that nothing more is known of
        where = f"{shown(os.fsdecode(error.filename))}: " if isinstance(error.filename, str | bytes) else ""
        print(
            f"error: {where}{error.strerror or error}. Check the path, its permissions and the disk.", file=sys.stderr
        )
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted. Run the same command again: it keeps what is finished.", file=sys.stderr)
        sys.exit(130)


def parser(module_doc: str | None) -> Parser:
    """A parser whose description is the module's docstring."""
    command = getattr(sys.modules["__main__"].__spec__, "name", "")  # of `python -m`
    return Parser(command if command.startswith("data_prep.") else None, module_doc)


def path(text: str) -> pathlib.Path:
    """The type of flags that name files and directories: see `user_path`; argparse tells which flag is wrong."""
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text}: give a path on this machine, and copy from or to the bucket")
    try:
        return user_path(text)
    except CsstError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def whole_numbers(text: str) -> list[int]:
    """The type of flags that list whole numbers, separated by commas."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: give whole numbers, separated by commas") from error


def add_output_arguments(arguments: argparse.ArgumentParser) -> None:
    """Adds the flags that every command takes which stores a data set: --data_dir, --overwrite, how and on what."""
    arguments.add_argument(
        "--data_dir", required=True, type=path, help="the data set is stored in DATA_DIR/<name>/<version>/"
    )
    arguments.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a finished data set of this name that was made from another source",
    )
    stored.add_argument(arguments)
    workers.add_argument(arguments)
    arguments.add_argument(
        "--beam_runner",
        default="",
        help="prepare with Apache Beam (requirements-beam.txt) on this runner, instead of --num_workers processes here",
    )
    arguments.add_argument(
        "--beam_pipeline_options", default="", help="for the runner: comma-separated name=value or name, without dashes"
    )


def dataset_parser(module_doc: str | None, source_help: str) -> Parser:
    """The parser of a command that prepares a downloaded data set."""
    arguments = parser(module_doc)
    arguments.add_argument("--source_dir", required=True, type=path, help=source_help)
    add_files_arguments(arguments)
    return arguments


def add_files_arguments(arguments: argparse.ArgumentParser) -> None:
    """Adds the flags that `prepare` reads."""
    arguments.add_argument("--splits", default="", help="splits to prepare, separated by commas (default: all)")
    add_output_arguments(arguments)


def prepare(data: raw.RawDataSet, flags: argparse.Namespace, problems: Problems) -> None:
    """Checks that every file is there, then reads, checks and stores them all.

    Args:
      data: what a data set's module has found.
      flags: those of `add_files_arguments`.
      problems: what is wrong so far.

    Raises:
      CsstError: something is wrong with the files, or see `builder.prepare`.
    """
    splits = _chosen(data, flags.splits, problems)
    problems.raise_if_any()

    from data_prep import builder  # TFDS takes half a second to import, which --help need not wait for

    def fingerprint(splits: Iterable[tuple[str, Sequence[raw.RawPair]]]) -> str:
        side = data.description.longest_side
        # Earlier versions read all palettes of such classes by number: what they stored is to be made again.
        more = [*([side] if side else []), *(["by place"] if data.labels.colours and data.labels.by_place else [])]
        return raw.source_sha256(splits, data.description, data.labels, flags.storage, *more)

    with told("hashing the files, to know them again", to_stderr):
        source_sha256 = fingerprint(splits.items())
    builder.prepare(
        data.description,
        splits,
        flags.data_dir,
        make=functools.partial(raw.read_pair, labels=data.labels, longest_side=data.description.longest_side),
        source_sha256=source_sha256,
        part_sha256=lambda split, pairs: fingerprint([(split, pairs)]),
        problems=problems,
        **builder_settings(flags),
    )


def builder_settings(flags: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `builder.prepare` that `add_output_arguments` asks for."""
    return {
        "overwrite": flags.overwrite,
        "storage": flags.storage,
        "num_workers": flags.num_workers,
        "beam": distributed.BeamRun(flags.beam_runner, flags.beam_pipeline_options) if flags.beam_runner else None,
    }


def _chosen(data: raw.RawDataSet, wanted: str, problems: Problems) -> dict[str, list[raw.RawPair]]:
    names = [name.strip() for name in wanted.split(",") if name.strip()] or list(data.splits)
    unknown = [name for name in names if name not in data.splits]
    if unknown:
        raise CsstError(f"--splits={wanted}: no split {unknown[0]!r} here; there are {', '.join(data.splits)}.")
    return {split: raw.complete_pairs(split, data.splits[split], problems) for split in names}
