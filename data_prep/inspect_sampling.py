"""Draws what a training epoch would see under each sampling strategy (paper §3.2), before anything is trained.

For every sampler of `csst_jax.samplers`: how many crops are drawn for each class, how many show it, and its share
of their pixels, as a table and as bars (sampling.png); and some crops with their masks, and a ring at the point that
each was drawn around (crops.png). Without --workdir: the teacher's settings, images with masks. With --workdir: the
student's settings, images with masks and pseudo labels. A method that takes crops of several kinds of labels, each from
a stream of its own, has a table, bars and crops for each.

  python -m data_prep.inspect_sampling --config=FILE [--config.KEY=VALUE ...] --out_dir=DIR
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from csst_jax import command_line
from csst_jax.arguments import Parser
from csst_jax.data import crop
from csst_jax.data.crop_plan import batch_specs
from csst_jax.data.stored import encoded
from csst_jax.samplers import SAMPLERS
from csst_jax.streams import LABELLED, total_parts
from csst_jax.types import IGNORE_LABEL, CsstError, DatasetDescription, Phase
from data_prep import cli, pictures

if TYPE_CHECKING:
    from csst_jax.data.batches import Reader
    from csst_jax.data.crop_plan import BatchSpec, Sampler
    from csst_jax.data.sampling import Images
    from csst_jax.settings.run import Run
    from csst_jax.settings.training import Training

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
    readers: Sequence[Reader],
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
      readers: what its rows' `origin` indexes.
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
    steps = batch_specs([LABELLED], {LABELLED.name: sampler}, [Phase(crop_px, 1, num_samples)], seed, scale_range, 0)
    specs = list(itertools.islice(steps, num_cut))
    read = batches.batches(iter(specs), [LABELLED], readers, parallel_batches=2, prefetch=4)
    pixels, showing = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64)
    shown: list[tuple[str, np.ndarray]] = []
    for spec, step in zip(specs, read, strict=True):
        batch = step[LABELLED.name]
        counts = np.bincount(batch["label"].ravel(), minlength=IGNORE_LABEL + 1)[:num_classes]
        pixels += counts
        showing += counts > 0
        if len(shown) < _CROPS_SHOWN:
            picture = pictures.overlay(batch["image"][0], batch["label"][0], description.palette)
            shown.append(_marked(picture, spec, readers, description))
    return Epoch(drawn_for, showing / len(specs), pixels / max(int(pixels.sum()), 1), shown)


def _marked(
    picture: np.ndarray, spec: BatchSpec, readers: Sequence[Reader], description: DatasetDescription
) -> tuple[str, np.ndarray]:
    """The one crop of `spec` with its caption, and with its point unless it lies anywhere."""
    row, scale = spec.rows[0], float(spec.scales[0])
    if row["klass"] < 0:
        return f"anywhere, x{scale:.2f}", picture
    centre = np.array([row["y"], row["x"]])
    size = encoded.size(readers[row["origin"]].label_bytes(int(row["record"])))
    source, target = crop.windows(size, centre, scale, spec.crop_px, anywhere=False)
    y, x = (
        begin + (at - first + 0.5) * to / of - 0.5
        for begin, at, first, to, of in (
            (target.top, centre[0], source.top, target.height, source.height),
            (target.left, centre[1], source.left, target.width, source.width),
        )
    )
    kind = "" if row["origin"] == 0 else ", pseudo"
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


def draw(out_dir: pathlib.Path, seen: Mapping[str, Mapping[str, Epoch]], description: DatasetDescription) -> None:
    """Writes sampling.png and crops.png.

    Args:
      out_dir: for both.
      seen: by stream and sampler.
      description: classes and palette.
    """
    bars, rows = [], []
    for stream, epochs in seen.items():
        of = f"{stream}: " if len(seen) > 1 else ""
        charts = (
            ("crops of an epoch that are drawn for a class", "", {n: e.drawn_for for n, e in epochs.items()}),
            ("crops that show a class", " %", {n: 100 * e.showing for n, e in epochs.items()}),
            ("share of the crops' pixels", " %", {n: 100 * e.pixel_share for n, e in epochs.items()}),
        )
        for title, unit, series in charts:
            bars.append([("", pictures.bars(of + title, description.classes, series, unit=unit))])
        for name, epoch in epochs.items():
            (first, leftmost), *others = epoch.pictures
            rows.append([(f"{of}{name}: {first}", leftmost), *others])
    pictures.write_sheet(bars, out_dir / "sampling.png", bars[0][0][1].shape[1], flag="out_dir")
    pictures.write_sheet(rows, out_dir / "crops.png", 240, description, flag="out_dir")


def _stage(run: Run, workdir: pathlib.Path | None) -> tuple[Training, dict[str, Images]]:
    """A stage's settings and what it samples: the teacher's, or the student's of a run that has pseudo labels."""
    from csst_jax import build  # JAX takes a second to import

    pool = run.data.training(run.data.open())
    if workdir is None:
        return run.teacher, build.images(run.teacher, pool)
    from csst_jax.stages import label

    pseudo = label.read(workdir / "pseudo_labels", pool, run.label.shard_size)
    return run.student, build.images(run.student, pool, pseudo)


