"""Table 1. Self-training and centroid sampling on Cityscapes (§4.3.1, §4.3.2): `paper/table1:row=student_40k_cs`.

DeepLabV3+ on ResNeXt50, teacher and student. (a) adds pseudo labels, (b) repeats the real ones. CS is centroid
sampling; rows without it draw crops uniformly. The paper does not say which images its 3K, 6K and 12K are: here they
are at equal distances in Cityscapes' train_extra. 40K adds Mapillary's train and val.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs.paper import _rows
from configs.paper._rows import Row

_COARSE = "data/cityscapes:train_extra"
_POOLS = {"3k": f"{_COARSE}:3000", "6k": f"{_COARSE}:6000", "12k": f"{_COARSE}:12000", "40k": ""}
_REPEATED = {"6k": 2 * 2975, "9k": 3 * 2975, "15k": 5 * 2975, "43k": 2975 + 19_997 + 20_000}  # crops per epoch


def _teacher(sampled: str) -> ConfigDict:
    c = _rows.street_alone()
    return c if sampled == "cs" else _rows.uniform(c)


def _student(pseudo: str, sampled: str) -> ConfigDict:
    c = _rows.street()
    c.data.more_unlabelled = _POOLS[pseudo] or c.data.more_unlabelled
    return c if sampled == "cs" else _rows.uniform(c)


def _repeated(real: str, sampled: str) -> ConfigDict:
    c = _teacher(sampled)
    c.teacher.samples_per_epoch = _REPEATED[real]
    return c


def _row(make: Callable[[str, str], ConfigDict], count: str, sampled: str, what: str, paper: str) -> Row:
    name = "with CS" if sampled == "cs" else "without CS"
    return Row(f"{what}, {name}", paper, lambda: make(count, sampled))


ROWS = {
    "teacher_uniform": Row("(a), (b) Teacher, 3K real, without CS", "78.1", lambda: _teacher("uniform")),
    "teacher_cs": Row("(a), (b) Teacher, 3K real, with CS", "78.8", lambda: _teacher("cs")),
    **{
        f"student_{pseudo}_{sampled}": _row(
            _student, pseudo, sampled, f"(a) Student, 3K real, {pseudo.upper()} pseudo", paper
        )
        for pseudo, papers in {
            "3k": ("78.6", "79.3"),
            "6k": ("79.0", "79.9"),
            "12k": ("79.2", "80.0"),
            "40k": ("78.8", "80.2"),
        }.items()
        for sampled, paper in zip(("uniform", "cs"), papers, strict=True)
    },
    **{
        f"repeated_{real}_{sampled}": _row(
            _repeated, real, sampled, f"(b) Teacher, real labels repeated to {real.upper()}", paper
        )
        for real, papers in {
            "6k": ("78.5", "79.2"),
            "9k": ("78.6", "79.1"),
            "15k": ("78.5", "79.3"),
            "43k": ("78.6", "79.1"),
        }.items()
        for sampled, paper in zip(("uniform", "cs"), papers, strict=True)
    },
}


def get_config(arg: str = "") -> ConfigDict:
    """Options: `row`, `pretrained`, `trained` (docs/paper.md)."""
    return _rows.config(ROWS, arg)
