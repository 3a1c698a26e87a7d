"""Flags of `csst_jax.compare` and `csst_jax.study`, read before anything slow is imported."""

from __future__ import annotations

import argparse
from typing import Any

from csst_jax.methods import METHODS

CSST = "csst"
NAMES = {CSST: "supervised"}
"""What a method is called beside other methods: the supervised loss on real and pseudo labels is the paper's CSST."""
VARIANTS: dict[str, dict[str, Any]] = {
    "soft": {"label.soft.k": 3},
    "finetuned": {"finetune_teacher": True, "student.lr.base": 0.002},
}
"""Keys that make the paper's other ways of §3.1.1 out of CSST: soft pseudo labels (eq. 6), and the teacher that goes on
with real and pseudo labels (eq. 5), at the rate of §4.2."""

ROUNDS, ST_PLUS_PLUS = "rounds", "st++"
IN_ROUNDS = (ROUNDS, ST_PLUS_PLUS)
"""Beside the methods of a stage: self-training in rounds, by `config.rounds` and by ST++."""


def known_methods() -> list[str]:
    """Names that `--methods` takes."""
    names = {method: name for name, method in NAMES.items()}
    return [*(names.get(method, method) for method in METHODS), *VARIANTS, *IN_ROUNDS]


def method_of(name: str) -> str:
    """Which of `csst_jax.methods.METHODS` the student of a name trains by."""
    return NAMES[CSST] if name in VARIANTS else NAMES.get(name, name)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of both commands."""
    parser.add_argument("--workdir", required=True, help="directory for all runs, the tables and the chart")
    parser.add_argument("--jobs", type=positive, default=1, help="runs at the same time (default 1)")
    parser.add_argument("--dry_run", action="store_true", help="print the commands of all runs, and run nothing")


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number above 0")
    return int(text)


def seeds(text: str) -> tuple[int, ...]:
    """Seeds, separated by commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise argparse.ArgumentTypeError(f"{text!r}: give whole numbers, separated by commas, each once, such as 0,1,2")
    return tuple(map(int, parts))


def words(text: str) -> tuple[str, ...]:
    """Names, separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
