"""What training left behind, ready for use: a finished stage's directory, or a file of weights."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.weights import files, pretrained
from csst_jax.precision import compute_dtype
from csst_jax.runtime.json_files import read_json
from csst_jax.runtime.startup import CONFIG_FILE
from csst_jax.runtime.storage import Place, local_file, place
from csst_jax.stages.artifact import DONE_FILE, STAGE_FILE
from csst_jax.stages.train import Trained
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping


def load(path: Place, classes: int) -> Trained:
    """A network to predict with.

    Args:
      path: a finished stage's directory (WORKDIR/student), or a file of ours (see `csst_jax.models.weights.files`).
      classes: of the data set.

    Raises:
      CsstError: see `read` and `files.read`; or the weights do not fit the network, or have another number of classes.
    """
    if path.is_dir():
        arrays, description = read(path)
        done = read_json(path / DONE_FILE)
        steps, dtype = done["steps"], read_json(path / STAGE_FILE)["request"]["settings"]["dtype"]
        weights_sha256 = done["weights_sha256"]
    else:
        file = local_file(path)
        arrays, description = files.read(file)
        steps, dtype, weights_sha256 = 0, "float32", files.sha256(file)
    if description.num_classes != classes:
        raise CsstError(f"{path} has {description.num_classes} classes, and the data set has {classes}.")
    built = files.network(arrays, description, path, compute_dtype(dtype))
    weights = tuple({name: jnp.asarray(arrays[name]) for name in part} for part in (built.params, built.batch_stats))
    return Trained(built, (weights[0], weights[1]), weights_sha256, steps, description.preprocessing)


def read(directory: Place) -> tuple[dict[str, np.ndarray], files.Description]:
    """The trained weights of a finished stage, and what a file of ours would say of them.

    Args:
      directory: WORKDIR/teacher, WORKDIR/student or WORKDIR/baseline.

    Raises:
      CsstError: it is no stage's, or is not finished, or the pretrained weights that it started from are gone.
    """
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


def _options(directory: Place, settings: Mapping[str, Any], pretrained_sha256: str | None) -> dict[str, Any]:
    """The builder's options, as `build` has them: what is not set is the network's own, or its pretrained weights'."""
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
    return pretrained.options(path, settings["network"], options)


def _restore(checkpoint: Place) -> dict[str, np.ndarray]:
    """Parameters and statistics, on one device, without the optimizer's state."""
    path = place(checkpoint) / "default"
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            tree = checkpointer.metadata(path).item_metadata
            device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
            like = {
                part: {n: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device) for n, x in tree[part].items()}
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
    two, three = (nnx_io.abstract(zoo.builder(network, n, **options)).params for n in (2, 3))
    name = next(name for name, leaf in two.items() if leaf.shape != three[name].shape)
    if name not in arrays:
        raise CsstError(f"the checkpoint does not fit {network!r} as csst_jax builds it now: it has no {name}.")
    return arrays[name].shape[-1]
