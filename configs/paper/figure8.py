"""Figure 8. From Cityscapes to BDD100K (a) and Mapillary (b) with few masks (§4.6): `paper/figure8:row=bdd100k_1_csst`.

A run of a source row comes first. A row of fine-tuning then starts from its network (`trained`) and learns the target's
masks (`ids`, which `python -m data_prep.shots` draws). The paper's two settings differ in the source row alone: masks
of Cityscapes, or also pseudo labels of the target. It gives figures in its text for 1 shot, and the others as a chart.
It does not say what a shot is: here it is an image. It does not name the network: here it is the teacher of §4.3.1.
OHEM is off, and crops keep their size. §4.2's 180 epochs hold, and an epoch of few masks is one step. Mapillary has 65
classes that are evaluated (the paper counts 66 with the unlabelled one); the last step replaces the classifier.
`configs/cross_domain.py` does the same with other data sets, and the study `cross_domain` runs the whole grid
(docs/studies.md).
"""

from ml_collections import ConfigDict

from configs import cross_domain
from configs.paper import _rows
from configs.paper._rows import Row

_TARGETS = {"bdd100k": "data/bdd100k", "mapillary": "data/mapillary_v1_2"}
_NAMES = {"bdd100k": "(a) BDD100K", "mapillary": "(b) Mapillary"}
_SHOTS = {"1": "1-shot", "2": "2-shot", "5": "5-shot", "10": "10-shot", "full": "all masks"}
_TOLD = {
    ("bdd100k", "1", "finetuned"): "27.1",
    ("bdd100k", "1", "csst"): "45.3",
    ("mapillary", "1", "finetuned"): "13.4",
    ("mapillary", "1", "csst"): "23.1",
}


def _step(step: str, target: str, trained: str = "") -> ConfigDict:
    return _rows.as_published(
        cross_domain.get_config(f"step={step},target={_TARGETS[target]}" + (f",trained={trained}" if trained else ""))
    )


def _row(target: str, shots: str, setting: str) -> Row:
    source = "cityscapes_source/teacher" if setting == "finetuned" else f"{target}_source/student"
    name = "fine-tuning" if setting == "finetuned" else "self-training, then fine-tuning"
    return Row(
        f"{_NAMES[target]}, {_SHOTS[shots]}, {name}",
        _TOLD.get((target, shots, setting), "in the chart alone"),
        lambda: _step("finetuning", target, "runs"),
        finetunes="teacher",
        starts=f"figure8/{source}",
        shots=int(shots) if shots.isdecimal() else 0,
    )


ROWS = {
    "cityscapes_source": Row("Source: Cityscapes' masks", "–", lambda: _step("source", "bdd100k")),
    "bdd100k_source": Row("Source: and pseudo labels of BDD100K", "–", lambda: _step("self_training", "bdd100k")),
    "mapillary_source": Row("Source: and pseudo labels of Mapillary", "–", lambda: _step("self_training", "mapillary")),
    **{
        f"{target}_{shots}_{setting}": _row(target, shots, setting)
        for target in _TARGETS
        for shots in _SHOTS
        for setting in ("finetuned", "csst")
    },
}


def get_config(arg: str = "") -> ConfigDict:
    """Options: `row`, `pretrained`, `trained`, `ids` (docs/paper.md)."""
    return _rows.config(ROWS, arg)
