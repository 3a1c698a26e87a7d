"""The paper's Fig. 8 (§4.6): from one data set to another with few masks, alone or after self-training.

For 1, 2, 5, 10 and all masks of the target: (1) a network of the source's masks is fine-tuned; (2) so is one that has
learned the source's masks and pseudo labels of the target's images. A seed is a draw of the masks, too; notes.md in the
workdir has the ids. 0 masks is the network as it is.

As it stands, the target is CamVid's dusk drive and the source its two drives by day. `python -m data_prep.camvid` makes
both with --part=target:0001TP and --part=source:0001TP. The paper's own:

    cross_domain:size=paper,source=data/cityscapes,target=data/bdd100k,new_target=data/mapillary_v1_2
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence

from configs import base
from configs._few_masks import NETWORK
from configs.studies import _small
from csst_jax.data.store import DataSet
from csst_jax.studying.arms import Arm, Point, Run, Study
from csst_jax.studying.values import Made, Network
from csst_jax.types import CsstError
from data_prep import shots
from data_prep.splits import write_list

STEPS, FINETUNING_STEPS = 600, 100
"""Of size=small."""
_CHARTS = {"target": "(a) Same classes", "new_target": "(b) New classes"}
_ALONE, _SELF_TRAINED = "fine-tuning alone", "self-training, then fine-tuning"
_SIZES = {"small": "", "paper": ""}
_PER = {"image": "image", "class": "class"}

# Half of the self-training's crops are the target's: the dusk drive has 31 images, and the source 305. In the paper
# BDD100K's pool is twice the source, and the union does as much by itself.
_SMALL = _small.both(_small.TRAINING | _small.steps(STEPS)) | _small.PREDICTION | {"student.sampler.real_share": 0.5}
_SMALL_FINETUNING = {
    **_small.both(_small.TRAINING),
    **_small.PREDICTION,
    "teacher.lr.base": 0.002,  # §4.2's for fine-tuning: a tenth
    "teacher.samples_per_epoch": 200,
    "teacher.epochs": FINETUNING_STEPS * _small.BATCH // 200,
}


def get_study(arg: str = "") -> Study:
    """A seed of the default takes 20 minutes of one core.

    Options: `source` and `target` are prepared data sets. `new_target` is one with other classes, for the second chart;
    none by default. `size` is small, or paper for §4.2's settings. `net` is the network, and `pretrained` the weights
    that source and self-training start from. `shots` has numbers of masks with slashes between them, such as
    1/2/5/10/all. `per` is image, or class: a shot is then an image for every class.
    """
    options = base.options(
        arg,
        source="data/camvid_source_0001tp",
        target="data/camvid_target_0001tp",
        new_target="",
        size="small",
        net="",
        pretrained="",
        shots="1/2/5/10/all",
        per="image",
    )
    base.one_of("size", options["size"], _SIZES)
    per = base.one_of("per", options["per"], _PER)
    small = options["size"] == "small"
    wanted = options["shots"].split("/")
    if wrong := [word for word in wanted if word != "all" and not (word.isdecimal() and int(word))]:
        raise CsstError(f"option shots={options['shots']}: {wrong[0]!r} is no number above 0, nor all.")
    if small and not options["net"]:
        options |= {"net": NETWORK, "pretrained": options["pretrained"] or "imagenet"}
    chosen = ",".join(f"{key}={options[key]}" for key in ("source", "net", "pretrained") if options[key])
    changes = _SMALL if small else {}
    arms = [Arm("source", changes, f"cross_domain:step=source,{chosen}")]
    for kind in ("target", "new_target"):
        if options[kind]:
            arms += _arms(kind, options[kind], chosen, wanted, small)
    counts = [int(word) for word in wanted if word != "all"]

    def prepare(workdir: pathlib.Path, runs: Sequence[Run]) -> None:
        _draw(workdir, runs, counts, per)

    return Study(
        "From one domain to another with few masks (Fig. 8)",
        "cross_domain",
        tuple(arms),
        about=f"Source: {options['source']}. Target: {options['target']}. A seed is a draw of the masks, too. Rows of "
        "the source and of self-training are scored on the source's validation split, the others on the target's. OHEM "
        f"is off, as in the paper. The gain is the mIoU of *{_SELF_TRAINED}* minus that of *{_ALONE}*, with the same "
        "number of masks.",
        axis="masks of the target" if per == "image" else "masks of the target for every class",
        prepare=prepare,
    )


def _arms(kind: str, target: str, chosen: str, wanted: Sequence[str], small: bool) -> Iterator[Arm]:
    """Self-training for a target, and everything that is evaluated on it."""
    prefix = "" if kind == "target" else "new classes: "
    learned = f"{prefix}self-training"
    # The configuration asks for a trained network; the arm's own is known once the study has a workdir.
    config = f"cross_domain:target={target},trained=teacher.pretrained"
    changes = (_SMALL if small else {}) | {"teacher.pretrained": Network("source", "teacher"), "teacher.epochs": 0}
    yield Arm(learned, changes, f"{config},step=self_training,{chosen}", networks=("student",))
    config += ",step=finetuning" + "".join(f",{part}" for part in chosen.split(",") if part.startswith("net="))
    base_changes = _SMALL_FINETUNING if small else {}
    for count in ["0", *wanted] if kind == "target" else wanted:  # as it is, it cannot be scored on other classes
        changes = {"0": {"teacher.epochs": 0}, "all": {}}.get(
            count, {"data.labelled_ids": Made(f"shots/{kind}/{{seed}}/{count}.txt")}
        )
        alone = f"{prefix}{count} {'mask' if count == '1' else 'masks'}"
        for name, curve, start, reference in (
            (alone, _ALONE, Network("source", "teacher"), ""),
            (f"{alone} after self-training", _SELF_TRAINED, Network(learned, "student"), alone),
        ):
            own = {**base_changes, **changes, "teacher.pretrained": start}
            yield Arm(name, own, config, reference=reference, point=Point(_CHARTS[kind], curve, count))


def _draw(workdir: pathlib.Path, runs: Sequence[Run], counts: Sequence[int], per: str) -> None:
    """Writes the lists of drawn ids, and notes.md, which shows them.

    Raises:
      CsstError: a data set is not there or has too few masks, or a list holds other ids than are drawn now.
    """
    lines = ["## Drawn masks", ""]
    for kind in _CHARTS:
        own = [run for run in runs if run.arm.point and run.arm.point.chart == _CHARTS[kind]]
        for seed in sorted({run.seed for run in own}) if counts else ():
            data_set = DataSet.open(own[0].config.data.dir)
            drawn = shots.drawn(data_set, own[0].config.data.train_split, counts, per, seed)
            for count, ids in drawn.items():
                path = workdir / "shots" / kind / str(seed) / f"{count}.txt"
                if path.exists() and path.read_text(encoding="utf-8").split("\n")[:-1] != ids:
                    raise CsstError(
                        f"{path} holds other ids than are drawn now: the data set or the option per has changed. Use "
                        "another --workdir."
                    )
                write_list(path, ids)
                lines.append(f"* {data_set.description.name}, draw {seed}, {count}: {', '.join(ids)}")
    (workdir / "notes.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
