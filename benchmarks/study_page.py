"""Keeps a finished study as a page of docs/results: tables and charts without the places of the machine that ran it.

python -m benchmarks.study_page --workdir=runs/cross_domain --name=cross_domain --notes=notes.txt

The page is docs/results/NAME.md with NAME.svg and, for a study with curves, NAME-curves.svg. The log is
docs/results/logs/study-NAME.json. --notes names a text that says what came out; it is put above the tables.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import TYPE_CHECKING

from benchmarks import whole_file
from csst_jax.studying import page
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = pathlib.Path(__file__).resolve().parent.parent / "docs" / "results"
_LEFT_OUT = "## Commands"
"""From here on the page has commands and versions, which the log has as well."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 2 for what the user can fix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="of the study")
    parser.add_argument("--name", required=True, help="of the page")
    parser.add_argument("--notes", type=pathlib.Path, help="Markdown that says what came out")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="docs/results by default")
    options = parser.parse_args(arguments)
    try:
        print(f"wrote {keep(options.workdir, options.name, options.notes, options.results)}")
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def keep(workdir: pathlib.Path, name: str, notes: pathlib.Path | None, results: pathlib.Path) -> pathlib.Path:
    """Writes page, charts and log.

    Args:
      workdir: of the study.
      name: of the page.
      notes: a text for above the tables.
      results: where to.

    Raises:
      CsstError: no run of the study is finished, or a file cannot be read.
    """
    kept = {key: workdir / file for key, file in (("", page.CHART_FILE), ("-curves", page.CURVES_FILE))}
    try:
        text = (workdir / page.PAGE_FILE).read_text(encoding="utf-8")
        found = json.loads((workdir / page.JSON_FILE).read_text(encoding="utf-8"))
        charts = {key: path.read_text(encoding="utf-8") for key, path in kept.items() if not key or path.exists()}
        said = notes.read_text(encoding="utf-8").strip() + "\n\n" if notes else ""
    except OSError as error:
        raise CsstError(f"{error.filename} cannot be read ({error.strerror}); run the study first.") from error
    place, own = str(workdir.absolute()), f"runs/{name}"  # commands have the whole path
    for key, chart in charts.items():
        whole_file.write(results / f"{name}{key}.svg", chart)
        text = text.replace(f"]({kept[key].name})", f"]({name}{key}.svg)")
    for run in found["runs"].values():
        del run["asked"]
        run["command"] = ["python", *(word.replace(place, own) for word in run["command"][1:])]
    whole_file.write_json(results / "logs" / f"study-{name}.json", found)
    title, _, rest = text.partition(_LEFT_OUT)[0].replace(place, own).partition("\n\n")
    written = f"Written by `python -m benchmarks.study_page`; [log](logs/study-{name}.json) with commands and versions."
    path = results / f"{name}.md"
    whole_file.write(path, f"{title}\n\n{written}\n\n{said}{rest.rstrip()}\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
