"""Our files of weights: writing and reading them.

They are safetensors under our names. Whatever is needed to use them stands in their metadata, so that a file is enough
by itself. Imported weights and the network that a training stage ends with are files of the same format.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.weights.locate import MODEL_FILE, locate
from csst_jax.models.weights.published import read_safetensors
from csst_jax.precision import compute_dtype
from csst_jax.runtime.storage import StoragePath, local_file, replacing
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TRAINED_HERE = "csst_jax"
"""The `source` of weights that a training stage made."""

_KEY = "csst_jax"
_MAKE = "Make one with `python -m csst_jax.import_weights`."
_GIVE = f"give the {MODEL_FILE} of a training stage, or a file that csst_jax.import_weights wrote"
_AGAIN = "copy it again, or, in its stage's directory, delete it: the stage's command makes it of the last checkpoint"


@dataclasses.dataclass(frozen=True)
class Description:
    """What a file of ours says of itself. Fields with a default are not in every file.

    Attributes:
      network: a key of the zoo.
      options: builder's options.
      num_classes: classes of the logits.
      source: name of the source that the weights came from; `TRAINED_HERE` for those of a training stage.
      source_sha256: of the file that they came from; empty for those of a training stage.
      preprocessing: what the network expects of its input.
      initial: parameters that the source did not have; the file holds initial values for them.
      classes: names of the classes, in the order of the logits.
      palette: one RGB colour (0 to 255) a class, for pictures.
      official_ids: the number of each class in the data set's own masks; empty where that is its position.
      dtype: that the network computes in: "float32" or "bfloat16".
      method: that trained it.
      steps: optimizer steps that it took.
      weights_sha256: see the function of that name; empty in files of earlier versions. `write` and `read` fill it in.
      scores: of the evaluate stage: `miou`, `iou` by class, the `split` and the number of `images`.
      origin: what a training stage made it from: `stage`, `data_set`, and the hashes of the request, the labels, the
        lists of records, the pretrained weights and the teacher.
      longest_side: see `csst_jax.types.DatasetDescription`; of the data set that it was trained on.
    """

    network: str
    options: Mapping[str, Any]
    num_classes: int
    source: str
    source_sha256: str
    preprocessing: Preprocessing
    initial: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    official_ids: tuple[int, ...] = ()
    dtype: str = "float32"
    method: str = ""
    steps: int = 0
    weights_sha256: str = ""
    scores: Mapping[str, Any] | None = None
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    longest_side: int = 0


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
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_sha256(arrays: Mapping[str, Any]) -> str:
    """Hash of all names and values, in hexadecimal.

    Args:
      arrays: parameters and running statistics by dotted name, of any shapes and dtypes.
    """
    digest = hashlib.sha256()
    # Statistics come last, as in the results of earlier versions, which kept them apart.
    for name in sorted(arrays, key=lambda name: (name.endswith((".mean", ".var")), name)):
        digest.update(name.encode())
        digest.update(np.asarray(arrays[name]).tobytes())
    return digest.hexdigest()


def identity(path: str | os.PathLike[str]) -> str:
    """Hash of all in a file that a training which starts from it depends on: not its scores, and not its place.

    Args:
      path: see `locate`.

    Raises:
      CsstError: as `describe`.
    """
    d = describe(path)
    if not d.weights_sha256:  # a file of an earlier version; requests of that time have this hash
        return sha256(local_file(locate(path)))
    counts = {"weights": d.weights_sha256, "network": d.network, "options": d.options, "classes": d.num_classes}
    return hashlib.sha256(json.dumps(counts, sort_keys=True).encode()).hexdigest()


def write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], description: Description) -> Description:
    """Writes a file of ours, atomically, on a disk or in a bucket.

    Returns:
      The description as written: with the hash of these arrays.
    """
    description = dataclasses.replace(description, weights_sha256=weights_sha256(arrays))
    # One entry: safetensors writes several in an order that differs from call to call. Equal networks are equal files.
    metadata = {_KEY: json.dumps(dataclasses.asdict(description), sort_keys=True)}
    contiguous = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    with replacing(path) as temporary:
        safetensors.numpy.save_file(contiguous, temporary, metadata)
    return description


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], Description]:
    """A file of ours: arrays by our names, and its description.

    Args:
      path: see `locate`.

    Raises:
      CsstError: the file is missing, damaged, or not one that `write` made, or not finite; says what to do.
    """
    found = locate(path)
    arrays, metadata = _read_safetensors(found)
    description = _description(found, metadata)
    own = weights_sha256(arrays)
    said = description.weights_sha256 or own  # empty in a file of an earlier version
    if own != said:
        again = _AGAIN if description.source == TRAINED_HERE else "import the checkpoint again"
        raise CsstError(f"{found} is damaged: its weights' hash is {own[:12]}, not {said[:12]}; {again}.")
    check_finite(found, arrays)
    return arrays, dataclasses.replace(description, weights_sha256=own)


def describe(path: str | os.PathLike[str]) -> Description:
    """What a file of ours says of itself; its arrays are not read.

    Args:
      path: see `locate`.

    Raises:
      CsstError: as `read`, but that the weights' hash is not looked at.
    """
    found = locate(path)
    return _description(found, _read_safetensors(found, arrays=False)[1])


def other_classes(description: Description, classes: Sequence[str]) -> str:
    """What differs between a network's classes and a data set's, to stand after the network's name; empty if nothing.

    Where the file does not know the names, their number is compared.
    """
    if description.num_classes != len(classes):
        return f"has {description.num_classes} classes, and the data set has {len(classes)}"
    for position, (own, theirs) in enumerate(zip(description.classes, classes, strict=False)):
        if own != theirs:
            return f"has {own!r} as class {position}, and the data set has {theirs!r}"
    return ""


def add_scores(path: StoragePath, scores: Mapping[str, Any]) -> None:
    """Puts scores into a file's description, in place of those that are there; atomically.

    Raises:
      CsstError: as `read`.
    """
    arrays, description = read(path)
    write(path, arrays, dataclasses.replace(description, scores=scores))


def _read_safetensors(path: StoragePath, arrays: bool = True) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    return read_safetensors(path, arrays, f"; {_AGAIN if path.name == MODEL_FILE else _GIVE}")


def _description(path: StoragePath, metadata: Mapping[str, str]) -> Description:
    if _KEY not in metadata:
        raise CsstError(f"{path} does not say which network it is for, so csst_jax did not write it. {_MAKE}")
    try:
        fields: dict[str, Any] = json.loads(metadata[_KEY])
        preprocessing = fields["preprocessing"]
        preprocessing |= {name: tuple(preprocessing[name]) for name in ("mean", "std")}
        fields |= {name: tuple(fields.get(name, ())) for name in ("initial", "classes", "official_ids")}
        fields["palette"] = tuple(tuple(colour) for colour in fields.get("palette", ()))
        return Description(**{**fields, "preprocessing": Preprocessing(**preprocessing)})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CsstError(f"{path}: its metadata is of another version of csst_jax ({error!r}). {_MAKE}") from error


def network(
    arrays: Mapping[str, np.ndarray], description: Description, weights: str | os.PathLike[str]
) -> nnx_io.Network:
    """The network that a description names, with shapes alone.

    Args:
      arrays: its weights.
      description: which network, how it is built, and the dtype that it computes in.
      weights: where they come from, for messages.

    Raises:
      CsstError: the arrays are not exactly the network's.
    """
    d = description
    built = nnx_io.abstract(zoo.builder(d.network, d.num_classes, dtype=compute_dtype(d.dtype), **d.options))
    like = {name: tuple(leaf.shape) for name, leaf in (built.params | built.batch_stats).items()}
    own = {name: value.shape for name, value in arrays.items()}
    wrong = sorted({name for name, _ in own.items() ^ like.items()})
    if wrong:
        raise CsstError(
            f"{weights} does not fit {d.network!r} as csst_jax builds it now ({', '.join(wrong)}); import the "
            "checkpoint again, or train the network again."
        )
    return built
