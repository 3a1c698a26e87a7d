"""Writes weights for another code base: `python -m csst_jax.export_weights --source=mmseg --weights=… --out=FILE.pth`.

A student trained here then runs in mmsegmentation. PyTorch is not needed. Networks of the source's lineage alone can be
exported: in another one the same weights would give other results there.
"""

from __future__ import annotations

import argparse
import importlib
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from csst_jax.models import zoo
from csst_jax.models.weights import catalogue
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from csst_jax.models.weights import files
    from csst_jax.models.weights.rules import Source

SOURCES = {"mmseg": "csst_jax.models.weights.sources.mmseg:config"}
"""Source -> "module:function": what to write into its configuration, from the number of classes and the preprocessing.
"""


def export_weights(source: str, weights: str, out: str) -> list[str]:
    """Writes `out` and returns what there is to say about it, a sentence an entry.

    Args:
      source: a key of `SOURCES`.
      weights: a file of ours, or the directory of a finished stage of a run.
      out: file to write: ".pth" for a checkpoint of PyTorch's, ".safetensors" for the same names in that format.

    Raises:
      CsstError: the weights cannot be read, or the source has no such network, or it is of another lineage.
    """
    if source not in SOURCES:
        raise CsstError(f"cannot export to source {source!r}; known are: {', '.join(SOURCES)}.")
    from csst_jax.models.weights import export, files  # JAX takes a second to import: not for --help

    directory = pathlib.Path(weights)
    arrays, description = read_stage(directory) if directory.is_dir() else files.read(weights)
    how = catalogue.source(source, description.network)
    _check_lineage(how, description, weights)
    _check_arrays(description, arrays, weights)
    entries = export.names(how, arrays)
    shown = _classes(directory, description.num_classes) if directory.is_dir() else {}
    origin = {"network": description.network, "options": dict(description.options)}
    export.write(out, entries, {**shown, "csst_jax": {**origin, "weights": description.source_sha256}})

    values = sum(value.size for name, value in arrays.items() if not name.endswith((".mean", ".var")))
    said = [f"{out}: {description.network}, {description.num_classes} classes, {values:,} parameters as {source}"]
    others = [f"{name}={value!r}" for name, value in description.options.items() if name not in how.options]
    module, _, function = SOURCES[source].partition(":")
    config = getattr(importlib.import_module(module), function)(description.num_classes, description.preprocessing)
    said.append(f"configuration there: {', '.join([config, *others])}")
    if not shown:
        said.append("names of the classes are not in it: not known here.")
    if description.initial:
        said.append(f"{len(description.initial)} arrays hold initial values ({description.initial[0]}, …): train them.")
    return said


def _check_lineage(how: Source, description: files.Description, weights: str) -> None:
    network, wanted = description.network, how.options["lineage"]
    own = description.options.get("lineage") or zoo.lineages(network)[0]
    if own == wanted:
        return
    raise CsstError(
        f"{weights} holds {network!r} of lineage {own!r}, and source {how.name!r} has lineage {wanted!r}: there these "
        "weights would not fit, or would give other results. Needed is a network that was trained in that lineage from "
        f"the start: --config.student.lineage={wanted} (or teacher.lineage, for a teacher)."
    )


def _check_arrays(description: files.Description, arrays: Mapping[str, np.ndarray], weights: str) -> None:
    from csst_jax.models import nnx_io

    d = description
    network = nnx_io.abstract(zoo.builder(d.network, d.num_classes, **d.options))
    like = {name: tuple(leaf.shape) for name, leaf in (network.params | network.batch_stats).items()}
    own = {name: value.shape for name, value in arrays.items()}
    wrong = sorted({name for name, _ in own.items() ^ like.items()})
    if wrong:
        raise CsstError(f"{weights} does not fit {d.network!r} as csst_jax builds it now ({', '.join(wrong)}).")


