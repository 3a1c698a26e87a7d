"""Table 2. Alternatives to hard pseudo labels and a second network (§3.1.1, §4.3.3): `paper/table2:row=csst`.

DeepLabV3+ on ResNeXt50, 3K masks of Cityscapes and 40K unlabelled images. Consistency regularisation has one stage:
half of the crops of each of its steps are labelled.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import alternatives
from configs.paper import _rows
from configs.paper._rows import Row


def _consistency() -> ConfigDict:
    c = _rows.street()
    c.stages, c.teacher.method.name = _rows.ALONE, "consistency"
    return c


def _by(method: str) -> Callable[[], ConfigDict]:
    return lambda: alternatives.changed(_rows.street(), method)


ROWS = {
    "consistency": Row("Consistency regularisation (eq. 4)", "78.9", _consistency),
    "finetuned": Row("Teacher fine-tuning (eq. 5)", "79.2", _by("finetuned")),
    "soft": Row("Soft pseudo labels (eq. 6)", "79.6", _by("soft"), "The three most probable classes are stored."),
    "model_regulariser": Row(
        "Model regulariser (eq. 7)",
        "79.1",
        _by("model_regulariser"),
        "The paper gives no weight. This is CRST's: 0.1, of the mean over classes.",
    ),
    "csst": Row("Ours (CSST)", "80.2", _rows.street, "The run is `paper/table1:row=student_40k_cs`."),
}


def get_config(arg: str = "") -> ConfigDict:
    """Options: `row`, `pretrained`, `trained` (docs/paper.md)."""
    return _rows.config(ROWS, arg)
