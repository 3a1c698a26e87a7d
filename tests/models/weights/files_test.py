"""Import, file, network: a round trip, and what the file says of itself."""

import json
import pathlib
import shlex

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

import csst_jax.models
from csst_jax import import_weights
from csst_jax.models import nnx_io, zoo
from csst_jax.models.backbones.resnet import ResNet
from csst_jax.models.layers import Classifier
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.weights import catalogue, files
from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.types import CsstError

PREPROCESSING = Preprocessing((104.0, 117.0, 123.0), (1.0, 1.0, 1.0), "BGR", 255.0)
SOURCE = Source("toys", modules((r"net\.(.+)", r"\1")), (BATCH_COUNTER,), PREPROCESSING)
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


class OnTrunk(nnx.Module):
    def __init__(self, num_classes, rngs):
        self.backbone = ResNet("resnet18", rngs=rngs, width=0.125, depth=0.01)
        self.classifier = Classifier(64, num_classes, rngs=rngs)


def build_on_trunk(num_classes, *, rngs):
    return OnTrunk(num_classes, rngs)


@pytest.fixture
def toys(monkeypatch):
    """A network and a source of it."""
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    monkeypatch.setitem(catalogue.SOURCES, "toys", {"toy": f"{__name__}:SOURCE"})
    monkeypatch.setattr(catalogue, "source", lambda name, network: SOURCE)


def published(network, classes, **options):
    """A made-up checkpoint of the network in PyTorch's names and layout, and the same under our names."""
    built = nnx_io.abstract(zoo.builder(network, classes, **options))
    rng = np.random.default_rng(0)
    ours, theirs = {}, {}
    for name, leaf in (built.params | built.batch_stats).items():
        ours[name] = rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        parent, _, last = name.rpartition(".")
        value = np.transpose(ours[name], (3, 2, 0, 1)) if last == "kernel" else ours[name]
        theirs[f"net.{parent}.{LEAVES[last]}"] = np.ascontiguousarray(value)
    theirs["net.stem.bn.num_batches_tracked"] = np.zeros((), np.int64)
    return theirs, ours, built


def test_import_then_load_gives_the_networks_logits(tmp_path, toys, capsys):
    theirs, ours, network = published("toy", 5)
    safetensors.numpy.save_file(theirs, tmp_path / "theirs.safetensors")
    out = tmp_path / "new" / "ours.safetensors"
    arguments = [
        "--source=toys", f"--checkpoint={tmp_path}/theirs.safetensors", "--network=toy", f"--out={out}"
    ]  # fmt: skip
    assert import_weights.main(arguments) == 0
    said = capsys.readouterr().out
    assert "toy, 5 classes" in said and "1 entries dropped: num_batches_tracked" in said

    arrays, description = files.read(out)
    assert files.describe(out) == description
    assert arrays.keys() == ours.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(arrays[name], value)
    digest = files.sha256(tmp_path / "theirs.safetensors")
    assert description == files.Description("toy", {}, 5, "toys", digest, PREPROCESSING)
    assert [path.name for path in out.parent.iterdir()] == [out.name]  # no temporary file is left

    model = csst_jax.models.load(out)
    assert model.classes == 5 and model.preprocessing == PREPROCESSING
    images = np.random.default_rng(1).normal(size=(2, 33, 47, 3)).astype(np.float32)
    params, stats = ({n: ours[n] for n in like} for like in (network.params, network.batch_stats))
    expected = jax.jit(network.apply_eval)(params, stats, images)["logits"]
    logits = model(images)
    assert logits.shape == (2, 33, 47, 5)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_another_number_of_classes_gives_the_classifiers_initial_values_and_says_so(tmp_path, toys):
    theirs, ours, _ = published("toy", 19)
    safetensors.numpy.save_file(theirs, tmp_path / "theirs.safetensors")
    out = tmp_path / "ours.safetensors"
    said = import_weights.import_weights("toys", str(tmp_path / "theirs.safetensors"), "toy", str(out), num_classes=4)
    assert any("4 classes instead of 19: the classifier has initial values again" in line for line in said)
    arrays, description = files.read(out)
    classifiers = {"aux.bias", "aux.kernel", "classifier.bias", "classifier.kernel"}
    assert set(description.initial) == classifiers and description.num_classes == 4
    for name in ours.keys() - classifiers:
        np.testing.assert_array_equal(arrays[name], ours[name])
    initial = nnx_io.create(zoo.builder("toy", 4), 0).params
    for name in classifiers:
        np.testing.assert_allclose(arrays[name], initial[name], rtol=1e-6)
    assert csst_jax.models.load(out)(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 32, 32, 4)


