"""Checks a submission before it is uploaded: `python -m csst_jax.check_submission --format=cityscapes …`.

`python -m csst_jax.evaluate --submission=FORMAT` writes one, and checks it as well.
"""

from __future__ import annotations

import pathlib
import sys
from typing import TYPE_CHECKING

from csst_jax.arguments import Parser
from csst_jax.runtime.signals import tell_interruption
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_submission(archive: str, name: str, data_dir: str, split: str) -> int:
    """Checks an archive against the images of a prepared data set; returns how many there are.

    Args:
      archive: the file.
      name: of the format (see `csst_jax.evaluation.submission.FORMATS`).
      data_dir: a prepared data set.
      split: whose images the server scores, for example test.

    Raises:
      CsstError: lists all that is wrong.
    """
    from csst_jax.data.store import DataSet  # not before the flags are right
    from csst_jax.evaluation import submission

    file_format = submission.find(name)
    if not pathlib.Path(archive).is_file():
        raise CsstError(f"there is no file {archive}. Give the file that `csst evaluate --submission={name}` wrote.")
    data = DataSet.open(data_dir)
    sizes = data.image_sizes(split)
    submission.require_fit(pathlib.Path(archive), file_format, data.description, sizes)
    return len(sizes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(
        "csst_jax.check_submission",
        "Checks a file for a test server: refuses what the server would refuse or score near zero.",
    )
    parser.add_argument("archive", help="the file that you want to upload")
    parser.add_argument("--format", required=True, help="cityscapes, voc_comp5, voc_comp6, bdd100k or mapillary")
    parser.add_argument("--data_dir", required=True, help="the prepared data set")
    parser.add_argument("--split", default="test", help="split that the server scores (default test)")
    a = parser.parse_args(arguments)
    try:
        count = check_submission(a.archive, a.format, a.data_dir, a.split)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{a.archive}: {count} images, fit for {a.format}")
    return 0


if __name__ == "__main__":
    tell_interruption()
    sys.exit(main())
