"""Reads the tensors of a PyTorch checkpoint (`.pth`, `.pt`) without PyTorch and without running what is in it.

A checkpoint is a pickle, and a pickle is a program: it may name any function and call it. The unpickler here knows the
few names that tensors need. What else training checkpoints hold (numbers of numpy, settings, an optimizer's state)
becomes a stand-in that does nothing; every other name is refused. So nothing foreign is ever imported or called.
"""

from __future__ import annotations

import collections
import io
import pickle
import re
import shlex
import zipfile
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from csst_jax.types import CsstError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

_STORAGES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net")
_STATE = re.compile(  # module and name of what is kept beside tensors and means nothing here
    r"""
    numpy(\._?core)?(\.\w+)*\.(scalar|dtype|ndarray|_reconstruct|_frombuffer|bool_?|u?int\d+|float\d+|\w+DType)
    | numpy\.random\.\w+\.\w+ | _codecs\.encode | copyreg\._reconstructor
    | (builtins|__builtin__)\.(set|frozenset|object|slice|x?range|complex|bytearray|bytes)
    | (builtins|__builtin__)\.(dict|list|tuple|int|float|str|bool|unicode|long)
    | collections\.(defaultdict|deque|Counter) | argparse\.Namespace | types\.SimpleNamespace
    | pathlib(\._local)?\.\w*Path | datetime\.\w+ | enum\.\w+ | uuid\.UUID
    | torch\.(Size|device|dtype|Generator|bool|u?int\d+|b?float\d+|strided|contiguous_format)
    | torch\.(optim|nn)\..+ | torch\.serialization\._get_layout
    | (omegaconf|yacs|addict|easydict|mmengine|mmcv|mmseg|fvcore|detectron2|timm|(pytorch_)?lightning\w*)\..+
    """,
    re.VERBOSE,
)


def _resave(path: str) -> str:
    code = (
        "import sys, torch; c = torch.load(sys.argv[1], map_location='cpu', weights_only=False); "
        "c = next((c[k] for k in ('state_dict', 'model') if isinstance(c, dict) and k in c), c); "
        "torch.save(c.state_dict() if hasattr(c, 'state_dict') else c, sys.argv[2])"
    )
    new = f"{path.rpartition('.')[0] or path}-tensors.pth"
    return (
        "If you trust where it comes from (PyTorch runs what it loads so), re-save its tensors alone, where PyTorch is "
        f"installed: `{shlex.join(['python', '-c', code, path, new])}`."
    )


class _StandIn:
    """What a checkpoint holds beside tensors: takes anything, does nothing, keeps nothing."""

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> _StandIn:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        pass

    def extend(self, _: Any) -> None:
        pass

    def add(self, _: Any) -> None:
        pass


class _Storage:
    """Where a tensor's numbers are: read when asked for, so that an optimizer's state costs nothing."""

    __slots__ = ("count", "dtype", "key")

    def __init__(self, key: str, dtype: np.dtype, count: int):
        self.key, self.dtype, self.count = key, dtype, count


class _Tensor:
    __slots__ = ("offset", "shape", "storage", "strides")

    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, path: str):
        super().__init__(stream)
        self._path = path
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuilder()
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter_rebuilder()
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in _STORAGES:
            return name  # a string, not a class: a pickle can set attributes of what it is given
        if "." not in name and _STATE.fullmatch(f"{module}.{name}"):
            return type(name, (_StandIn,), {"__slots__": ()})  # a new one each time, for the same reason
        raise CsstError(
            f"{self._path} refers to {module}.{name}, which no tensor needs. It was not loaded, and nothing in it was "
            f"run. {_resave(self._path)}"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", str(kind), str(key), _, int(count), *view) if kind in _STORAGES and view in ([], [None]):
                return self.storages.setdefault(key, _Storage(key, _STORAGES[kind], count))
        raise CsstError(f"{self._path} refers to {pid!r}, which is not a storage of a tensor. {_resave(self._path)}")


def _rebuilder() -> Any:
    # A new function each time: what a pickle does to it dies with it.
    def rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
        numbers = (offset, *shape, *strides)
        if type(storage) is not _Storage or len(shape) != len(strides):
            raise ValueError("a tensor without a storage or with a wrong number of strides")
        if any(type(n) is not int or n < 0 for n in numbers):
            raise ValueError(f"a tensor with offset, shape or strides {numbers}")
        if 0 not in shape and offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) >= storage.count:
            raise ValueError("a tensor that reaches beyond its storage")
        return _Tensor(storage, offset, tuple(shape), tuple(strides))

    return rebuild


