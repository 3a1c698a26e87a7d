"""Writes weights for another code base: `python -m csst_jax.export_weights --target=mmseg --weights=… --out=FILE.pth`.

A student trained here then runs in mmsegmentation, segmentation_models_pytorch ("smp") or UniMatch V2. PyTorch is not
needed.
Only networks of the target's lineage can be exported. Weights of another lineage would give other results there.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from csst_jax.arguments import Parser
from csst_jax.models import zoo
from csst_jax.models.weights import catalogue
from csst_jax.runtime import outputs
from csst_jax.runtime.signals import tell_interruption
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.models.weights import files
    from csst_jax.models.weights.rules import Source

TARGETS = {
    "mmseg": "csst_jax.models.weights.sources.mmseg:config",
    "smp": "csst_jax.models.weights.sources.smp:config",
    "unimatch_v2": "csst_jax.models.weights.sources.dinov2:config",
}
"""Target -> "module:function": what to write into its configuration, from the number of classes and the preprocessing.
"""


def export_weights(target: str, weights: str, out: str) -> list[str]:
    """Writes `out` and returns what there is to say about it, a sentence an entry.

    Args:
      target: a key of `TARGETS`: whose code is to load the file.
      weights: a file of ours, the directory of a finished stage, or a workdir, whose student is meant.
      out: file to write: ".pth" for a checkpoint of PyTorch's, ".safetensors" for the same names in that format.

    Raises:
      CsstError: the weights cannot be read, or the target has no such network, or it is of another lineage.
    """
    if target not in TARGETS:
        raise CsstError(f"cannot export to --target={target}; known are: {', '.join(TARGETS)}.")
    file = outputs.file(out, "--out")
    from csst_jax.models.weights import export, files  # JAX takes a second to import: not for --help

    arrays, description = files.read(weights)
    code_base = catalogue.source(target, description.network)
    _require_lineage(code_base, description, weights)
    files.network(arrays, description, weights)
    entries = export.names(code_base, arrays)
    shown = _classes(description)
    origin = {"network": description.network, "options": dict(description.options)}
    origin["weights"] = description.weights_sha256
    with outputs.errors_told(file):
        export.write(out, entries, {**shown, "csst_jax": origin})

    values = sum(value.size for name, value in arrays.items() if not name.endswith((".mean", ".var")))
    said = [f"{out}: {description.network}, {description.num_classes} classes, {values:,} parameters as {target}"]
    others = [f"{name}={value!r}" for name, value in description.options.items() if name not in code_base.options]
    module, _, function = TARGETS[target].partition(":")
    config = getattr(importlib.import_module(module), function)(description.num_classes, description.preprocessing)
    said.append(f"configuration there: {', '.join([config, *others])}")
    if not shown:
        said.append(f"names of the classes are not in it: {weights} does not know them.")
    if description.initial:
        said.append(f"{len(description.initial)} arrays hold initial values ({description.initial[0]}, …): train them.")
    return said


def _require_lineage(code_base: Source, description: files.Description, weights: str) -> None:
    network, wanted = description.network, code_base.options.get("lineage")
    if wanted is None:  # there is one version of it
        return
    own = description.options.get("lineage") or zoo.lineages(network)[0]
    if own == wanted:
        return
    raise CsstError(
        f"{weights} holds {network!r} of lineage {own!r}, and target {code_base.name!r} has lineage {wanted!r}: these "
        "weights would not fit there, or would give other results. Train a network in that lineage from the start: "
        f"--config.student.lineage={wanted} (or teacher.lineage, for a teacher)."
    )


def _classes(description: files.Description) -> dict[str, Any]:
    """Names and colours of the classes, where mmsegmentation looks for them; {} if the file does not know them."""
    if not description.classes:
        return {}
    palette = [list(colour) for colour in description.palette]
    return {"dataset_meta": {"classes": list(description.classes), "palette": palette}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser("csst_jax.export_weights", "Writes a network's weights as another code base's own.")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--target", help=f"the code that will load the file: {', '.join(TARGETS)}")
    target.add_argument("--source", dest="target", help="earlier name of --target")
    parser.add_argument("--weights", required=True, help="a workdir, a finished stage or a file of weights")
    parser.add_argument("--out", required=True, help="file to write, .pth or .safetensors")
    a = parser.parse_args(arguments)
    try:
        for line in export_weights(a.target, a.weights, a.out):
            print(line)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    tell_interruption()
    sys.exit(main())
