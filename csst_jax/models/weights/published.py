"""Files of weights that others publish: safetensors and PyTorch's, told apart by their content."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import safetensors

from csst_jax.models.weights import torch_pickle
from csst_jax.runtime.storage import as_path, local_file
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import os
    import pathlib

    import numpy as np


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """A published checkpoint's arrays by its own names: safetensors, or PyTorch's format.

    Raises:
      CsstError: see `torch_pickle.read` and `read_safetensors`.
    """
    local = local_file(as_path(path, "--checkpoint"))
    # The content decides, not the name.
    is_torch = _is_torch(local) or local.suffix.lower() != ".safetensors"
    return torch_pickle.read(local) if is_torch else read_safetensors(local)[0]


def read_safetensors(
    path: str | os.PathLike[str], arrays: bool = True, hint: str = ""
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by name, and metadata.

    Args:
      path: on a disk or in a bucket.
      arrays: whether to read them.
      hint: what to do if the file is damaged.

    Raises:
      CsstError: the file is missing, damaged, PyTorch's, or holds numbers of a kind that is not read.
    """
    try:
        local = local_file(as_path(path))
    except OSError as error:  # no such object in the bucket
        raise CsstError(f"cannot read {path} as safetensors: {error}{hint}.") from error
    if _is_torch(local):
        checkpoint, out = (
            shlex.quote(str(file)) for file in (path, local.with_name(f"{local.stem}-imported.safetensors"))
        )
        command = "python -m csst_jax.import_weights --source=SOURCE --network=NETWORK"
        raise CsstError(
            f"{path} is a checkpoint of PyTorch, not a file of csst_jax. Import it first (--help lists the sources): "
            f"`{command} --checkpoint={checkpoint} --out={out}`."
        )
    try:
        with safetensors.safe_open(str(local), framework="numpy") as file:
            names = list(file.keys()) if arrays else []
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise CsstError(f"cannot read {path} as safetensors: {error}{hint}.") from error
    except (AttributeError, TypeError, KeyError) as error:  # dtypes that numpy does not have, of 8 bits for instance
        raise CsstError(f"{path} holds numbers of a kind that is not read ({error}). Save it in float32.") from error


def _is_torch(path: pathlib.Path) -> bool:
    """Whether a file begins as PyTorch's do: a zip archive, or the pickle of a magic number."""
    try:
        with open(path, "rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"\x80\x02\x8a\n")
    except OSError:
        return False  # who reads it will tell
