"""Keeps a finished study as a page of docs/results: tables and charts without the places of the machine that ran it.

python -m benchmarks.study_page --workdir=runs/cross_domain --name=cross_domain
python -m benchmarks.study_page --workdir=runs/more --name=methods --add

The page is docs/results/NAME.md with NAME.svg and, for a study with curves, NAME-curves.svg. The log is
docs/results/logs/study-NAME.json. study-NAME-notes.txt beside it says what came out; it is put above the tables. --add
puts further rows of the study NAME to those that are kept. Runs that both have must have given the same scores.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import sys
from typing import TYPE_CHECKING, Any

from benchmarks import whole_file
from csst_jax.runtime.workdir import STUDY_FILE
from csst_jax.studying import page, study_file
from csst_jax.studying.results import from_json
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = pathlib.Path(__file__).resolve().parent.parent / "docs" / "results"
_LEFT_OUT = "## Commands"
"""From here on the page has commands and versions, which the log has as well."""

_DATA_ELSEWHERE = re.compile(r"(--config\.data\.dir=)/(?:.*/)?([^/]+)/?$")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 2 for what the user can fix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="workdir of the study")
    parser.add_argument("--name", required=True, help="name of the page")
    parser.add_argument("--add", action="store_true", help="keep the rows that the page has")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="docs/results by default")
    options = parser.parse_args(arguments)
    try:
        print(f"wrote {keep(options.workdir, options.name, options.results, options.add)}")
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def keep(workdir: pathlib.Path, name: str, results: pathlib.Path, add: bool = False) -> pathlib.Path:
    """Writes page, charts and log.

    Args:
      workdir: of the study.
      name: of the page; with `add`, of a study as well.
      results: where to.
      add: whether the rows that are kept there stay.

    Raises:
      CsstError: no run of the study is finished, a file cannot be read, or rows disagree.
    """
    names, log, notes = (page.PAGE_FILE, page.CHART_FILE), results / "logs" / f"study-{name}.json", ""
    try:
        found = json.loads((workdir / STUDY_FILE).read_text(encoding="utf-8"))
        if add:
            study, kept = study_file.load(name), json.loads(log.read_text(encoding="utf-8"))
            found = joined(kept, found, [arm.name for arm in study.arms])
            own_notes = workdir / page.NOTES_FILE
            told = own_notes.read_text(encoding="utf-8") if own_notes.exists() else ""
            files = page.files(study, (), from_json(found["rows"]), told)
        else:
            there = [*names, *([page.CURVES_FILE] if (workdir / page.CURVES_FILE).exists() else [])]
            files = {file: (workdir / file).read_text(encoding="utf-8") for file in there}
        if (said := results / "logs" / f"study-{name}-notes.txt").exists():
            notes = said.read_text(encoding="utf-8").strip() + "\n\n"
    except OSError as error:
        raise CsstError(f"{error.filename} cannot be read ({error.strerror}); run the study first.") from error
    text = files.pop(page.PAGE_FILE)
    place, own = str(workdir.absolute()), f"runs/{name}"  # commands have the whole path
    for file, chart in files.items():
        chart_name = f"{name}.svg" if file == page.CHART_FILE else f"{name}-{file}"
        whole_file.write(results / chart_name, chart)
        text = text.replace(f"]({file})", f"]({chart_name})")
    for run in found["runs"].values():
        run.pop("asked", None)
        words = (word.replace(place, own) for word in run["command"][1:])
        run["command"] = ["python", *(_DATA_ELSEWHERE.sub(r"\1data/\2", word) for word in words)]
    whole_file.write_json(log, found)
    title, _, rest = text.partition(_LEFT_OUT)[0].replace(place, own).partition("\n\n")
    written = f"Written by `python -m benchmarks.study_page`; [log](logs/study-{name}.json) with commands and versions."
    path = results / f"{name}.md"
    whole_file.write(path, f"{title}\n\n{written}\n\n{notes}{rest.rstrip()}\n")
    return path


def joined(kept: dict[str, Any], more: dict[str, Any], arms: Sequence[str]) -> dict[str, Any]:
    """Two logs of one study as one, with rows in the order of its arms; where both have a row, the kept one stays.

    Raises:
      CsstError: a seed of a row that both have gave another score, so that other rows cannot be compared either.
    """
    rows = {row["name"]: row for row in kept["rows"]}
    for row in more["rows"]:
        ours = rows.setdefault(row["name"], row)["by_seed"]
        for seed, miou in row["by_seed"].items():
            if miou != ours.get(seed, miou):
                raise CsstError(
                    f"{row['name']}, seed {seed}: {miou} here and {ours[seed]} in the log that is kept. Rows of both "
                    "cannot stand in one table; run the whole study again."
                )
    order = sorted(rows.values(), key=lambda row: arms.index(row["arm"]))
    missing = [run for run in kept["missing"] if run not in more["runs"]]
    return kept | {"rows": order, "runs": {**more["runs"], **kept["runs"]}, "missing": missing}


if __name__ == "__main__":
    sys.exit(main())
