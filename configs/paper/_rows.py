"""What a row of a table is, and how the option `row` becomes a configuration."""

import dataclasses
from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from configs import base, cityscapes
from csst_jax.types import CsstError

TEACHER = "deeplab_v3_plus_resnext50_32x4d"
"""The teacher of the paper's Cityscapes experiments (§4.3.1)."""
STAGES = "teacher,label,student,evaluate"
ALONE = "teacher,evaluate"
FINETUNING_RATE = 0.002
"""§4.2."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table, or one cell where a row has several runs.

    Attributes:
      what: what the paper calls it.
      paper: the paper's figure; mIoU in percent unless it says otherwise.
      make: the configuration; None where there is none.
      note: what a reader should know; where there is no configuration, why.
      finetunes: the stage that starts from the trained network which option `trained` names; empty for none.
      starts: that network's stage, as TABLE/ROW/STAGE.
      shots: masks of the target, which option `ids` names; 0 for all.
    """

    what: str
    paper: str
    make: Callable[[], ConfigDict] | None
    note: str = ""
    finetunes: str = ""
    starts: str = ""
    shots: int = 0


def missing(what: str, paper: str, why: str) -> Row:
    """A row that this project does not have."""
    return Row(what, paper, None, why)


def config(rows: Mapping[str, Row], arg: str) -> ConfigDict:
    """The configuration of a row.

    Args:
      rows: of the table, by name.
      arg: the options after a configuration's colon. `row`: its name. `pretrained`: weights to start from, of the
        network that the row is about, and of its teacher where that is the same network; the paper starts from
        ImageNet's. `trained`: a network trained by another row; it is the teacher as it is, or what a row of
        fine-tuning starts from. `ids`: file with the ids of a row's few masks, one per line.

    Raises:
      CsstError: an unknown option or row, a row that is not there, or an option that the row needs.
    """
    options = base.options(arg, row="", pretrained="", trained="", ids="")
    if options["row"] not in rows:
        there = ", ".join(name for name, row in rows.items() if row.make)
        raise CsstError(f"option row={options['row']} after the config's colon: give one of {there}.")
    row = rows[options["row"]]
    if row.make is None:
        raise CsstError(f"row={options['row']} ({row.what}) has no configuration: {row.note}.")
    if row.finetunes and not options["trained"]:
        raise CsstError(f"row={options['row']} fine-tunes a trained network: give trained=DIR, of {row.starts}.")
    if row.finetunes and options["pretrained"]:
        raise CsstError(
            f"row={options['row']} starts from the network of trained={options['trained']}: leave pretrained out."
        )
    if row.shots and not options["ids"]:
        raise CsstError(f"row={options['row']} has few masks: give ids=FILE, with {row.shots} ids, one per line.")
    c = row.make()
    if options["ids"]:
        c.data.labelled_ids = options["ids"]
    if options["trained"]:
        if row.finetunes != "teacher":  # the trained network makes the pseudo labels
            c.teacher.pretrained, c.teacher.epochs = options["trained"], 0
        if row.finetunes:
            c[row.finetunes].pretrained = options["trained"]
    last = c.student if "student" in c.stages else c.teacher
    for stage in (c.teacher, c.student):
        if options["pretrained"] and stage.network == last.network and stage.epochs > 0:
            stage.pretrained = options["pretrained"]
    return c


def street(student: str = TEACHER, teacher: str = TEACHER) -> ConfigDict:
    """Cityscapes with 40K unlabelled images, and Table 6's settings of each network."""
    return as_published(cityscapes.get_config(f"net={teacher},student={student},pool=mapillary"))


def street_alone(network: str = TEACHER) -> ConfigDict:
    """One network on Cityscapes' 2,975 masks, with Table 6's settings."""
    return alone(street(network, network))


def alone(c: ConfigDict) -> ConfigDict:
    """Leaves out pseudo labels and the student."""
    c.stages, c.data.more_unlabelled = ALONE, ""
    return c


def as_published(c: ConfigDict) -> ConfigDict:
    """Undoes what this project's defaults add to the paper: every component may be a crop's centre (§3.2)."""
    for stage in (c.teacher, c.student):
        stage.sampler.min_area_px = stage.sampler.pseudo_min_area_px = 0
    return c


def uniform(c: ConfigDict) -> ConfigDict:
    """Leaves out centroid sampling, of teacher and student."""
    for stage in (c.teacher, c.student):
        stage.sampler.name = "uniform"
    return c


def schedule(c: ConfigDict, kind: str) -> ConfigDict:
    """Another crop schedule, of teacher and student."""
    for stage in (c.teacher, c.student):
        stage.schedule.kind = kind
    return c
