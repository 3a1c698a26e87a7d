"""PyTorch's checkpoints are read without PyTorch, and never run."""

import collections
import io
import os
import pathlib
import pickle
import shlex
import subprocess
import sys
import types
import zipfile

import ml_dtypes
import numpy as np
import pytest

from csst_jax.models.weights import torch_pickle
from csst_jax.types import CsstError

KINDS = {np.dtype(dtype): name for name, dtype in torch_pickle._STORAGES.items()}


class FakeTensor:
    """Pickles as PyTorch's tensors do; a view of a storage if told so."""

    def __init__(self, storage, offset=0, shape=None, strides=None):
        self.storage = np.asarray(storage)
        self.offset = offset
        self.shape = self.storage.shape if shape is None else shape
        self.strides = tuple(s // self.storage.itemsize for s in self.storage.strides) if strides is None else strides

    def __reduce_ex__(self, protocol):
        torch = sys.modules["torch"]
        arguments = (Storage(self.storage), self.offset, self.shape, self.strides, False, collections.OrderedDict())
        return torch._utils._rebuild_tensor_v2, arguments


class Storage:
    def __init__(self, array):
        self.array = array


class Pickler(pickle.Pickler):
    def __init__(self, stream, legacy=False):
        super().__init__(stream, protocol=2)
        self.legacy, self.arrays = legacy, []

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        known = [i for i, array in enumerate(self.arrays) if array is obj.array]
        if not known:
            self.arrays.append(obj.array)
        key = str(known[0] if known else len(self.arrays) - 1)
        kind = getattr(sys.modules["torch"], KINDS[obj.array.dtype])
        return ("storage", kind, key, "cpu", obj.array.size, *([None] if self.legacy else []))


@pytest.fixture
def fake_torch(monkeypatch):
    torch, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in torch_pickle._STORAGES:
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*_):
        raise AssertionError("the reader must not call it")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    inner._rebuild_tensor_v2 = _rebuild_tensor_v2
    torch._utils = inner
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", inner)


def save(path, content, legacy=False, **extra):
    stream = io.BytesIO()
    pickler = Pickler(stream, legacy)
    if legacy:
        for head in (torch_pickle._LEGACY_MAGIC, torch_pickle._LEGACY_VERSION, {"little_endian": True}):
            stream.write(pickle.dumps(head, 2))
        pickler.dump(content)
        stream.write(pickle.dumps([str(i) for i in range(len(pickler.arrays))], 2))
        for array in pickler.arrays:
            stream.write(array.size.to_bytes(8, "little") + array.tobytes())
        path.write_bytes(stream.getvalue())
    else:
        pickler.dump(content)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("net/data.pkl", stream.getvalue())
            for i, array in enumerate(pickler.arrays):
                archive.writestr(f"net/data/{i}", array.tobytes())
            for name, value in extra.items():
                archive.writestr(f"net/{name}", value)
    return path


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_of_all_kinds_arrive(tmp_path, fake_torch, legacy):
    rng = np.random.default_rng(0)
    arrays = {
        "single": rng.normal(size=(2, 3)).astype(np.float32),
        "half": rng.normal(size=5).astype(np.float16),
        "bfloat16": rng.normal(size=5).astype(ml_dtypes.bfloat16),
        "count": np.array(7),
    }
    shared = np.arange(12, dtype=np.float32)
    content = collections.OrderedDict({name: FakeTensor(array) for name, array in arrays.items()})
    content["transposed"] = FakeTensor(shared, 0, (4, 3), (1, 4))
    content["tail"] = FakeTensor(shared, 10, (2,), (1,))
    content["empty"] = FakeTensor(np.zeros(0, np.float32), 0, (0, 3), (3, 1))
    read = torch_pickle.read(save(tmp_path / "x.pth", content, legacy))
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    np.testing.assert_array_equal(read["transposed"], shared.reshape(3, 4).T)
    np.testing.assert_array_equal(read["tail"], [10, 11])
    assert read["empty"].shape == (0, 3)


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth"])
def test_files_that_pytorch_wrote(name):
    """Written by PyTorch (tests/parity/record.py): an mmengine-like wrapper around a small module's state dict."""
    path = pathlib.Path(__file__).with_name(name)
    read = torch_pickle.read(path)
    assert sorted(read) == ["bn.bias", "bn.num_batches_tracked", "bn.running_mean", "bn.running_var", "bn.weight",
                            "conv.bias", "conv.weight"]  # fmt: skip
    np.testing.assert_array_equal(read["conv.weight"], np.arange(24, dtype=np.float32).reshape(4, 3, 2, 1))
    np.testing.assert_array_equal(read["bn.running_var"], np.ones(4))
    assert read["bn.num_batches_tracked"] == 0