def test_a_backbone_alone_leaves_the_rest_at_initial_values_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(zoo.NETWORKS, "on_trunk", zoo.Entry(f"{__name__}:build_on_trunk"))
    theirs, ours, _ = published("on_trunk", 3)
    trunk = {n.removeprefix("net.backbone."): v for n, v in theirs.items() if n.startswith("net.backbone.")}
    trunk |= {"fc.weight": np.zeros((10, 64), np.float32), "fc.bias": np.zeros(10, np.float32)}
    safetensors.numpy.save_file(trunk, tmp_path / "resnet.safetensors")
    where = (str(tmp_path / "resnet.safetensors"), "on_trunk", str(tmp_path / "ours.safetensors"))
    with pytest.raises(CsstError, match="give --num_classes"):
        import_weights.import_weights("torchvision", *where)
    said = import_weights.import_weights("torchvision", *where, num_classes=3)
    assert "2 entries dropped: ImageNet classifier" in said
    assert any("2 arrays outside of the backbone keep initial values" in line for line in said)
    arrays, description = files.read(where[-1])
    assert set(description.initial) == {"classifier.bias", "classifier.kernel"}
    assert arrays.keys() == ours.keys()
    for name in ours.keys() - set(description.initial):
        np.testing.assert_array_equal(arrays[name], ours[name])


def test_what_the_user_can_mend_is_one_line_and_status_2(tmp_path, toys, capsys):
    theirs, _, _ = published("toy", 5)
    del theirs["net.stem.conv.weight"]
    safetensors.numpy.save_file(theirs, tmp_path / "theirs.safetensors")
    arguments = ["--source=toys", f"--checkpoint={tmp_path}/theirs.safetensors", "--network=toy"]
    arguments.append(f"--out={tmp_path}/ours.safetensors")
    assert import_weights.main(arguments) == 2
    assert "error: the checkpoint does not fit" in (error := capsys.readouterr().err) and "stem.conv.kernel" in error
    assert not (tmp_path / "ours.safetensors").exists()
    arguments[1] = f"--checkpoint={tmp_path}/none.safetensors"
    assert import_weights.main(arguments) == 2
    assert "none.safetensors" in capsys.readouterr().err
    (tmp_path / "none.safetensors").write_bytes(b"hello")
    assert import_weights.main(arguments) == 2
    assert "cannot read" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        import_weights.main([*arguments, "--option=lineage"])


def test_files_that_are_not_ours_are_refused(tmp_path, toys):
    path = tmp_path / "x.safetensors"
    with pytest.raises(CsstError, match=r"cannot read .*x\.safetensors"):
        csst_jax.models.load(path)
    safetensors.numpy.save_file({"a": np.zeros(1)}, path)
    with pytest.raises(CsstError, match="not csst_jax's own file.*import_weights"):
        csst_jax.models.load(path)
    safetensors.numpy.save_file({"a": np.zeros(1)}, path, {"csst_jax": json.dumps({"network": "toy"})})
    with pytest.raises(CsstError, match="of another version of csst_jax"):
        csst_jax.models.load(path)
    _, ours, _ = published("toy", 5)
    description = files.Description("toy", {}, 5, "toys", "0" * 64, PREPROCESSING)
    files.write(
        path, {**ours, "stem.conv.kernel": np.zeros(3, np.float32), "more": np.zeros(3, np.float32)}, description
    )
    with pytest.raises(CsstError, match=r"does not fit 'toy' as csst_jax builds it now \(more, stem.conv.kernel\)"):
        csst_jax.models.load(path)


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
def test_pytorchs_files_are_known_by_their_content_and_told_how_to_come_in(tmp_path, name, suffix):
    path = tmp_path / f"my net{suffix}"
    path.write_bytes((pathlib.Path(__file__).parent / name).read_bytes())
    with pytest.raises(CsstError, match="is a checkpoint of PyTorch.*Import it first") as error:
        files.read(path)
    command = shlex.split(str(error.value).split("`")[1])
    assert command[:3] == ["python", "-m", "csst_jax.import_weights"]
    assert f"--checkpoint={path}" in command and f"--out={tmp_path / 'my net-imported.safetensors'}" in command
    assert "conv.weight" in files.read_checkpoint(path)


def test_numbers_of_half_precision_are_read_and_others_told(tmp_path):
    def save(dtype, size):
        header = json.dumps({"a": {"dtype": dtype, "shape": [2], "data_offsets": [0, 2 * size]}}).encode()
        (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2 * size))
        return tmp_path / "x.safetensors"

    for dtype, size in (("BF16", 2), ("F16", 2), ("F64", 8)):
        assert files.read_checkpoint(save(dtype, size))["a"].shape == (2,)
    with pytest.raises(CsstError, match="x.safetensors holds numbers of a kind that is not read"):
        files.read_checkpoint(save("F8_E4M3", 1))
