"""Files of weights: reading what others publish, writing and reading our own.

Ours are safetensors under our names. What is needed to use them stands in their metadata, so that a file is enough by
itself: network, builder's options, number of classes, source, and preprocessing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shlex
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Array, Float

from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.weights import torch_pickle
from csst_jax.storage import replacing
from csst_jax.types import CsstError
from csst_jax.user_files import user_path

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping

_KEY = "csst_jax"
_MAKE = "Make one with `python -m csst_jax.import_weights`."


@dataclasses.dataclass(frozen=True)
class Description:
    """What a file of ours says of itself.

    Attributes:
      network: a key of the zoo.
      options: builder's options.
      num_classes: classes of the logits.
      source: name of the source that the weights came from.
      source_sha256: of the file that they came from.
      preprocessing: what the network expects of its input.
      initial: parameters that the source did not have; the file holds initial values for them.
    """

    network: str
    options: Mapping[str, Any]
    num_classes: int
    source: str
    source_sha256: str
    preprocessing: Preprocessing
    initial: tuple[str, ...] = ()


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """A published checkpoint's arrays by its own names: safetensors, or PyTorch's format.

    Raises:
      CsstError: see `torch_pickle.read`.
    """
    path = user_path(path)
    # The content decides, not the name.
    is_torch = _is_torch(path) or path.suffix.lower() != ".safetensors"
    return torch_pickle.read(path) if is_torch else _read_safetensors(path)[0]


def check_finite(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Refuses weights that compute nothing.

    Raises:
      CsstError: some values are NaN or infinite; says how many arrays, and one of them.
    """
    wrong = [name for name, value in arrays.items() if not np.isfinite(np.asarray(value, np.float32)).all()]
    if wrong:
        raise CsstError(
            f"{path}: {len(wrong)} of {len(arrays)} arrays hold values that are not finite (NaN or infinite), for "
            f"example {wrong[0]}. The network that wrote it has diverged; take an earlier checkpoint."
        )


def sha256(path: str | os.PathLike[str]) -> str:
    """Hash of a file's content, in hexadecimal."""
    with open(user_path(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], description: Description) -> None:
    """Writes a file of ours, atomically."""
    metadata = {_KEY: json.dumps(dataclasses.asdict(description), sort_keys=True), "format": "np"}
    contiguous = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    with replacing(path) as temporary:
        safetensors.numpy.save_file(contiguous, temporary, metadata)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], Description]:
    """A file of ours: arrays by our names, and its description.

    Raises:
      CsstError: the file is missing, damaged, or not one that `write` made; or its values are not finite.
    """
    arrays, metadata = _read_safetensors(path)
    description = _description(path, metadata)
    check_finite(path, arrays)
    return arrays, description


def describe(path: str | os.PathLike[str]) -> Description:
    """What a file of ours says of itself; its arrays are not read.

    Raises:
      CsstError: as `read`.
    """
    return _description(path, _read_safetensors(path, arrays=False)[1])


def _description(path: str | os.PathLike[str], metadata: Mapping[str, str]) -> Description:
    if _KEY not in metadata:
        raise CsstError(f"{path} does not say which network it is for, so it is not csst_jax's own file. {_MAKE}")
    try:
        fields = json.loads(metadata[_KEY])
        preprocessing: dict[str, Any] = fields.pop("preprocessing")
        preprocessing |= {name: tuple(preprocessing[name]) for name in ("mean", "std")}
        initial = tuple(fields.pop("initial"))
        return Description(preprocessing=Preprocessing(**preprocessing), initial=initial, **fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CsstError(f"{path}: its metadata is of another version of csst_jax ({error!r}). {_MAKE}") from error


def _read_safetensors(
    path: str | os.PathLike[str], arrays: bool = True
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    path = user_path(path)
    if _is_torch(path):
        checkpoint, out = (
            shlex.quote(str(file)) for file in (path, path.with_name(f"{path.stem}-imported.safetensors"))
        )
        command = "python -m csst_jax.import_weights --source=SOURCE --network=NETWORK"
        raise CsstError(
            f"{path} is a checkpoint of PyTorch, not a file of csst_jax. Import it first (--help lists the sources): "
            f"`{command} --checkpoint={checkpoint} --out={out}`."
        )
    try:
        with safetensors.safe_open(os.fspath(path), framework="numpy") as file:
            names = list(file.keys()) if arrays else []
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise CsstError(f"cannot read {path} as safetensors: {error}. If it was cut off, copy it again.") from error
    except (AttributeError, TypeError, KeyError) as error:  # dtypes that numpy does not have, of 8 bits for instance
        raise CsstError(f"{path} holds numbers of a kind that is not read ({error}). Save it in float32.") from error


def _is_torch(path: pathlib.Path) -> bool:
    """Whether a file begins as PyTorch's do: a zip archive, or the pickle of a magic number."""
    try:
        with open(path, "rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"\x80\x02\x8a\n")
    except OSError:
        return False  # who reads it will tell


def network(
    arrays: Mapping[str, np.ndarray],
    description: Description,
    weights: str | os.PathLike[str],
    dtype: Any = jax.numpy.float32,
) -> nnx_io.Network:
    """The network that a description names, with shapes alone.

    Args:
      arrays: its weights.
      description: which network, and how it is built.
      weights: where they come from, for messages.
      dtype: that it computes in.

    Raises:
      CsstError: the arrays are not exactly the network's.
    """
    d = description
    built = nnx_io.abstract(zoo.builder(d.network, d.num_classes, dtype=dtype, **d.options))
    like = {name: tuple(leaf.shape) for name, leaf in (built.params | built.batch_stats).items()}
    own = {name: value.shape for name, value in arrays.items()}
    wrong = sorted({name for name, _ in own.items() ^ like.items()})
    if wrong:
        raise CsstError(
            f"{weights} does not fit {d.network!r} as csst_jax builds it now ({', '.join(wrong)}); import the "
            "checkpoint again, or train the network again."
        )
    return built


class Loaded:
    """A network with weights, as one function.

    Attributes:
      classes: number of classes of the logits.
      preprocessing: what the images have gone through.
      description: all that the file says of itself.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Builds the network that the file names and checks that the file has exactly its arrays."""
        arrays, self.description = read(path)
        d = self.description
        self.classes, self.preprocessing = d.num_classes, d.preprocessing
        built = network(arrays, d, path)
        self._params = {name: jax.numpy.asarray(arrays[name]) for name in built.params}
        self._stats = {name: jax.numpy.asarray(arrays[name]) for name in built.batch_stats}
        self._apply = jax.jit(lambda params, stats, images: built.apply_eval(params, stats, images)["logits"])

    def __call__(self, images: Float[Array | np.ndarray, "b h w 3"]) -> Float[Array, "b h w c"]:
        """Logits at the images' size, whole-image inference; the images are normalised, see `preprocessing`."""
        return self._apply(self._params, self._stats, images)
