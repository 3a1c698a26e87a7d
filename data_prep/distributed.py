"""Preparation on more than one machine, by Apache Beam; every machine must see the files under the same paths."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

from csst_jax.types import CsstError
from data_prep.parts import Part


@dataclasses.dataclass(frozen=True)
class BeamRun:
    """How Beam is to run.

    Attributes:
      runner: a name that Beam knows, such as DirectRunner, FlinkRunner, DataflowRunner.
      pipeline_options: comma-separated `name=value` or `name`, for the runner.
    """

    runner: str
    pipeline_options: str = ""


def write_all(run: BeamRun, write: Callable[[Part], list[str]], parts: Sequence[Part]) -> Iterator[list[str]]:
    """Writes parts as one Beam pipeline, and gives what is wrong with each.

    Raises:
      CsstError: Beam is not installed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise CsstError(
            f"--beam_runner={run.runner} needs Apache Beam ({error}): python -m pip install -r requirements-beam.txt"
        ) from error
    options = [f"--{option.strip()}" for option in run.pipeline_options.split(",") if option.strip()]

    def write_and_tell(part: Part) -> None:
        _wrong(part).write_text(json.dumps(write(part)), encoding="utf-8")

    # A pipeline gives nothing back but files; leaving the block waits for it.
    with beam.Pipeline(options=PipelineOptions([f"--runner={run.runner}", *options])) as pipeline:
        # Without the shuffle one worker would be given all parts that it is to make.
        pipeline | "Parts" >> beam.Create(parts) | beam.Reshuffle() | "Records and index" >> beam.Map(write_and_tell)
    for part in parts:
        yield json.loads(_wrong(part).read_text(encoding="utf-8"))
        _wrong(part).unlink()


def _wrong(part: Part) -> pathlib.Path:
    return part.notes.with_suffix(".json")
