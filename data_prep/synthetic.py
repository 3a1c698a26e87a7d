"""Makes the generated data set: procedural street scenes, few with masks, many without (nothing is downloaded).

Scenes beyond the labelled ones keep no mask at all: their true label never reaches the disk, so nothing can leak into
training.

  python -m data_prep.synthetic --data_dir=DIR
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from csst_jax.data.descriptions import SYNTHETIC
from csst_jax.types import IGNORE_LABEL, CsstError
from data_prep import cli, raw
from data_prep.street.scene import render

FIRST_VAL_INDEX = 1_000_000
"""Validation scenes are numbered from here on, training scenes from 0: no scene is ever in both."""


def scene(which: tuple[int, bool], seed: int) -> raw.RawExample:
    """Renders a scene of a `plan`; one without a mask gets a label that is all void."""
    index, labelled = which
    image, label = render(seed, index)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG", compress_level=4)
    label = label if labelled else np.full_like(label, IGNORE_LABEL)
    return raw.RawExample(f"scene_{index:07d}", stream.getvalue(), label, labelled)


def plan(num_labelled: int, num_unlabelled: int, num_val: int) -> dict[str, list[tuple[int, bool]]]:
    """(scene index, labelled) of every scene of every split; the first `num_labelled` training scenes have masks.

    Raises:
      CsstError: no labelled or no validation scene, a negative number, or more training scenes than there are numbers.
    """
    if num_labelled < 1 or num_val < 1 or num_unlabelled < 0 or num_labelled + num_unlabelled > FIRST_VAL_INDEX:
        raise CsstError(
            f"--num_labelled={num_labelled} --num_unlabelled={num_unlabelled} --num_val={num_val}: give at least "
            f"1 labelled, 0 unlabelled and 1 validation scene, and at most {FIRST_VAL_INDEX} for training."
        )
    return {
        "train": [(index, index < num_labelled) for index in range(num_labelled + num_unlabelled)],
        "val": [(FIRST_VAL_INDEX + index, True) for index in range(num_val)],
    }


def fingerprint(seed: int, scenes: dict[str, list[tuple[int, bool]]], storage: str) -> str:
    """What the data set is made from: the scenes asked for, and how the renderer draws the first of them today."""
    total = hashlib.sha256(repr((seed, scenes, SYNTHETIC, storage)).encode())
    for array in render(seed, 0):
        total.update(array.tobytes())
    return total.hexdigest()


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    arguments = cli.parser(__doc__)
    cli.add_output_arguments(arguments)
    arguments.add_argument("--num_labelled", type=int, default=12, help="training scenes with a mask (default 12)")
    arguments.add_argument("--num_unlabelled", type=int, default=150, help="training scenes without (default 150)")
    arguments.add_argument("--num_val", type=int, default=40, help="validation scenes (default 40)")
    arguments.add_argument("--seed", type=int, default=0, help="another seed draws other scenes (default 0)")
    flags = arguments.parse_args(argv)
    if flags.seed < 0:
        raise CsstError(f"--seed={flags.seed} must be 0 or more.")

    from data_prep import builder  # TFDS takes half a second to import, which --help need not wait for

    scenes = plan(flags.num_labelled, flags.num_unlabelled, flags.num_val)
    builder.prepare(
        SYNTHETIC,
        scenes,
        flags.data_dir,
        make=functools.partial(scene, seed=flags.seed),
        source_sha256=fingerprint(flags.seed, scenes, flags.storage),
        **cli.builder_settings(flags),
    )


if __name__ == "__main__":
    cli.run(main)