def read_stage(directory: pathlib.Path) -> tuple[dict[str, np.ndarray], files.Description]:
    """The trained weights of a finished stage, and what a file of ours would say of them.

    Args:
      directory: WORKDIR/teacher, WORKDIR/student or WORKDIR/baseline.

    Raises:
      CsstError: it is no stage's, or is not finished, or the pretrained weights that it started from are gone.
    """
    from csst_jax.models.preprocessing import Preprocessing
    from csst_jax.models.weights import files
    from csst_jax.stages.artifact import DONE_FILE, STAGE_FILE, read_json

    if not (directory / STAGE_FILE).is_file():
        stages = sorted(str(path.parent) for path in directory.glob("*/checkpoints"))
        hint = f"; give one of {', '.join(stages)}" if stages else ""
        raise CsstError(f"{directory} is no stage's directory: it has no {STAGE_FILE}{hint}.")
    if not (directory / DONE_FILE).is_file():
        raise CsstError(f"{directory} is not finished; run its command again until it is.")
    request, done = read_json(directory / STAGE_FILE)["request"], read_json(directory / DONE_FILE)
    settings, expects = request["settings"], request.get("preprocessing")
    if "network" not in settings or expects is None:
        raise CsstError(f"{directory} has trained no network, or was made by another version of csst_jax.")
    preprocessing = Preprocessing(**{name: _tuple(value) for name, value in expects.items()})
    arrays = _restore(directory / "checkpoints" / str(done["steps"]))
    options = _options(directory, settings, request.get("pretrained_sha256"))
    classes = _num_classes(settings["network"], options, arrays)
    return arrays, files.Description(
        settings["network"], options, classes, str(directory), done["weights_sha256"], preprocessing
    )


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _options(directory: pathlib.Path, settings: Mapping[str, Any], pretrained_sha256: str | None) -> dict[str, Any]:
    """The builder's options, as `build` has them: what is not set is the network's own, or its pretrained weights'."""
    from csst_jax.models.weights import files, start
    from csst_jax.stages.artifact import read_json
    from csst_jax.start import CONFIG_FILE

    defaults = {"lineage": "", "output_stride": 0, "width": 1.0, "depth": 1.0}
    options = {name: settings[name] for name, default in defaults.items() if settings.get(name, default) != default}
    if pretrained_sha256 is None:
        return options
    config = read_json(directory.parent / CONFIG_FILE)
    path = config["student" if directory.name == "student" else "teacher"]["pretrained"]
    if not path or not pathlib.Path(path).is_file() or files.sha256(path) != pretrained_sha256:
        raise CsstError(
            f"{directory} started from a file of weights that says how the network is built, and {path or 'it'} is "
            f"gone or another one now; put the one with SHA-256 {pretrained_sha256[:12]}… back."
        )
    return start.options(path, settings["network"], options)


def _restore(checkpoint: pathlib.Path) -> dict[str, np.ndarray]:
    """Parameters and statistics, on one device, without the optimizer's state."""
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    path = checkpoint.resolve() / "default"
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            tree = checkpointer.metadata(path).item_metadata
            place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
            like = {
                part: {n: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place) for n, x in tree[part].items()}
                for part in ("params", "batch_stats")
            }
            how = ocp.checkpoint_utils.construct_restore_args(like)
            restored = checkpointer.restore(
                path, args=ocp.args.PyTreeRestore(like, restore_args=how, partial_restore=True)
            )
    except Exception as error:  # Orbax raises many kinds, as in csst_jax.train.checkpoint
        raise CsstError(f"could not read the checkpoint {checkpoint}: {error}") from error
    return {name: np.asarray(value) for part in restored.values() for name, value in part.items()}


def _num_classes(network: str, options: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> int:
    """The last axis of the arrays that differ between networks of two and of three classes."""
    from csst_jax.models import nnx_io

    two, three = (nnx_io.abstract(zoo.builder(network, n, **options)).params for n in (2, 3))
    name = next(name for name, leaf in two.items() if leaf.shape != three[name].shape)
    if name not in arrays:
        raise CsstError(f"the checkpoint does not fit {network!r} as csst_jax builds it now: it has no {name}.")
    return arrays[name].shape[-1]


def _classes(directory: pathlib.Path, num_classes: int) -> dict[str, Any]:
    """Names and colours of the run's data set, where mmsegmentation looks for them; {} if it is gone."""
    from csst_jax.data.store import DataSet
    from csst_jax.stages.artifact import read_json
    from csst_jax.start import CONFIG_FILE

    try:
        description = DataSet.open(read_json(directory.parent / CONFIG_FILE)["data"]["dir"]).description
    except CsstError:
        return {}
    if len(description.classes) != num_classes:
        return {}
    return {"dataset_meta": {"classes": list(description.classes), "palette": [list(c) for c in description.palette]}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m csst_jax.export_weights", description="Writes a network's weights as another code base's own."
    )
    parser.add_argument("--source", required=True, help=f"whose names: {', '.join(SOURCES)}")
    parser.add_argument("--weights", required=True, help="a file of csst_jax, or a finished stage's WORKDIR/student")
    parser.add_argument("--out", required=True, help="file to write, .pth or .safetensors")
    a = parser.parse_args(arguments)
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # Orbax warns of a file that this kind of checkpoint does not have
    try:
        for line in export_weights(a.source, a.weights, a.out):
            print(line)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