@pytest.mark.parametrize("wrap", [
    lambda d: d,
    lambda d: {"state_dict": d, "meta": {"epoch": 3, "CLASSES": ("a", "b")}},
    lambda d: {"model": {"state_dict": d}},
    lambda d: {"epoch": 1, "state_dict": d, "optimizer": {"state": {0: {"exp_avg": d["a.bias"]}}}},
])  # fmt: skip
def test_wrappers_come_off(tmp_path, fake_torch, wrap):
    content = {"a.weight": FakeTensor(np.ones(2, np.float32)), "a.bias": FakeTensor(np.zeros(2, np.float32))}
    assert sorted(torch_pickle.read(save(tmp_path / "x.pth", wrap(content)))) == ["a.bias", "a.weight"]


class Named:
    """Pickles as an object of a module that is not there."""

    def __init__(self, module, name, *arguments, state=None):
        self.kind = type(name, (), {"__module__": module, "__qualname__": name})
        self.arguments, self.state = arguments, state

    def __reduce_ex__(self, protocol):
        return (self.kind, self.arguments, self.state) if self.state is not None else (self.kind, self.arguments)


@pytest.fixture
def foreign(monkeypatch):
    """Makes an object whose module is there while it is pickled, alone."""

    def make(module, name, *arguments, state=None):
        made = Named(module, name, *arguments, state=state)
        for end in range(1, module.count(".") + 2):
            parent = ".".join(module.split(".")[:end])
            if parent not in sys.modules:
                monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        monkeypatch.setattr(sys.modules[module], name, made.kind, raising=False)
        return made

    return make


def test_what_training_keeps_beside_tensors_is_neither_loaded_nor_in_the_way(tmp_path, fake_torch, foreign):
    """As torch.save writes a whole training state: numbers of numpy, settings, an optimizer, a logger's buffers."""
    weights = {"a": FakeTensor(np.ones(2, np.float32)), "b": FakeTensor(np.zeros(2, np.float32))}
    content = {
        "state_dict": weights,
        "epoch": np.int64(3), "best_iou": np.float32(0.5), "curve": np.arange(3.0), "classes": {"a", "b"},
        "args": foreign("argparse", "Namespace", state={"lr": 0.1}),
        "hyper_parameters": foreign("lightning.fabric.utilities.data", "AttributeDict", {"width": 1}),
        "message_hub": {"loss": foreign("mmengine.logging.history_buffer", "HistoryBuffer", state={"_n": np.zeros(2)})},
        "cfg": foreign("omegaconf.dictconfig", "DictConfig", state={"_content": {"a": pathlib.PurePosixPath("x")}}),
        "optimizer": {"state": {0: {"step": FakeTensor(np.array(7)), "exp_avg": weights["a"]}}},
        "dtype": foreign("torch", "float32"),
    }  # fmt: skip
    read = torch_pickle.read(save(tmp_path / "x.pth", content))
    assert sorted(read) == ["a", "b"]
    np.testing.assert_array_equal(read["a"], [1, 1])


def test_a_whole_module_is_told_how_to_be_saved(tmp_path, fake_torch, foreign):
    content = {"epoch": 1, "model": foreign("torch.nn.modules.container", "Sequential", state={"training": True})}
    with pytest.raises(CsstError, match=r"holds no dict of tensors.*it holds: epoch, model.*re-save its tensors alone"):
        torch_pickle.read(save(tmp_path / "x.pth", content))
    with pytest.raises(CsstError, match=r"refers to models.unet.UNet.*nothing in it was run"):
        torch_pickle.read(save(tmp_path / "x.pth", {"model": foreign("models.unet", "UNet")}))


