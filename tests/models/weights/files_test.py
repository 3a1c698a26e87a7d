"""Import, file, network: a round trip, and what the file says of itself."""

import dataclasses
import hashlib
import json
import pathlib
import shlex
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from flax import nnx

import csst_jax
from csst_jax import import_weights
from csst_jax.models import nnx_io, zoo
from csst_jax.models.backbones.resnet import ResNet
from csst_jax.models.layers import Classifier
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.weights import catalogue, files
from csst_jax.models.weights.published import read_checkpoint
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
    weights_sha256 = files.weights_sha256(ours)
    assert description == files.Description("toy", {}, 5, "toys", digest, PREPROCESSING, weights_sha256=weights_sha256)
    assert [path.name for path in out.parent.iterdir()] == [out.name]  # no temporary file is left

    model = csst_jax.load(out)
    assert (model.num_classes, model.classes, model.preprocessing) == (5, (), PREPROCESSING)
    assert model.description == description
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
    assert csst_jax.load(out)(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 32, 32, 4)


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


def test_what_the_user_can_fix_is_one_line_and_status_2(tmp_path, toys, capsys):
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
    with pytest.raises(CsstError, match=r"there is no .*x\.safetensors"):
        csst_jax.load(path)
    safetensors.numpy.save_file({"a": np.zeros(1)}, path)
    with pytest.raises(CsstError, match="so csst_jax did not write it.*import_weights"):
        csst_jax.load(path)
    safetensors.numpy.save_file({"a": np.zeros(1)}, path, {"csst_jax": json.dumps({"network": "toy"})})
    with pytest.raises(CsstError, match="of another version of csst_jax"):
        csst_jax.load(path)
    _, ours, _ = published("toy", 5)
    description = files.Description("toy", {}, 5, "toys", "0" * 64, PREPROCESSING)
    files.write(
        path, {**ours, "stem.conv.kernel": np.zeros(3, np.float32), "more": np.zeros(3, np.float32)}, description
    )
    with pytest.raises(CsstError, match=r"does not fit 'toy' as csst_jax builds it now \(more, stem.conv.kernel\)"):
        csst_jax.load(path)


FULL = files.Description(
    "toy", {"width": 0.5}, 5, files.TRAINED_HERE, "", PREPROCESSING, (), tuple("abcde"), ((1, 2, 3),) * 5,
    (7, 8, 9, 10, 11), "bfloat16", "supervised", 12, "", {"miou": 0.25, "iou": {"a": None, "b": 0.1}},
    {"stage": "student", "labels_sha256": ["1", "2"], "teacher_sha256": None},
)  # fmt: skip


def rewrite(path, **changes):
    """Puts other values into the metadata, as another version or a hand would; None takes a field away."""
    with safetensors.safe_open(path, framework="numpy") as file:
        arrays, fields = {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["csst_jax"])  # noqa: SIM118
    fields = {name: value for name, value in (fields | changes).items() if value is not None}
    safetensors.numpy.save_file(arrays, path, {"csst_jax": json.dumps(fields)})


def test_all_that_a_file_says_comes_back_and_the_network_computes_as_it_says(tmp_path, toys):
    _, ours, _ = published("toy", 5)
    written = files.write(tmp_path / "x.safetensors", ours, FULL)
    assert written == dataclasses.replace(FULL, weights_sha256=files.weights_sha256(ours))
    assert files.read(tmp_path / "x.safetensors")[1] == files.describe(tmp_path / "x.safetensors") == written
    model = csst_jax.load(tmp_path / "x.safetensors")
    assert (model.classes, model.palette, model.description) == (FULL.classes, FULL.palette, written)
    images = np.random.default_rng(1).normal(size=(1, 32, 32, 3)).astype(np.float32)
    logits = model(images)
    files.write(tmp_path / "y.safetensors", ours, dataclasses.replace(FULL, dtype="float32"))
    plain = csst_jax.load(tmp_path / "y.safetensors")(images)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, plain, rtol=0.05, atol=0.5)
    assert (logits != plain).any(), "it did not compute in bfloat16"


