"""Draws what a training epoch would see under each sampling strategy (paper §3.2), before anything is trained.

For centroid, class_uniform_tiles and uniform: how many crops are drawn for each class, how many show it, and its share
of their pixels, as a table and as bars (sampling.png); and some crops under their masks, the point that each was drawn
around ringed (crops.png). The settings are the teacher's, and the images those with masks; with --workdir, where a run
has pseudo labels, they are the student's, and both.

  python -m data_prep.inspect_sampling --config=FILE [--config.KEY=VALUE ...] --out_dir=DIR
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from csst_jax import command_line
from csst_jax.data import crop, encoded
from csst_jax.data.sampling import STRATEGIES
from csst_jax.types import IGNORE_LABEL, CsstError, DatasetDescription, Phase
from data_prep import cli, pictures

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from csst_jax.data.batches import BatchSpec, Sampler
    from csst_jax.data.sampling import LabelledSource

_CROPS_SHOWN = 6


@dataclasses.dataclass(frozen=True)
class Epoch:
    """What one epoch sees.

    Attributes:
      drawn_for: int[C], crops that are drawn for each class.
      showing: float[C], share of the crops that were cut in which each class has a pixel.
      pixel_share: float[C], of their pixels that are neither void nor padding.
      pictures: (caption, uint8 [s, s, 3]) of some crops.
    """

    drawn_for: np.ndarray
    showing: np.ndarray
    pixel_share: np.ndarray
    pictures: list[tuple[str, np.ndarray]]


def see(
    sampler: Sampler,
    sources: Sequence[LabelledSource],
    description: DatasetDescription,
    *,
    seed: int,
    num_samples: int,
    num_cut: int,
    crop_px: int,
    scale_range: tuple[float, float],
) -> Epoch:
    """Plans a run's first epoch and cuts its first crops.

    Args:
      sampler: the strategy.
      sources: what its rows' `source` indexes.
      description: classes and palette.
      seed: the run's.
      num_samples: crops of the epoch.
      num_cut: crops to cut and look at, at most.
      crop_px: their side.
      scale_range: magnifications.
    """
    from csst_jax.data import batches  # TensorFlow takes seconds to import: not before the flags are right

    num_classes = len(description.classes)
    drawn_for = np.bincount(sampler.plan(0, seed, num_samples)["klass"] + 1, minlength=num_classes + 1)[1:]
    steps = batches.batch_specs(sampler, [Phase(crop_px, 1, num_samples)], seed, scale_range, 0)
    specs = list(itertools.islice(steps, num_cut))
    read = batches.batches(iter(specs), [labelled.source for labelled in sources], parallel_batches=2, prefetch=4)
    pixels, showing = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64)
    shown: list[tuple[str, np.ndarray]] = []
    for spec, batch in zip(specs, read, strict=True):
        counts = np.bincount(batch["label"].ravel(), minlength=IGNORE_LABEL + 1)[:num_classes]
        pixels += counts
        showing += counts > 0
        if len(shown) < _CROPS_SHOWN:
            picture = pictures.overlay(batch["image"][0], batch["label"][0], description.palette)
            shown.append(_marked(picture, spec, sources, description))
    return Epoch(drawn_for, showing / len(specs), pixels / max(int(pixels.sum()), 1), shown)


def _marked(
    picture: np.ndarray, spec: BatchSpec, sources: Sequence[LabelledSource], description: DatasetDescription
) -> tuple[str, np.ndarray]:
    """The one crop of `spec` with its caption, and with its point unless it lies anywhere."""
    row, scale = spec.rows[0], float(spec.scales[0])
    if row["klass"] < 0:
        return f"anywhere, x{scale:.2f}", picture
    centre = np.array([row["y"], row["x"]])
    size = encoded.size(sources[row["source"]].source.label_bytes(int(row["record"])))
    source, target = crop.place(size, centre, scale, spec.crop_px, anywhere=False)
    y, x = (
        begin + (at - first + 0.5) * to / of - 0.5
        for begin, at, first, to, of in (
            (target.top, centre[0], source.top, target.height, source.height),
            (target.left, centre[1], source.left, target.width, source.width),
        )
    )
    kind = "" if row["source"] == 0 else ", pseudo"
    return f"{description.classes[row['klass']]}, x{scale:.2f}{kind}", pictures.mark(picture, y, x)


def table(epochs: Mapping[str, Epoch], classes: Sequence[str]) -> str:
    """Strategies side by side, for people."""
    column = max(map(len, (*classes, "class")))
    group = "  ".join(f"{name[:10]:>10}" for name in epochs)
    parts = ("crops drawn for it", "crops that show it, %", "pixels, %")
    lines = [
        f"{'':{column}}  " + "  ".join(f"{part:^{len(group)}}" for part in parts),
        f"{'class':{column}}  " + "  ".join([group] * 3),
    ]
    for k, name in enumerate(classes):
        figures = [f"{epoch.drawn_for[k]:10d}" for epoch in epochs.values()]
        figures += [f"{100 * epoch.showing[k]:10.1f}" for epoch in epochs.values()]
        figures += [f"{100 * epoch.pixel_share[k]:10.2f}" for epoch in epochs.values()]
        lines.append(f"{name:{column}}  " + "  ".join(figures))
    return "\n".join(lines)


def draw(out_dir: pathlib.Path, epochs: Mapping[str, Epoch], description: DatasetDescription) -> None:
    """Writes sampling.png and crops.png."""
    charts = (
        ("crops of an epoch that are drawn for a class", "", {n: e.drawn_for for n, e in epochs.items()}),
        ("crops that show a class", " %", {n: 100 * e.showing for n, e in epochs.items()}),
        ("share of the crops' pixels", " %", {n: 100 * e.pixel_share for n, e in epochs.items()}),
    )
    bars = [[("", pictures.bars(title, description.classes, series, unit=unit))] for title, unit, series in charts]
    pictures.write_sheet(bars, out_dir / "sampling.png", bars[0][0][1].shape[1])
    rows = []
    for name, epoch in epochs.items():
        (first, leftmost), *others = epoch.pictures
        rows.append([(f"{name}: {first}", leftmost), *others])
    pictures.write_sheet(rows, out_dir / "crops.png", 240, description)


def _sources(config: ConfigDict, workdir: pathlib.Path | None) -> tuple[ConfigDict, list[LabelledSource]]:
    """A stage's settings and what it samples: the teacher's, or the student's of a run that has pseudo labels."""
    from csst_jax import build  # JAX takes a second to import

    pool = build.training_selection(config, build.dataset(config))
    if workdir is None:
        return config.teacher, [build.real_labels(pool, config.teacher)]
    from csst_jax.stages import label

    pseudo = label.read(workdir / "pseudo_labels", pool, config.label.shard_size)
    return config.student, [build.real_labels(pool, config.student), build.pseudo_labels(*pseudo, config.student)]


