"""The network that a training stage ends with: in memory, and as `model.safetensors` beside the stage's checkpoints."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import jax

from csst_jax.models.weights import files
from csst_jax.models.weights.locate import MODEL_FILE
from csst_jax.runtime.workdir import CHECKPOINTS, DONE_FILE
from csst_jax.train import sharding
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import numpy as np

    from csst_jax.models.nnx_io import Network
    from csst_jax.models.preprocessing import Preprocessing
    from csst_jax.stages.artifact import Artifact
    from csst_jax.train.step import Recipe
    from csst_jax.train_state import TrainState

log = logging.getLogger(__name__)

_INPUTS = ("labels_sha256", "records_sha256", "pretrained_sha256", "teacher_sha256")
"""What a stage's request says of its inputs."""


# Labels and scores of the workdir name the hash, so that other last digits cannot pass for the same network.
_MEASURED_AGAIN = (
    f"batch normalisation was measured again (precise_bn_steps), and on other devices than before, or by another "
    f"version, its last digits differ. Go on where the stage was finished, put its {MODEL_FILE} back, or "
)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
      network: as pure functions.
      weights: those that predict, (params, batch_stats), whole and on the host: float32 arrays by dotted name.
      description: what its file says of it; without scores where it was trained in this process.
    """

    network: Network
    weights: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
    description: files.Description

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        return self.description.weights_sha256

    @property
    def steps(self) -> int:
        """Optimizer steps that it took."""
        return self.description.steps

    @property
    def expects(self) -> Preprocessing:
        """What the network expects of its input."""
        return self.description.preprocessing


def load(path: str | os.PathLike[str]) -> Trained:
    """The network of a file. Warns where parts of it were never trained, as behind an imported trunk.

    Args:
      path: see `csst_jax.models.weights.locate`.

    Raises:
      CsstError: there is no such file, or it is damaged, or its arrays are not exactly the network's.
    """
    arrays, description = files.read(path)
    network = files.network(arrays, description, path)
    if initial := description.initial:
        told = "%s: %d arrays hold initial values (%s, …); until they are trained, it predicts noise."
        log.warning(told, path, len(initial), initial[0])
    params, batch_stats = ({name: arrays[name] for name in part} for part in (network.params, network.batch_stats))
    return Trained(network, (params, batch_stats), description)


def require_classes(path: str | os.PathLike[str], trained: Trained, classes: Sequence[str]) -> None:
    """Refuses a network of other classes than a data set's.

    Args:
      path: of its file, for the message.
      trained: the network.
      classes: of the data set.

    Raises:
      CsstError: they differ, or come in another order.
    """
    if differing := files.other_classes(trained.description, classes):
        raise CsstError(f"{path} {differing}; give a data set with its classes in its order.")


def finished(artifact: Artifact) -> Trained:
    """The network of a finished stage.

    Raises:
      CsstError: as `load`; or the weights are not those that the stage finished with.
    """
    path = artifact.directory / MODEL_FILE
    trained = load(path)
    _require_finished_with(artifact, trained.sha256, path)
    return trained


def predicting(recipe: Recipe, state: TrainState) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The (parameters, running statistics) of the network that predicts, whole and on the host.

    All processes take part in gathering what is split over devices (`mesh.split_state`).
    """
    network = recipe.method.parts.network
    replicated = sharding.replicated(recipe.mesh)
    params, stats = jax.device_get(jax.device_put(recipe.method.predicting(state), replicated))
    return {name: params[name] for name in network.params}, {name: stats[name] for name in network.batch_stats}


def save(
    artifact: Artifact,
    network: Network,
    weights: tuple[dict[str, np.ndarray], dict[str, np.ndarray]],
    description: files.Description,
    measured: bool = False,
) -> Trained:
    """The network, which the first process has written beside the checkpoints.

    Args:
      artifact: the stage's.
      network: as pure functions.
      weights: those that predict, (params, batch_stats), whole.
      description: of it; the weights' hash is filled in.
      measured: whether batch normalisation was measured after the last step.

    Raises:
      CsstError: the stage is finished, with other weights.
    """
    arrays = weights[0] | weights[1]
    description = dataclasses.replace(description, weights_sha256=files.weights_sha256(arrays))
    if artifact.done:
        why = _MEASURED_AGAIN if measured else ""
        _require_finished_with(artifact, description.weights_sha256, artifact.directory / CHECKPOINTS, why)
    if jax.process_index() == 0:
        files.write(artifact.directory / MODEL_FILE, arrays, description)
    return Trained(network, weights, description)


def origin(artifact: Artifact, data_set: str) -> dict[str, Any]:
    """What a stage makes its network from, as `files.Description` has it."""
    inputs = {name: artifact.request.get(name) for name in _INPUTS}
    own = {"stage": artifact.directory.name, "data_set": data_set, "request_sha256": artifact.hash}
    return own | inputs


def _require_finished_with(artifact: Artifact, sha256: str, where: object, why: str = "") -> None:
    if sha256 != artifact.result["weights_sha256"]:
        raise CsstError(
            f"the weights in {where} are not those that {artifact.directory / DONE_FILE} names; {why}"
            f"delete {artifact.directory} to train {artifact.directory.name} again."
        )
