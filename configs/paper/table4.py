"""Table 4. Crop schedules (§3.3, §4.3.5): `paper/table4:row=coarse2fine_plus`.

DeepLabV3+ on ResNeXt50, 3K masks of Cityscapes and 40K pseudo labels. Teacher and student have the row's schedule; with
`trained` (`paper/table1:row=teacher_cs`) the student alone.
"""

from ml_collections import ConfigDict

from configs.paper import _rows
from configs.paper._rows import Row


def _row(what: str, kind: str, paper: str) -> Row:
    return Row(what, paper, lambda: _rows.schedule(_rows.street(), kind))


ROWS = {
    "constant": _row("Baseline: crops of 800 throughout", "constant", "80.2, 9 days"),
    "coarse2fine": _row("coarse2fine", "coarse2fine", "79.6"),
    "fine2coarse": _row("fine2coarse", "fine2coarse", "79.9"),
    "coarse2fine_plus": _row("coarse2fine+", "coarse2fine+", "80.2, 1.7 times faster"),
    "fine2coarse_plus": _row("fine2coarse+", "fine2coarse+", "80.0"),
}


def get_config(arg: str = "") -> ConfigDict:
    """Options: `row`, `pretrained`, `trained` (docs/paper.md)."""
    return _rows.config(ROWS, arg)
