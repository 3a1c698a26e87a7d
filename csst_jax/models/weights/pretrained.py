"""Training from pretrained weights: a file of ours, imported or trained here, gives a network its initial values."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from csst_jax.models.weights import files
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
    for name, value in asked.items():
        if name != "output_stride" and value != description.options.get(name, value):
            raise CsstError(
                f"{path} was made for {name}={description.options[name]!r}, not {value!r}; leave {name} out."
            )
    return {**description.options, **asked}


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


def from_file(network: Network, path: str | os.PathLike[str]) -> Network:
    """The network with a file's weights, but for what was never trained: that keeps the network's own initial values.

    So it does where an import filled a trunk alone (each seed, and the student beside its teacher, then begins with a
    decoder of its own), and in the classifiers where the numbers of classes differ.

    Raises:
      CsstError: the file's arrays are not those of the network.
    """
    arrays, description = files.read(path)
    wrong, kept = [], []
    never_trained = set(description.initial)

    def value(name: str, own: Any) -> Any:
        found = arrays.get(name)
        if found is not None and found.shape == own.shape:
            return own if name in never_trained else jnp.asarray(found)
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
    if kept:
        log.info("other classes than the file's %d: new classifiers (%s)", description.num_classes, ", ".join(kept))
    return network