def _arguments() -> argparse.ArgumentParser:
    arguments = cli.parser(__doc__)
    arguments.add_argument("--config", required=True, help="configuration of a run; --config.KEY=VALUE overrides a key")
    arguments.add_argument("--out_dir", type=cli.path, required=True, help="directory for the two pictures")
    arguments.add_argument("--workdir", type=cli.path, help="a run's, to look at its student and pseudo labels")
    arguments.add_argument("--num_crops", type=int, default=400, help="crops to cut and count (default 400)")
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    flags, config = command_line.parse_with_config(_arguments(), argv)
    assert config is not None  # the parser requires it
    if flags.num_crops < 1:
        raise CsstError(f"--num_crops={flags.num_crops} must be 1 or more.")
    stage, sources = _sources(config, flags.workdir)
    from csst_jax import build

    description = build.dataset(config).description
    num_samples = stage.samples_per_epoch or sum(len(labelled.records) for labelled in sources)
    epochs = {}
    for name in STRATEGIES:
        stage = stage.copy_and_resolve_references()
        stage.sampler.name = name
        epochs[name] = see(
            build.sampler(stage, sources, description.classes),
            sources,
            description,
            seed=config.seed,
            num_samples=num_samples,
            num_cut=flags.num_crops,
            crop_px=stage.crop_px,
            scale_range=(stage.augment.scale_min, stage.augment.scale_max),
        )
    counts = " + ".join(
        f"{len(labelled.records)} {kind}" for labelled, kind in zip(sources, ("real", "pseudo"), strict=False)
    )
    print(
        f"{counts} labels; an epoch of {num_samples} crops of {stage.crop_px} px, of which the first "
        f"{min(num_samples, flags.num_crops)} were cut\n"
    )
    print(table(epochs, description.classes))
    draw(flags.out_dir, epochs, description)
    print(f"\nbars   {flags.out_dir / 'sampling.png'}\ncrops  {flags.out_dir / 'crops.png'}")


if __name__ == "__main__":
    cli.run(main)
