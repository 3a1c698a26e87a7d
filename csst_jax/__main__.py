"""`csst COMMAND …` and `python -m csst_jax COMMAND …`: all commands under one name.

A command is a module that `python -m` runs as well, and takes the same flags. `csst` alone lists them. A new one is a
line in `GROUPS`; nothing of it is imported before it is chosen.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from csst_jax.arguments import print_all
from csst_jax.own_packages import make_importable

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Prepare images": {
        "prepare": ("data_prep.folder", "your own images, and the masks of some of them"),
        "annotations": (
            "data_prep.annotations",
            "masks from exports of COCO, CVAT, LabelMe, Label Studio, Roboflow",
        ),
        "prepare demo": ("data_prep.synthetic", "generated street scenes, to try csst_jax with"),
        "prepare camvid": ("data_prep.camvid", "CamVid"),
        "prepare cityscapes": ("data_prep.cityscapes", "Cityscapes"),
        "prepare voc2012": ("data_prep.voc2012", "PASCAL VOC 2012"),
        "prepare bdd100k": ("data_prep.bdd100k", "BDD100K"),
        "prepare mapillary": ("data_prep.mapillary", "Mapillary Vistas"),
        "prepare ade20k": ("data_prep.ade20k", "ADE20K"),
        "check": ("data_prep.check", "what is in a prepared data set, and what is wrong with it"),
        "sampling": ("data_prep.inspect_sampling", "draw what a training epoch would see"),
        "splits": ("data_prep.splits", "draw lists of the training images that keep their masks"),
        "shots": ("data_prep.shots", "draw lists of a few masks, 1 to 10"),
        "reindex": ("data_prep.reindex", "make the centroid index of a data set again"),
    },
    "Train": {
        "train": ("csst_jax.main", "train teacher and student, score both, write a report; or continue a run"),
        "status": ("csst_jax.status", "how far a run is: done, running, stopped or silent, and since when"),
        "compare": ("csst_jax.compare", "several methods at equal steps, with seeds: a table and a chart"),
        "study": ("csst_jax.study", "a grid of settings and seeds from a file: tables and a chart"),
        "plan": ("csst_jax.plan", "memory that a run needs, here or on a TPU slice that you do not have yet"),
    },
    "Use and score": {
        "predict": ("csst_jax.predict", "predict your own photos and videos with a trained network"),
        "serve": ("csst_jax.serve", "a page in your browser to try one or two networks on your photos"),
        "suggest": ("csst_jax.suggest", "images to label next: those with the least confident predictions"),
        "evaluate": ("csst_jax.evaluate", "score networks on a split, compare runs, write predictions or a submission"),
        "report": ("csst_jax.report", "write the report of a run again, or compare several runs"),
        "check-submission": ("csst_jax.check_submission", "check a file for a test server before you upload it"),
    },
    "Networks and weights": {
        "models": ("csst_jax.models", "list the networks, their sizes and whose weights they take"),
        "import-weights": ("csst_jax.import_weights", "convert a published checkpoint to a file to start from"),
        "export": ("csst_jax.export", "write a network as ONNX, SavedModel, StableHLO or PyTorch weights"),
        "export-weights": ("csst_jax.export_weights", "write weights for another code base"),
    },
}
"""By what one wants to do: from the words of a command to its module and a line about it."""

COMMANDS = {words: module for group in GROUPS.values() for words, (module, _) in group.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command, whose exit status ends the process; or lists all of them.

    Args:
      argv: what stands behind `csst`; the process's own by default.

    Returns:
      0 after the list, 2 for an unknown command.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["help"] and words[1:]:  # `csst help train`
        words = [*words[1:], "--help"]
    if not words or words[0] in ("help", "-h", "--help", "--helpfull"):
        print_all(listing())
        return 0
    if words[0] == "--version":
        print(version())
        return 0
    chosen, flags = split(words)
    if chosen not in COMMANDS:
        print(f"error: {unknown(words)}", file=sys.stderr)
        return 2
    return _run(COMMANDS[chosen], flags)


def split(words: Sequence[str]) -> tuple[str, list[str]]:
    """The name of a command, known or not, and its flags.

    The name is the first word, and the second where names go on: `prepare camvid` is another command than `prepare`.
    """
    goes_on = any(known.startswith(f"{words[0]} ") for known in COMMANDS)
    count = 2 if goes_on and words[1:] and not words[1].startswith("-") else 1
    return " ".join(words[:count]), list(words[count:])


def listing() -> str:
    """All commands with a line each."""
    column = max(map(len, COMMANDS))
    parts = [
        "usage: csst COMMAND [flags], or python -m csst_jax COMMAND [flags]\n"
        "       csst COMMAND --help shows a command's flags; --helpfull shows all keys of --config as well"
    ]
    for title, group in GROUPS.items():
        parts.append("\n".join([f"{title}:", *(f"  {words:{column}}  {line}" for words, (_, line) in group.items())]))
    return "\n\n".join(parts)


def unknown(words: Sequence[str]) -> str:
    """What to say of words that are no command: the nearest one, and where all of them are listed."""
    import difflib  # only for a mistake

    both = " ".join(words[:2])
    near = difflib.get_close_matches(both, COMMANDS, n=1) or difflib.get_close_matches(words[0], COMMANDS, n=1)
    named = both if words[0] in COMMANDS else words[0]
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown command {named!r}.{hint} Known are: {', '.join(COMMANDS)}."


def version() -> str:
    """The version of the installed package; of a checkout that is not installed, that it is one."""
    import importlib.metadata

    try:
        return f"csst_jax {importlib.metadata.version('csst_jax')}"
    except importlib.metadata.PackageNotFoundError:
        return "csst_jax, from a checkout that is not installed"


def _run(module: str, flags: list[str]) -> int:
    """As `python -m module` does; the command ends the process itself."""
    import runpy

    make_importable()
    sys.argv = [module, *flags]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
