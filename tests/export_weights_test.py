"""The command: files and finished stages in, mmsegmentation's checkpoint out; and what it refuses."""

import numpy as np
import pytest
import safetensors.numpy

from csst_jax import export_weights, import_weights
from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import IMAGENET, Preprocessing
from csst_jax.models.weights import catalogue, export, files, rules, torch_pickle

OPTIONS = {"lineage": "mmseg", "width": 0.25}
CLASSES = ("way", "wall", "sky", "pole", "sign")


@pytest.fixture(scope="module")
def arrays():
    """FastSCNN's at a quarter of the width, five classes."""
    built = nnx_io.abstract(zoo.builder("fast_scnn", 5, **OPTIONS))
    rng = np.random.default_rng(0)
    like = built.params | built.batch_stats
    return {name: rng.normal(size=leaf.shape).astype(np.float32) for name, leaf in like.items()}


def write(path, arrays, network="fast_scnn", options=OPTIONS, **more):
    files.write(path, arrays, files.Description(network, options, 5, "toys", "0" * 64, IMAGENET, **more))
    return str(path)


def run(capsys, weights, out, target="mmseg"):
    """(exit status, what was printed) of the command."""
    status = export_weights.main([f"--target={target}", f"--weights={weights}", f"--out={out}"])
    captured = capsys.readouterr()
    return status, captured.err if status else captured.out


@pytest.mark.slow
@pytest.mark.essential("export and import of weights")
def test_a_file_of_ours_becomes_a_checkpoint_that_the_importer_reads_back(tmp_path, arrays, capsys):
    ours = write(tmp_path / "ours.safetensors", arrays)
    status, said = run(capsys, ours, tmp_path / "theirs.pth")
    assert status == 0
    assert "fast_scnn, 5 classes" in said and "as mmseg" in said and "names of the classes are not in it" in said
    assert (
        "num_classes=5, data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], "
        "bgr_to_rgb=True), width=0.25" in said
    )
    entries = torch_pickle.read(tmp_path / "theirs.pth")
    assert entries["decode_head.conv_seg.weight"].shape == (5, arrays["classifier.kernel"].shape[2], 1, 1)
    np.testing.assert_array_equal(entries["decode_head.conv_seg.bias"], arrays["classifier.bias"])

    back = tmp_path / "back.safetensors"
    import_weights.import_weights(
        "mmseg", str(tmp_path / "theirs.pth"), "fast_scnn", str(back), options={"width": 0.25}
    )
    again, description = files.read(back)
    assert description.num_classes == 5 and again.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(again[name], value)

    assert run(capsys, ours, tmp_path / "theirs.safetensors")[0] == 0
    assert safetensors.numpy.load_file(tmp_path / "theirs.safetensors").keys() == entries.keys()


def test_initial_values_and_another_preprocessing_are_said(tmp_path, arrays, capsys):
    path = tmp_path / "ours.safetensors"
    bgr = Preprocessing((104.0, 117.0, 123.0), (1.0, 1.0, 1.0), "BGR", 255.0)
    files.write(path, arrays, files.Description("fast_scnn", OPTIONS, 5, "toys", "", bgr, ("classifier.bias",)))
    status, said = run(capsys, path, tmp_path / "theirs.pth")
    assert status == 0 and "1 arrays hold initial values (classifier.bias, …): train them" in said
    assert "mean=[104.0, 117.0, 123.0], std=[1.0, 1.0, 1.0], bgr_to_rgb=False" in said


@pytest.mark.slow
def test_a_stage_is_exported_with_the_names_of_its_classes_from_its_file_alone(tmp_path, arrays, capsys, monkeypatch):
    written = {}
    write_file = export.write
    monkeypatch.setattr(
        export,
        "write",
        lambda path, entries, meta: (written.update(meta), write_file(path, entries, meta)),
    )
    palette = tuple((i, 2 * i, 3 * i) for i in range(5))
    stage = tmp_path / "run" / "student"
    write(stage / "model.safetensors", arrays, classes=CLASSES, palette=palette)
    status, said = run(capsys, stage, tmp_path / "theirs.pth")
    assert status == 0 and "fast_scnn, 5 classes" in said and "not in it" not in said
    assert written["dataset_meta"] == {"classes": list(CLASSES), "palette": [list(colour) for colour in palette]}
    weights_sha256 = files.weights_sha256(arrays)
    assert written["csst_jax"] == {"network": "fast_scnn", "options": OPTIONS, "weights": weights_sha256}
    status, _ = run(capsys, write(tmp_path / "ours.safetensors", arrays), tmp_path / "same.pth")
    assert status == 0 and run(capsys, tmp_path / "run", tmp_path / "workdir.pth")[0] == 0
    one, *others = (torch_pickle.read(tmp_path / name) for name in ("theirs.pth", "same.pth", "workdir.pth"))
    for other in others:
        assert all(one[name].tobytes() == other[name].tobytes() for name in one.keys() | other.keys())


