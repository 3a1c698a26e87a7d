"""Networks of every family as ONNX files: all variants have operations, and onnxruntime agrees."""

import numpy as np
import onnx
import onnxruntime
import pytest

from csst_jax.models import zoo
from csst_jax.models.exporting import function, onnx_file
from csst_jax.types import CsstError
from tests.models.exporting import small_files
from tests.models.small_networks import DEEPER, IN_PARTS

SIZE = (65, 93)  # no multiple of any stride
FAMILIES = [
    ("bisenet_resnet18", "mmseg"),
    ("icnet_resnet50", "gluon"),
    ("pspnet_resnet50", "semseg"),
    ("deeplab_v3_plus_resnet18", "mmseg"),
    ("deeplab_v3_plus_se_resnext50_32x4d", "smp"),
    ("deeplab_v3_plus_wide_resnet38", "vplr"),
    ("light_fpn_efficientnet_lite0", None),
    ("fpn_resnet18", None),
    ("unet_resnet18", None),
    ("ocr_hrnet_w48", "original"),
    ("encnet_resnet50", "encoding"),
    ("dpt_dinov2_base", None),
    ("dpt_dinov3_base", None),
]


def load(tmp_path, *network, size=SIZE, preprocess=False, argmax=False):
    return function.load(small_files.write(tmp_path / "net.safetensors", *network), size, preprocess, argmax)


@pytest.mark.slow
@pytest.mark.parametrize("network,lineage", FAMILIES)
def test_onnxruntime_agrees(tmp_path, network, lineage):
    said = onnx_file.write(tmp_path / "net.onnx", load(tmp_path, network, lineage), 1e-4)
    assert "100.0000% of pixels" in said[1], said


@pytest.mark.slow
@pytest.mark.parametrize("network", sorted(zoo.NETWORKS.keys() - DEEPER.keys() - IN_PARTS))
def test_every_variant_has_operations(tmp_path, network):
    for lineage in zoo.lineages(network) or (None,):
        exported = load(tmp_path, network, lineage, size=(64, 96))
        made = onnx_file.model(*exported.traced(), "logits", network, {})
        onnx.checker.check_model(made, full_check=True)
        assert sum(node.op_type == "Conv" for node in made.graph.node) > 10


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return load(tmp_path_factory.mktemp("net"), "fast_scnn", "gluon", size=(33, 48))


@pytest.mark.slow
def test_any_number_of_images(tmp_path, exported):
    assert onnx_file.write(tmp_path / "net.onnx", exported)[1].startswith("onnxruntime")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (images,) = session.get_inputs()
    assert (images.name, images.shape) == ("images", ["batch", 33, 48, 3])
    examples = exported.examples(5)
    (together,) = session.run(["logits"], {"images": examples})
    assert together.shape == (5, 33, 48, 5)
    for image, logits in zip(examples, together, strict=True):
        (alone,) = session.run(["logits"], {"images": image[None]})
        np.testing.assert_allclose(alone[0], logits, atol=1e-4)


def test_a_file_that_does_not_agree_is_not_left(tmp_path, exported):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"earlier")
    with pytest.raises(
        CsstError, match=r"other values than csst_jax: 100.* at most 0\. No file was written.*larger --tolerance"
    ):
        onnx_file.write(path, exported, 0.0)
    assert path.read_bytes() == b"earlier" and list(tmp_path.iterdir()) == [path]


def test_a_wrong_graph_is_found(tmp_path, exported, monkeypatch):
    made = onnx_file.model(*exported.traced(), "logits", "net", {})
    relu = next(node for node in made.graph.node if node.op_type == "Relu")
    relu.op_type = "Neg"
    monkeypatch.setattr(onnx_file, "model", lambda *_: made)
    with pytest.raises(CsstError, match="computes other values"):
        onnx_file.write(tmp_path / "net.onnx", exported, 1e9)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_limited_relu_is_one_operation(tmp_path):
    """As two, its input's range would be that of 8-bit integers, and cost a network of ReLU6 2.6 points of mIoU."""
    onnx_file.write(tmp_path / "net.onnx", load(tmp_path, "light_fpn_efficientnet_lite0", None))
    operations = {node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node}
    assert "Clip" in operations and "Min" not in operations
