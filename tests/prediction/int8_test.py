"""8-bit ONNX files: scored before they are kept, and as the file in float32 computes."""

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from csst_jax.data.store import DataSet
from csst_jax.models.exporting import function, onnx_file
from csst_jax.prediction import int8
from csst_jax.types import CsstError, DatasetDescription
from data_prep import builder
from tests.conftest import tiny_examples
from tests.models.exporting import small_files

SIZE = (48, 64)  # half of the images'


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four images to train and three to validate, with the five classes of `small_files`."""
    palette = tuple((i, i, i) for i in range(5))
    return builder.prepare(
        DatasetDescription("five", small_files.CLASSES, palette),
        {"train": tiny_examples(0, 4, labelled=4), "val": tiny_examples(100, 3, labelled=3)},
        tmp_path_factory.mktemp("five"),
        source_sha256="a test",
    )


@pytest.fixture(scope="module")
def floating(tmp_path_factory):
    """A network of the family that newcomers train, and its file in float32."""
    directory = tmp_path_factory.mktemp("net")
    weights = small_files.write(directory / "net.safetensors", "light_fpn_efficientnet_lite0", None)
    exported = function.load(weights, SIZE, True, True)
    onnx_file.write(directory / "net.onnx", exported)
    return directory / "net.onnx", exported


@pytest.mark.slow
def test_it_is_smaller_scored_and_sees_nearly_the_same(tmp_path, data, floating):
    path, exported = floating
    said = int8.write(tmp_path / "int8.onnx", path, exported, data, may_lose=100.0)
    assert said[0].startswith("int8: ") and "split 'val' at 48 x 64 px" in said[1]
    assert (tmp_path / "int8.onnx").stat().st_size < 0.8 * path.stat().st_size
    made = onnx.load(tmp_path / "int8.onnx")
    known = {entry.key: entry.value for entry in made.metadata_props}
    assert known["precision"] == "int8" and known["network"] == "light_fpn_efficientnet_lite0"
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in made.graph.node}
    images = exported.examples(2)
    here, there = (
        onnxruntime.InferenceSession(str(file)).run(None, {"images": images})[0]
        for file in (path, tmp_path / "int8.onnx")
    )
    assert 0.7 < np.mean(here == there) <= 1, "drawn weights give close logits, but not any class"


@pytest.mark.slow
def test_a_worse_score_leaves_no_file(tmp_path, data, floating):
    path, exported = floating
    with pytest.raises(CsstError, match=r"mIoU .* that is worse by -?\d.*No file was written; --int8_may_lose"):
        int8.write(tmp_path / "int8.onnx", path, exported, data, may_lose=-100.0)
    assert not list(tmp_path.iterdir())


def test_scores_are_those_of_the_classes_at_the_files_size(data, floating_stub):
    path, exported, labels = floating_stub
    reader = DataSet.open(data).reader("val")
    assert int8._score(path, exported, reader) == pytest.approx(expected(labels))


def test_other_classes_are_refused_before_any_work(tmp_path, tiny_data, floating_stub):
    path, exported, _ = floating_stub
    with pytest.raises(CsstError, match="the network has 5 classes, and the data set has 4; give the data set that it"):
        int8.write(tmp_path / "int8.onnx", path, exported, tiny_data, may_lose=1.0)
    exported.description.num_classes, exported.description.classes = 4, small_files.CLASSES[:4]
    with pytest.raises(CsstError, match="the network has 'way' as class 0, and the data set has 'ground'"):
        int8.write(tmp_path / "int8.onnx", path, exported, tiny_data, may_lose=1.0)


@pytest.fixture
def floating_stub(tmp_path, data, monkeypatch):
    """A file that says class 0 everywhere, without onnxruntime."""

    class Session:
        def __init__(self, *_, **__):
            pass

        def run(self, _, feeds):
            (image,) = feeds.values()
            assert image.shape == (1, *SIZE, 3) and image.dtype == np.uint8
            return [np.zeros(image.shape[:3], np.uint8)]

    class Description:
        num_classes, classes = 5, ()

    class Exported:
        size, preprocess, argmax, output, description = SIZE, True, True, "class_ids", Description

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    reader = DataSet.open(data).reader("val")
    return tmp_path / "any.onnx", Exported, [int8.decode_label(reader.label_bytes(row)) for row in range(len(reader))]


def expected(labels):
    """Class 0 everywhere: its intersection over union, and 0 for the other classes that occur."""
    height, width = SIZE
    small = np.stack([cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST) for label in labels])
    valid = small[small != 255]
    return np.mean(valid == 0) / len(np.unique(valid))