@pytest.mark.parametrize("content", ["{'state_dict': s}", "{'model': s}", "s", "{'model': Module()}", "Module()"])
def test_the_command_that_is_proposed_does_what_it_says(tmp_path, fake_torch, foreign, content):
    """It is run with a PyTorch that loads and saves by pickle."""
    name = tmp_path / "it's mine.ckpt"
    with pytest.raises(CsstError) as error:
        torch_pickle.read(save(name, {"model": foreign("models.unet", "UNet")}))
    command = shlex.split(str(error.value).split("`")[1])
    assert command[0] == "python" and command[-2:] == [str(name), str(tmp_path / "it's mine-tensors.pth")]
    (tmp_path / "torch.py").write_text(
        "import pickle\ns = {'a': 1}\n"
        "class Module:\n    def state_dict(self): return s\n"
        f"def load(path, map_location, weights_only): return {content}\n"
        "def save(content, path): open(path, 'wb').write(pickle.dumps(content))\n"
    )
    subprocess.run([sys.executable, *command[1:]], check=True, env={"PYTHONPATH": str(tmp_path)})
    assert pickle.loads((tmp_path / "it's mine-tensors.pth").read_bytes()) == {"a": 1}


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("first", [True, False])
def test_a_pickle_that_would_run_something_is_refused_by_name_and_not_run(tmp_path, fake_torch, legacy, first):
    mark = tmp_path / "mark"
    weights = {"a": FakeTensor(np.ones(2, np.float32)), "b": FakeTensor(np.ones(2, np.float32))}
    content = {"x": Evil(mark), "state_dict": weights} if first else {"state_dict": weights, "x": Evil(mark)}
    path = save(tmp_path / "x.pth", content, legacy)
    with pytest.raises(CsstError, match=r"x\.pth refers to (posix|nt).mkdir.*nothing in it was run.*torch\.save"):
        torch_pickle.read(path)
    assert not mark.exists()


@pytest.mark.parametrize("code", [
    b"cos\nsystem\n(S'touch mark'\ntR.",
    b"cbuiltins\neval\n(S'1'\ntR.",
    b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c\x01x\x85R.",
    b"(S'touch mark'\nios\nsystem\n.",
    b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.",
    b"\x80\x04\x8c\x0ctorch._utils\x8c\x20_rebuild_tensor_v2.__globals__xx\x93.",
    b"ctorch\nload\n.",
    b"ccollections\nabc\n.",
])  # fmt: skip
def test_every_way_to_name_something_else_is_refused(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("x.pth", "w") as archive:
        archive.writestr("net/data.pkl", code)
    with pytest.raises(CsstError, match="refers to"):
        torch_pickle.read("x.pth")
    assert not pathlib.Path("mark").exists()


def test_what_a_pickle_does_to_the_functions_it_is_given_does_not_last(tmp_path):
    # BUILD with a pair sets attributes: here it replaces the rebuilding function's defaults.
    code = b"ctorch._utils\n_rebuild_tensor_v2\n(N}S'__kwdefaults__'\n}stb."
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("net/data.pkl", code)
    with pytest.raises(CsstError, match="holds no dict of tensors"):
        torch_pickle.read(tmp_path / "x.pth")
    assert torch_pickle._rebuilder().__kwdefaults__ is None
    assert torch_pickle._rebuilder() is not torch_pickle._rebuilder()


@pytest.mark.parametrize("view", [(0, (5,), (1,)), (3, (2,), (1,)), (0, (2, 2), (3, 1)), (-1, (2,), (1,)),
                                  (0, (2,), (-1,)), (0, (2,), (1, 1)), (0, (1.5,), (1,))])  # fmt: skip
def test_a_tensor_cannot_reach_beyond_its_storage(tmp_path, fake_torch, view):
    content = {"a": FakeTensor(np.ones(4, np.float32), *view), "b": FakeTensor(np.ones(4, np.float32))}
    with pytest.raises(CsstError, match="damaged or not a PyTorch checkpoint"):
        torch_pickle.read(save(tmp_path / "x.pth", content))


def test_other_files_are_refused_with_what_to_do(tmp_path, fake_torch):
    path = tmp_path / "x.pth"
    with pytest.raises(CsstError, match=r"cannot read .*x\.pth"):
        torch_pickle.read(path)
    path.write_bytes(b"hello, this is text")
    with pytest.raises(CsstError, match="is not a PyTorch checkpoint.*re-save"):
        torch_pickle.read(path)
    save(path, {"epoch": 3})
    with pytest.raises(CsstError, match="holds no dict of tensors.*it holds: epoch"):
        torch_pickle.read(path)
    save(path, {}, **{"constants.pkl": b""})
    with pytest.raises(CsstError, match="TorchScript"):
        torch_pickle.read(path)
    save(path, {"a": FakeTensor(np.ones(4, np.float32))}, byteorder=b"big")
    with pytest.raises(CsstError, match="big-endian"):
        torch_pickle.read(path)
    whole = save(
        path, {"a": FakeTensor(np.ones(999, np.float32)), "b": FakeTensor(np.ones(3, np.float32))}, legacy=True
    )
    path.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(CsstError, match="damaged"):
        torch_pickle.read(path)
