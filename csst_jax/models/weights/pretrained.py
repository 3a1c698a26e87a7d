"""Training from pretrained weights: a file of ours, imported or trained here, gives a network its initial values."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from csst_jax.models import zoo
from csst_jax.models.weights import files
from csst_jax.models.weights.locate import MODEL_FILE, locate, networks
from csst_jax.runtime.storage import as_path
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from csst_jax.models.nnx_io import Arrays, Network

log = logging.getLogger(__name__)


def options(path: str | os.PathLike[str], network: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The builder's options under which a network takes a file's weights.

    Args:
      path: of a file of ours, see `locate`.
      network: the name in the zoo that the configuration gives.
      asked: options that the configuration sets; the output stride may differ from the file's, as weights do not depend
        on it.

    Raises:
      CsstError: the file is for another network, or was made under other options.
    """
    description = files.describe(path)
    if description.network != network:
        raise CsstError(f"{path} holds weights of {description.network!r}, not of {network!r}; set network to that.")
    # A file of the default lineage need not say so, and the shapes of another one may be the same.
    own = dict(zip(("lineage",), zoo.lineages(network), strict=False)) | dict(description.options)
    for name, value in asked.items():
        if name != "output_stride" and value != own.get(name, value):
            raise CsstError(f"{path} was made for {name}={own[name]!r}, not {value!r}; leave {name} out.")
    return {**description.options, **asked}


def of_run(start_from: str | os.PathLike[str], network: str, required: bool = True) -> str:
    """The file of a run's network to train on from: its student, or, if that is of another kind, its teacher.

    Args:
      start_from: the run's workdir, the directory of a finished stage, or a file of ours.
      network: the name in the zoo that is to be trained.
      required: whether a run without such a network is an error, and not "".

    Raises:
      CsstError: nothing is there, or no network of that name; says which ones are.
    """
    path = as_path(start_from, "start_from")
    if not path.is_dir() or (path / MODEL_FILE).is_file():
        found = {"": locate(path)}
    else:
        found = {stage: file for stage, file in networks(path).items() if stage != "baseline"} or networks(path)
    names = {stage: files.describe(file).network for stage, file in found.items()}
    for stage, file in found.items():
        if names[stage] == network:
            return str(file)
    if not required:
        return ""
    there = ", ".join(f"{stage} {name!r}".strip() for stage, name in names.items())
    raise CsstError(f"start_from={start_from} has {there}, and network is {network!r}; set network to one of these.")


def rows(path: str | os.PathLike[str], classes: Sequence[str]) -> tuple[int, ...] | None:
    """Which class of a file each class starts from, by name; -1 for those that the file does not have.

    Returns:
      None where the classes are the file's, or where the file does not know their names.

    Raises:
      CsstError: as `files.describe`.
    """
    own = files.describe(path).classes
    if not own or tuple(own) == tuple(classes):
        return None
    return tuple(own.index(name) if name in own else -1 for name in classes)


def num_classes(path: str | os.PathLike[str]) -> int:
    """Classes of a file's logits.

    Raises:
      CsstError: as `files.describe`.
    """
    return files.describe(path).num_classes


def require_complete(path: str, classes: Sequence[str]) -> None:
    """Refuses to take weights as they are where something in them was never trained, or was for other classes.

    Args:
      path: of a file of ours, see `locate`; empty for none.
      classes: names of the data set's classes.

    Raises:
      CsstError: there is no file, or its classes are others, or parts of it hold initial values.
    """
    if not path:
        raise CsstError("epochs=0 takes pretrained weights as they are; set pretrained=FILE, or epochs to 1 or more.")
    description = files.describe(path)
    if differing := files.other_classes(description, classes):
        raise CsstError(f"{path} {differing}: a new classifier must be trained; set epochs to 1 or more.")
    if description.initial:
        raise CsstError(
            f"{path}: {len(description.initial)} arrays hold initial values ({description.initial[0]}, …); they must "
            "be trained; set epochs to 1 or more."
        )