def _arguments() -> Parser:
    arguments = cli.parser(__doc__)
    arguments.add_argument("--config", required=True, help="configuration of a run; --config.KEY=VALUE overrides a key")
    arguments.add_argument("--out_dir", type=cli.path, required=True, help="directory for the two pictures")
    arguments.add_argument("--workdir", type=cli.path, help="workdir of a run, to show its student's crops")
    arguments.add_argument("--num_crops", type=int, default=400, help="crops to cut and count (default 400)")
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    flags, config = command_line.parse_with_config(_arguments(), argv)
    assert config is not None  # the parser requires it
    if flags.num_crops < 1:
        raise CsstError(f"--num_crops={flags.num_crops} must be 1 or more.")
    from csst_jax import build
    from csst_jax.data import sampling
    from csst_jax.settings import resolve, sized

    config = sized.with_sizes(config, flags.workdir, keep=False)
    run = resolve.run(config)
    training, images = _stage(run, flags.workdir)
    description = run.data.open().description
    counts = {origin: len(given.records) for origin, given in images.items()}
    total = training.crops.samples_per_epoch or sum(counts.values())
    labelled = [stream for stream in training.streams if stream.labelled]
    seen: dict[str, dict[str, Epoch]] = {}
    for stream in labelled:
        num_samples = max(1, total * stream.parts // total_parts(training.streams))
        seen[stream.name] = epochs = {}
        for name in SAMPLERS:
            chosen = resolve.sampler((config.teacher if flags.workdir is None else config.student).sampler, name)
            changed = dataclasses.replace(training, sampling=dataclasses.replace(training.sampling, sampler=chosen))
            epochs[name] = see(
                build.samplers(changed, images, description.classes)[stream.name],
                sampling.readers(images),
                description,
                seed=run.seed,
                num_samples=num_samples,
                num_cut=flags.num_crops,
                crop_px=training.crops.crop_px,
                scale_range=training.sampling.scale_range,
            )
        given = " + ".join(f"{counts[origin]} {origin}" for origin in stream.origins if origin in counts)
        print(
            f"{f'{stream.name}: ' if len(labelled) > 1 else ''}{given} labels; an epoch of {num_samples} crops of "
            f"{training.crops.crop_px} px, of which the first {min(num_samples, flags.num_crops)} were cut\n"
        )
        print(table(epochs, description.classes) + "\n")
    draw(flags.out_dir, seen, description)
    print(f"bars   {flags.out_dir / 'sampling.png'}\ncrops  {flags.out_dir / 'crops.png'}")


if __name__ == "__main__":
    cli.run(main)