def test_a_file_of_an_earlier_version_is_read_and_has_its_old_identity(tmp_path, toys):
    path = tmp_path / "x.safetensors"
    _, ours, _ = published("toy", 5)
    expected = files.write(path, ours, files.Description("toy", {}, 5, "toys", "0" * 64, PREPROCESSING))
    fields = ("classes", "palette", "official_ids", "dtype", "method", "steps", "weights_sha256", "scores", "origin")
    rewrite(path, **dict.fromkeys(fields))
    assert files.read(path)[1] == expected, "with the hash that it does not say"
    assert csst_jax.load(path).classes == ()
    assert files.identity(path) == files.sha256(path)


def test_a_file_of_another_kind_is_told_what_to_give(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    said = "cannot read .*notes.txt as safetensors.*; give the model.safetensors of a training stage, or a file that"
    with pytest.raises(CsstError, match=said):
        files.read(tmp_path / "notes.txt")


def test_weights_that_are_not_those_that_were_written_are_refused(tmp_path, toys):
    path = tmp_path / "x.safetensors"
    _, ours, _ = published("toy", 5)
    said = files.write(path, ours, FULL).weights_sha256
    rewrite(path, weights_sha256="0" * 64)
    with pytest.raises(CsstError, match=rf"weights' hash is {said[:12]}, not 000000000000; copy it again, or, in"):
        files.read(path)
    rewrite(path, source="toys")
    with pytest.raises(CsstError, match="not 000000000000; import the checkpoint again"):
        csst_jax.load(path)
    (tmp_path / "model.safetensors").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CsstError, match="cannot read .*; copy it again, or, in its stage's directory, delete it"):
        files.read(tmp_path / "model.safetensors")


def test_scores_change_neither_the_weights_hash_nor_what_a_training_depends_on(tmp_path, toys):
    path = tmp_path / "x.safetensors"
    _, ours, _ = published("toy", 5)
    before, identity = files.write(path, ours, FULL), files.identity(path)
    files.add_scores(path, {"miou": 0.5})
    arrays, after = files.read(path)
    assert after == dataclasses.replace(before, scores={"miou": 0.5}) and files.identity(path) == identity
    assert all(arrays[name].tobytes() == value.tobytes() for name, value in ours.items())
    files.write(path, ours, dataclasses.replace(FULL, options={"width": 0.25}))
    assert files.identity(path) != identity
    files.write(path, {**ours, "aux.bias": ours["aux.bias"] + 1}, FULL)
    assert files.identity(path) != identity


def test_the_hash_is_that_of_earlier_versions():
    """Parameters in the order of their names, then the statistics: docs/results and workdirs have such hashes."""
    arrays = {
        "b.mean": np.float32([1]),
        "c.bias": np.float32([2]),
        "a.kernel": np.float32([3]),
        "a.var": np.float32([4]),
    }
    digest = hashlib.sha256()
    for name in ("a.kernel", "c.bias", "a.var", "b.mean"):
        digest.update(name.encode() + arrays[name].tobytes())
    assert files.weights_sha256(arrays) == digest.hexdigest()


def test_classes_are_compared_by_name_where_the_file_knows_them():
    assert files.other_classes(FULL, tuple("abcde")) == ""
    assert files.other_classes(FULL, tuple("abdce")) == "has 'c' as class 2, and the data set has 'd'"
    assert files.other_classes(FULL, tuple("abcd")) == "has 5 classes, and the data set has 4"
    assert files.other_classes(dataclasses.replace(FULL, classes=()), tuple("vwxyz")) == ""


def test_the_package_is_imported_without_jax_and_loads():
    program = "import csst_jax, sys; assert callable(csst_jax.load); print({'jax', 'numpy', 'flax'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"


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
    assert "conv.weight" in read_checkpoint(path)


def test_numbers_of_half_precision_are_read_and_others_told(tmp_path):
    def save(dtype, size):
        header = json.dumps({"a": {"dtype": dtype, "shape": [2], "data_offsets": [0, 2 * size]}}).encode()
        (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2 * size))
        return tmp_path / "x.safetensors"

    for dtype, size in (("BF16", 2), ("F16", 2), ("F64", 8)):
        assert read_checkpoint(save(dtype, size))["a"].shape == (2,)
    with pytest.raises(CsstError, match="x.safetensors holds numbers of a kind that is not read"):
        read_checkpoint(save("F8_E4M3", 1))