def _parameter_rebuilder() -> Any:
    def rebuild(data: Any, *_: Any) -> Any:
        return data

    return rebuild


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The checkpoint's tensors by name, out of whatever wrapper ("state_dict", "model") they are in.

    Both formats: the zip archive, and the row of pickles from before PyTorch 1.6 that many published files still are.

    Raises:
      CsstError: no such file, no checkpoint, TorchScript, or a pickle that asks for more than tensors.
    """
    text = str(path)
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise CsstError(f"cannot read {text}: {error.strerror}.") from error
    try:
        return _read_zip(path, text) if zipped else _read_legacy(path, text)
    except CsstError:
        raise
    except Exception as error:  # a crafted or truncated file can fail in any way, and all of them mean the same
        raise CsstError(f"{text} is damaged or not a PyTorch checkpoint ({error!r}); download it again.") from error


def _read_zip(path: str | os.PathLike[str], text: str) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise CsstError(
                f"{text} is a zip archive but not a checkpoint: it has {len(pickles)} data.pkl. {_resave(text)}"
            )
        prefix = pickles[0].removesuffix("data.pkl")
        if f"{prefix}constants.pkl" in names:
            raise CsstError(f"{text} is TorchScript, which is a program; save the state_dict of the module instead.")
        if f"{prefix}byteorder" in names and archive.read(f"{prefix}byteorder") != b"little":
            raise CsstError(f"{text} was written on a big-endian machine. {_resave(text)}")
        content = _Unpickler(io.BytesIO(archive.read(pickles[0])), text).load()
        return _arrays(_state_dict(content, text), lambda storage: archive.read(f"{prefix}data/{storage.key}"))


def _read_legacy(path: str | os.PathLike[str], text: str) -> dict[str, np.ndarray]:
    """Magic number, version, system, content, keys of the storages: a pickle each. Then count and numbers of each."""
    with open(path, "rb") as file:
        stream = io.BytesIO(file.read())
    try:
        head = [_Unpickler(stream, text).load() for _ in range(3)]
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError):
        head = [None]
    if head[:2] != [_LEGACY_MAGIC, _LEGACY_VERSION]:
        raise CsstError(f"{text} is not a PyTorch checkpoint. {_resave(text)}")
    if not head[2].get("little_endian", True):
        raise CsstError(f"{text} was written on a big-endian machine. {_resave(text)}")
    unpickler = _Unpickler(stream, text)
    content = unpickler.load()
    at: dict[str, bytes] = {}
    for key in _Unpickler(stream, text).load():
        storage = unpickler.storages[key]
        count = int.from_bytes(stream.read(8), "little")
        at[key] = stream.read(count * storage.dtype.itemsize)
    return _arrays(_state_dict(content, text), lambda storage: at[storage.key])


def _state_dict(content: Any, path: str) -> dict[str, _Tensor]:
    """Tensors by name: the content itself or, level by level, what a wrapper holds."""
    while isinstance(content, dict):
        tensors = {k: v for k, v in content.items() if isinstance(v, _Tensor) and isinstance(k, str)}
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None or len(tensors) > 1:
            if not tensors:
                break
            return tensors
        content = inner
    keys = ", ".join(map(str, list(content)[:10])) if isinstance(content, dict) else type(content).__name__
    raise CsstError(
        f"{path} holds no dict of tensors, nor one under {', '.join(_WRAPPERS)}; it holds: {keys}. " + _resave(path)
    )


def _arrays(tensors: Mapping[str, _Tensor], fetch: Callable[[_Storage], bytes]) -> dict[str, np.ndarray]:
    cache: dict[str, np.ndarray] = {}
    arrays = {}
    for name, tensor in tensors.items():
        storage, size = tensor.storage, tensor.storage.dtype.itemsize
        if storage.key not in cache:
            cache[storage.key] = np.frombuffer(fetch(storage), np.uint8)
        if cache[storage.key].size < storage.count * size:
            raise ValueError(f"storage {storage.key} is too short")
        flat = cache[storage.key][: storage.count * size].view(storage.dtype)[tensor.offset :]
        # Bounds were checked when the tensor was rebuilt.
        steps = [stride * size for stride in tensor.strides]
        arrays[name] = np.array(np.lib.stride_tricks.as_strided(flat, tensor.shape, steps, writeable=False))
    return arrays
