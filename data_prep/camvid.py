"""Prepares CamVid in the layout of the SegNet tutorial.

`train.txt` and `val.txt` (and `test.txt`, if it is there) list an image and its mask a line; of each path the last two
components count, so that lists which start with a foreign directory (`/SegNet/CamVid/train/x.png`) do too.
Masks are single-channel PNGs with classes 0 to 10; 11 is void.

  python -m data_prep.camvid --source_dir=DIR --data_dir=DIR
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from csst_jax.data.descriptions import CAMVID
from csst_jax.types import CsstError
from data_prep import cli, raw
from data_prep.problems import Problems, read_list

VOID = (11,)
_REQUIRED_SPLITS = ("train", "val")
_OPTIONAL_SPLITS = ("test",)


def list_pairs(source_dir: pathlib.Path, split: str, problems: Problems) -> list[raw.RawPair]:
    """The pairs that `<split>.txt` lists; ids are the image files' stems."""
    list_file = source_dir / f"{split}.txt"
    pairs = []
    for words in read_list(list_file, problems):
        if len(words) != 2:
            problems.add(
                f"{list_file}: line {' '.join(words)!r} has {len(words)} words; expected `image.png mask.png`."
            )
            continue
        image, mask = (source_dir.joinpath(*pathlib.PurePosixPath(word).parts[-2:]) for word in words)
        pairs.append(raw.RawPair(image.stem, image, mask))
    return pairs


def read_splits(source_dir: pathlib.Path, problems: Problems) -> dict[str, list[raw.RawPair]]:
    """The pairs of every split, each sorted by id.

    Raises:
      CsstError: `source_dir` is not a directory.
    """
    if not source_dir.is_dir():
        raise CsstError(f"--source_dir={source_dir} is not a directory; give the one that holds train.txt and val.txt.")
    splits = [*_REQUIRED_SPLITS, *(split for split in _OPTIONAL_SPLITS if (source_dir / f"{split}.txt").is_file())]
    return {split: raw.check_pairs(split, list_pairs(source_dir, split, problems), problems) for split in splits}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    arguments = cli.parser(__doc__)
    arguments.add_argument("--source_dir", required=True, help="directory with train.txt, val.txt and the images")
    cli.add_output_arguments(arguments)
    flags = arguments.parse_args(argv)

    from data_prep import builder  # TFDS takes half a second to import, which --help need not wait for

    problems = Problems()
    splits = read_splits(pathlib.Path(flags.source_dir), problems)
    problems.raise_if_any()
    examples = {
        split: raw.read_examples(pairs, len(CAMVID.classes), problems, void=VOID) for split, pairs in splits.items()
    }
    builder.prepare(
        CAMVID,
        examples,
        flags.data_dir,
        source_sha256=raw.source_sha256(splits.items(), CAMVID, VOID, flags.storage),
        problems=problems,
        overwrite=flags.overwrite,
        storage=flags.storage,
        num_workers=flags.num_workers,
    )


if __name__ == "__main__":
    cli.run(main)
