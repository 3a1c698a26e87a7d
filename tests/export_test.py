"""The command: a trained network as ONNX, StableHLO or another code base's weights; and what it refuses."""

import json
import pathlib
import re
import sys

import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from PIL import Image

import csst_jax
from csst_jax import export, export_weights, predict
from csst_jax.models.exporting import onnx_file
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.weights import files, torch_pickle
from tests.models.exporting import small_files

PALETTE = tuple((i, 2 * i, 3 * i) for i in range(5))
BGR = Preprocessing((104.0, 117.0, 123.0), (57.0, 57.0, 58.0), "BGR", 255.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The workdir of a run whose student is FastSCNN."""
    workdir = tmp_path_factory.mktemp("run")
    known = {"classes": small_files.CLASSES, "palette": PALETTE}
    small_files.write(workdir / "student" / "model.safetensors", "fast_scnn", "mmseg", BGR, dtype="bfloat16", **known)
    return str(workdir)


def run(capsys, *arguments):
    """(exit status, what was printed) of the command."""
    status = export.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.err if status else captured.out


@pytest.mark.slow
@pytest.mark.essential("export to ONNX")
def test_images_go_in_and_classes_come_out_in_onnxruntime_alone(tmp_path, weights, capsys):
    out = tmp_path / "net.onnx"
    asked = (f"--checkpoint={weights}", "--format=onnx", "--size=40x56", "--preprocess")
    status, said = run(capsys, *asked, f"--out={out}", "--argmax")
    assert status == 0, said
    assert "fast_scnn, 5 classes; RGB images as they are, uint8 [batch, 40, 56, 3], to class_ids" in said
    assert "--size=40x56 is no multiple of 32" in said
    assert "agrees: 100.0000% of pixels" in said and "computes in float32; it was trained in bfloat16" in said
    assert run(capsys, *asked, f"--out={tmp_path / 'logits.onnx'}")[0] == 0

    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(1).integers(0, 256, (3, 40, 56, 3)).astype(np.uint8)
    (ids,) = session.run(None, {"images": images})
    (logits,) = onnxruntime.InferenceSession(tmp_path / "logits.onnx").run(None, {"images": images})
    network = csst_jax.load(weights)
    ours = network(network.preprocessing(jnp.asarray(images, jnp.float32) / 255))
    assert ids.dtype == np.uint8 and ids.shape == (3, 40, 56)
    assert np.mean(logits.argmax(-1) == ids) == 1 and logits.dtype == np.float32
    assert np.mean(ids == ours.argmax(-1)) > 0.9  # ours is in bfloat16

    known = session.get_modelmeta().custom_metadata_map
    assert known["network"] == "fast_scnn" and known["weights_sha256"] == network.description.weights_sha256
    assert json.loads(known["classes"]) == list(small_files.CLASSES)
    assert json.loads(known["palette"]) == [list(colour) for colour in PALETTE]
    assert json.loads(known["options"])["lineage"] == "mmseg"
    assert json.loads(known["preprocessing"])["channels"] == "BGR" and known["preprocessing_inside"] == "true"


def test_sides_that_are_no_multiples_of_32_are_told_what_predict_does():
    (said,) = export._not_padded(360, 480)
    assert said.startswith("--size=360x480 is no multiple of 32: csst predict pads") and "to 384x480. To do" in said
    assert export._not_padded(384, 480) == [] and predict._parser().get_default("pad_px") == export._PAD_PX


@pytest.mark.slow
def test_the_docs_programs_run(tmp_path, weights, capsys, monkeypatch):
    """Those of docs/export.md, on files as its commands write them."""
    monkeypatch.chdir(tmp_path)
    asked = (f"--checkpoint={weights}", "--size=512x1024", "--preprocess")
    assert run(capsys, *asked, "--format=onnx", "--argmax", "--out=classes.onnx")[0] == 0
    assert run(capsys, *asked, "--format=stablehlo", "--out=student.stablehlo")[0] == 0
    photo = np.random.default_rng(1).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    Image.fromarray(photo).save("photo.png")
    page = (pathlib.Path(__file__).parent.parent / "docs" / "export.md").read_text(encoding="utf-8")
    onnx_program, stablehlo_program = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    found = {}
    exec(onnx_program, found)
    assert found["class_ids"].shape == (1, 512, 1024) and found["classes"] == list(small_files.CLASSES)
    found["images"] = found["image"][None]
    exec(stablehlo_program, found)
    assert found["logits"].shape == (1, 512, 1024, 5)
    assert np.mean(found["logits"].argmax(-1) == found["class_ids"]) > 0.999


def test_pytorch_is_what_export_weights_writes(tmp_path, weights, capsys):
    status, said = run(
        capsys, f"--checkpoint={weights}", "--format=pytorch", "--target=mmseg", f"--out={tmp_path / 'a.pth'}"
    )
    assert status == 0 and "5 classes" in said and "as mmseg" in said
    export_weights.export_weights("mmseg", weights, str(tmp_path / "b.pth"))
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()
    assert torch_pickle.read(tmp_path / "a.pth")


def test_what_the_user_can_fix_is_one_line_and_status_2(tmp_path, weights, capsys):
    icnet = small_files.write(tmp_path / "icnet.safetensors", "icnet_resnet50")
    out, there = tmp_path / "out", tmp_path / "a.savedmodel"
    out.mkdir()
    there.mkdir()
    for arguments, message in (
        (("--format=tflite", f"--out={out}/a.tflite"), "--format=tflite is not known; known are: onnx, stablehlo, sav"),
        (("--format=onnx", f"--out={out}/a.pth"), "a.pth: a file of format onnx must end in .onnx."),
        (("--format=onnx", f"--out={out}/a.onnx"), "give --size=HEIGHTxWIDTH, such as 512x1024"),
        (("--format=onnx", "--size=64", f"--out={out}/a.onnx"), "--size=64: give HEIGHTxWIDTH in pixels"),
        (("--format=onnx", "--size=0x64", f"--out={out}/a.onnx"), "--size=0x64: give HEIGHTxWIDTH"),
        (("--format=onnx", "--size=8x8", "--target=smp", f"--out={out}/a.onnx"), "is for --format=pytorch"),
        (("--format=stablehlo", "--size=8x8", "--tolerance=1", f"--out={out}/a.stablehlo"), "is for --format=onnx"),
        (
            ("--format=stablehlo", "--size=8x8", "--int8=data", f"--out={out}/a.stablehlo"),
            "--int8=data is for --format",
        ),
        (("--format=onnx", "--size=8x8", "--int8_may_lose=2", f"--out={out}/a.onnx"), "--int8_may_lose=2 is for"),
        (
            ("--format=onnx", "--size=8x8", "--tolerance=1", "--argmax", f"--out={out}/a.onnx"),
            "--tolerance=1 is for logits, and --argmax gives classes",
        ),
        (
            ("--format=savedmodel", "--size=8x8", f"--out={out}/a"),
            "a file of format savedmodel must end in .savedmodel",
        ),
        (
            ("--format=pytorch", f"--out={out}/a.pth"),
            "needs --target, the code that will load it: mmseg or smp or unimatch_v2.",
        ),
        (("--format=savedmodel", "--size=8x8", f"--out={there}"), "a.savedmodel is there already; delete it"),
        (("--format=pytorch", "--target=mmseg", "--argmax", f"--out={out}/a.pth"), "leave out --size, --preprocess"),
        (("--format=pytorch", "--target=smp", f"--out={out}/a.pth"), "has no 'fast_scnn'"),
        (("--format=stablehlo", "--size=8x8", f"--out={weights}/student/model.safetensors/a.stablehlo"), "is a file"),
    ):
        status, said = run(capsys, f"--checkpoint={weights}", *arguments)
        problem = said.partition("error: ")[2]  # on a busy machine, a line before it says that a file is read
        assert status == 2 and message in problem and "Traceback" not in said, said
    small = ("--format=stablehlo", "--size=7x5", f"--out={out}/a.stablehlo")
    assert "icnet_resnet50 cannot take images of this size" in run(capsys, f"--checkpoint={icnet}", *small)[1]
    assert "has no model.safetensors" in run(capsys, f"--checkpoint={out}", *small)[1]
    assert not list(out.iterdir())


def test_a_data_set_of_other_classes_is_refused_before_any_work(tmp_path, weights, tiny_data, capsys, monkeypatch):
    monkeypatch.setattr(onnx_file, "write", lambda *_: pytest.fail("minutes of work before the refusal"))
    arguments = (f"--checkpoint={weights}", "--format=onnx", "--size=40x56", f"--out={tmp_path / 'a.onnx'}")
    status, said = run(capsys, *arguments, f"--int8={tiny_data}")
    assert status == 2 and "the network has 5 classes, and the data set has 4; give the data set" in said


def test_sizes_above_those_of_the_training_images_are_told():
    assert export._not_shrunk(768, 1024, 1024) == [] == export._not_shrunk(3008, 4000, 0)
    (said,) = export._not_shrunk(3008, 4000, 1024)
    assert "the training images, whose longer side was at most 1024 px: csst predict makes images as small" in said


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_package_that_is_missing_is_named_with_its_command(tmp_path, weights, capsys, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(files, "read", lambda _: pytest.fail("hours of work before the refusal"))
    arguments = (f"--checkpoint={weights}", "--format=onnx", "--size=8x8", f"--out={tmp_path / 'a.onnx'}")
    status, said = run(capsys, *arguments)
    assert status == 2 and f"needs the package {package} (" in said
    assert "python -m pip install -r requirements-export.txt" in said