def fills_all(path: str | os.PathLike[str], num_classes: int, start_rows: Sequence[int] | None) -> bool:
    """Whether a file gives a network all of its weights, so that none is left to a seed.

    Args:
      path: of a file of ours, see `locate`.
      num_classes: of the network.
      start_rows: see `rows`.

    Raises:
      CsstError: as `files.describe`.
    """
    description = files.describe(path)
    same_rows = description.num_classes == num_classes if start_rows is None else min(start_rows) >= 0
    return same_rows and not description.initial


def from_file(network: Network, path: str | os.PathLike[str]) -> Network:
    """The network with a file's weights, but for what was never trained: that keeps the network's own initial values.

    So it does where an import filled a trunk alone (each seed, and the student beside its teacher, then begins with a
    decoder of its own), and in the classifiers where the numbers of classes differ.

    Raises:
      CsstError: the file's arrays are not those of the network.
    """
    arrays, description = files.read(path)
    return _filled(network, path, arrays, description)


def by_name(network: Network, wider: Network, path: str | os.PathLike[str], start_rows: Sequence[int]) -> Network:
    """As `from_file`, and each class takes its part of the classifiers from the file's class of the same name.

    Args:
      network: with initial values.
      wider: the same network for one class more, which tells the classifiers: their last dimension is the class.
      path: of a file of ours, see `locate`.
      start_rows: see `rows`.

    Raises:
      CsstError: as `from_file`.
    """
    arrays, description = files.read(path)
    position = np.array(start_rows)
    for name, own in network.params.items():
        found = arrays.get(name)
        if own.shape != wider.params[name].shape and found is not None and found.shape[:-1] == own.shape[:-1]:
            arrays[name] = np.where(position < 0, own, found[..., np.maximum(position, 0)])
    return _filled(network, path, arrays, description)


def _filled(
    network: Network, path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], description: files.Description
) -> Network:
    wrong, kept = [], []
    never_trained = set(description.initial)

    def value(name: str, own: Any) -> Any:
        found = arrays.get(name)
        if found is not None and found.shape == own.shape:
            return own if name in never_trained else found
        # A classifier's arrays differ in the number of classes, their last dimension, alone.
        by_class = found is not None and found.shape[-1:] == (description.num_classes,)
        if found is not None and by_class and found.shape[:-1] == own.shape[:-1]:
            kept.append(name)
            return own
        wrong.append(f"{name}: {None if found is None else found.shape} there, {own.shape} here")
        return own

    def filled(own: Arrays) -> Arrays:
        return {name: value(name, array) for name, array in own.items()}

    network = dataclasses.replace(network, params=filled(network.params), batch_stats=filled(network.batch_stats))
    wrong += [f"{name}: not in the network" for name in arrays if name not in network.params | network.batch_stats]
    if wrong:
        raise CsstError(f"{path} does not fit the network: {'; '.join(sorted(wrong))}. Import the checkpoint again.")
    log.info("%d arrays from %s (%s)", len(arrays) - len(never_trained.union(kept)), path, description.source)
    if begun_anew := [name for name in kept if name not in never_trained]:
        log.info("new, as the file has %d other classes: %s", description.num_classes, ", ".join(begun_anew))
    return network


def tell_rows(path: str | os.PathLike[str], classes: Sequence[str], start_rows: Sequence[int]) -> None:
    """One line of the log: which classes go on with their part of the classifier, and which are new."""
    own = files.describe(path).classes
    same = [name for name, row in zip(classes, start_rows, strict=True) if row >= 0]
    new = [name for name, row in zip(classes, start_rows, strict=True) if row < 0]
    gone = [name for name in own if name not in classes]
    log.info(
        "other classes than those of %s: kept in the classifier: %s; new: %s; left out: %s",
        path,
        *(", ".join(names) or "none" for names in (same, new, gone)),
    )