def test_directories_that_have_no_network_are_refused(tmp_path, arrays, capsys):
    write(tmp_path / "run" / "teacher" / "model.safetensors", arrays)
    out = tmp_path / "theirs.pth"
    status, said = run(capsys, tmp_path / "run", out)
    assert status == 2 and "run has no finished student; it has: teacher" in said
    status, said = run(capsys, tmp_path, out)
    assert status == 2 and "has no model.safetensors" in said and "Traceback" not in said
    assert not out.exists()


def test_a_network_of_another_lineage_is_refused_with_what_is_needed(tmp_path, arrays, capsys):
    status, said = run(capsys, write(tmp_path / "a.safetensors", arrays, options={}), tmp_path / "theirs.pth")
    assert status == 2 and said.startswith("error: ")
    for part in ("'fast_scnn' of lineage 'gluon'", "has lineage 'mmseg'", "--config.student.lineage=mmseg"):
        assert part in said
    weights = write(tmp_path / "a.safetensors", arrays, "pspnet_resnet50", {"lineage": "smp"})
    assert "of lineage 'smp'" in run(capsys, weights, tmp_path / "theirs.pth")[1]
    assert not (tmp_path / "theirs.pth").exists()


@pytest.mark.parametrize("network", ["fpn_efficientnet_lite0", "unet_resnet18", "deeplab_v3_plus_se_resnext50_32x4d"])
def test_smps_names_lead_back(tmp_path, network, capsys):
    options = {"width": 0.125, "depth": 0.1} | ({"lineage": "smp"} if "deeplab" in network else {})
    built = nnx_io.abstract(zoo.builder(network, 5, **options))
    rng = np.random.default_rng(0)
    like = built.params | built.batch_stats
    values = {name: rng.normal(size=leaf.shape).astype(np.float32) for name, leaf in like.items()}
    status, said = run(capsys, write(tmp_path / "a", values, network, options), tmp_path / "theirs.pth", "smp")
    assert status == 0 and f"{network}, 5 classes" in said
    assert "classes=5; RGB images from 0 to 1, less mean=[0.485, 0.456, 0.406], over std=[0.229, 0.224, 0.225]" in said
    back = rules.apply(catalogue.source("smp", network), torch_pickle.read(tmp_path / "theirs.pth"),
                       {name: value.shape for name, value in values.items()})  # fmt: skip
    for name, value in values.items():
        np.testing.assert_array_equal(back[name], value)


def test_unimatch_v2s_names_lead_back(tmp_path, capsys):
    options = {"width": 0.125, "depth": 0.1}
    like = nnx_io.abstract(zoo.builder("dpt_dinov2_small", 5, **options)).params
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=leaf.shape).astype(np.float32) for name, leaf in like.items()}
    ours = write(tmp_path / "a", values, "dpt_dinov2_small", options)
    status, said = run(capsys, ours, tmp_path / "theirs.pth", "unimatch_v2")
    assert status == 0 and "nclass=5; load_state_dict(…, strict=False)" in said
    theirs = torch_pickle.read(tmp_path / "theirs.pth")
    assert theirs["head.resize_layers.0.weight"].shape == (8, 8, 4, 4)  # input, output, rows, columns
    back = rules.apply(
        catalogue.source("unimatch_v2", "dpt_dinov2_small"),
        theirs,
        {name: value.shape for name, value in values.items()},
    )
    for name, value in values.items():
        np.testing.assert_array_equal(back[name], value)


def test_what_the_user_can_fix_is_one_line_and_status_2(tmp_path, arrays, capsys):
    ours, out = write(tmp_path / "ours.safetensors", arrays), tmp_path / "theirs.pth"
    for source, weights, to, message in (
        ("gluon", ours, out, "cannot export to --target=gluon; known are: mmseg, smp, unimatch_v2."),
        ("mmseg", tmp_path / "none.safetensors", out, "there is no "),
        ("mmseg", ours, tmp_path / "theirs.onnx", "theirs.onnx: the file to write must end in .pth or .safetensors."),
        ("mmseg", write(tmp_path / "v2", arrays, "deeplab_v2_resnet101"), out, "has no 'deeplab_v2_resnet101'"),
        ("mmseg", write(tmp_path / "less", {"x": arrays["ppm.out.bn.bias"]}), out, "does not fit 'fast_scnn'"),
    ):
        status, said = run(capsys, weights, to, source)
        assert status == 2 and said.startswith("error: ") and message in said and "Traceback" not in said
    (tmp_path / "none.safetensors").write_bytes(b"hello")
    assert "cannot read" in run(capsys, tmp_path / "none.safetensors", out)[1]
    assert not out.exists()
    with pytest.raises(SystemExit, match="2"):
        export_weights.main(["--target=mmseg", f"--out={out}"])


def test_the_flags_old_name_still_works(tmp_path, arrays, capsys):
    ours = write(tmp_path / "ours.safetensors", arrays)
    arguments = ["--source=mmseg", f"--weights={ours}", f"--out={tmp_path / 'theirs.pth'}"]
    assert export_weights.main(arguments) == 0
    with pytest.raises(SystemExit, match="2"):
        export_weights.main(["--target=mmseg", *arguments])
    assert "not allowed with argument" in capsys.readouterr().err


def test_what_can_be_exported_can_be_imported():
    assert set(export_weights.TARGETS) <= set(catalogue.SOURCES)
