"""Table 2. Alternatives to hard pseudo labels and a second network (§3.1.1, §4.3.3): `paper/table2:row=csst`.

DeepLabV3+ on ResNeXt50, 3K masks of Cityscapes and 40K unlabelled images. Consistency regularisation has one stage:
half of the crops of each of its steps are labelled.
"""

from ml_collections import ConfigDict

from configs.paper import _rows
from configs.paper._rows import Row, missing


def _consistency() -> ConfigDict:
    c = _rows.street()
    c.stages, c.teacher.method.name = _rows.ALONE, "consistency"
    return c


def _finetuned() -> ConfigDict:
    c = _rows.street()
    c.student.lr.base = _rows.FINETUNING_RATE
    return c


ROWS = {
    "consistency": Row("Consistency regularisation (eq. 4)", "78.9", _consistency),
    "finetuned": Row(
        "Teacher fine-tuning (eq. 5)",
        "79.2",
        _finetuned,
        finetunes="student",
        starts="table1/teacher_cs/teacher",
    ),
    "soft": missing("Soft pseudo labels (eq. 6)", "79.6", "not implemented"),
    "model_regulariser": missing(
        "Model regulariser (eq. 7)", "79.1", "not implemented; the paper gives no weight for it"
    ),
    "csst": Row("Ours (CSST)", "80.2", _rows.street, "The run is `paper/table1:row=student_40k_cs`."),
}


def get_config(arg: str = "") -> ConfigDict:
    """Options: `row`, `pretrained`, `trained` (docs/paper.md)."""
    return _rows.config(ROWS, arg)
