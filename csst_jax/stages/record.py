"""What a run is, for people who read its report: data, command, date, versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import logging
import platform
import shlex
import sys
from typing import TYPE_CHECKING, Any

import jax

from csst_jax.data.statistics import class_statistics
from csst_jax.data.stored.encoded import size
from csst_jax.report import write_report
from csst_jax.runtime.json_files import write_json
from csst_jax.runtime.workdir import RUN_FILE
from csst_jax.stages.artifact import has_work
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from csst_jax.stages.experiment import Experiment

log = logging.getLogger(__name__)

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "tensorflow-cpu", "tensorflow", "numpy")
_MOST_SIZES = 4


def begin(this: Experiment) -> None:
    """Writes `run.json`, unless an earlier start has and there is work of it."""
    path = this.workdir / RUN_FILE
    if jax.process_index():
        return
    if not path.exists() or not any(has_work(stage) for stage in this.workdir.glob("*") if stage.is_dir()):
        write_json(path, _record(this))


def grown(this: Experiment) -> None:
    """Writes the report of what is there by now. What is wrong with it is a warning: training goes on."""
    if jax.process_index():
        return
    try:
        write_report(this.workdir)
    except CsstError as error:
        log.warning("no report: %s", error)
    except Exception:  # a fault in a page is no reason to lose hours of training
        log.warning("no report", exc_info=True)


def data(this: Experiment) -> dict[str, Any]:
    """The data set's name, and how many images of each kind the run has."""
    return {
        "name": this.description.name,
        "labelled": len(this.pool.labelled),
        "unlabelled": len(this.pool.unlabelled),
        "validation": len(this.validation.labelled),
    }


def _record(this: Experiment) -> dict[str, Any]:
    pool, description = this.pool, this.description
    pixels = class_statistics(pool.dataset.centroids(pool.split), pool.labelled).pixels
    shares = (pixels / max(int(pixels.sum()), 1)).tolist()
    sizes = sorted({size(pool.reader.label_bytes(r))[::-1] for r in pool.labelled})
    shown = [f"{width} × {height} px" for width, height in sizes[:_MOST_SIZES]]
    return {
        "data": {
            **data(this),
            "classes": description.classes,
            "palette": description.palette,
            "class_share": dict(zip(description.classes, shares, strict=True)),
            "sizes": ", ".join(shown) + (f" and {len(sizes) - _MOST_SIZES} others" if len(sizes) > _MOST_SIZES else ""),
        },
        "command": shlex.join(["python", "-m", "csst_jax.main", *sys.argv[1:]]),
        "begun": datetime.datetime.now().astimezone().isoformat(" ", "seconds"),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in ("csst_jax", *_PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    kinds = sorted({device.device_kind for device in jax.devices()})
    return found | {"devices": f"{jax.device_count()} × {', '.join(kinds)}", "processes": str(jax.process_count())}
