"""A network as a SavedModel: TensorFlow in another process, without csst_jax, computes the same."""

import json

import pytest

from csst_jax.models.exporting import function, saved_model
from csst_jax.types import CsstError
from tests.models.exporting import small_files

ELSEWHERE = """
import sys
import numpy, tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
for name, value in loaded(images=tf.constant(numpy.load(sys.argv[2]))).items():
    print(name)
    numpy.save(sys.argv[3], value)
assert not any(name.startswith("csst_jax") for name in sys.modules)
"""


@pytest.mark.slow
def test_another_process_computes_the_same(tmp_path):
    weights = small_files.write(tmp_path / "net.safetensors", "fast_scnn", classes=small_files.CLASSES)
    exported = function.load(weights, (64, 48), True, False)
    path = tmp_path / "net.savedmodel"
    said = saved_model.write(path, exported)
    assert "cpu, cuda, tpu" in said[0] and "agrees: 100.0000%" in said[1]
    with pytest.raises(CsstError, match="is there already; delete it"):
        saved_model.write(path, exported)

    assert small_files.elsewhere(ELSEWHERE, exported, path, exported.examples(3)) == ["logits"]
    known = json.loads((path / "assets.extra" / saved_model.BESIDE).read_text())
    assert known["network"] == "fast_scnn" and json.loads(known["classes"]) == list(small_files.CLASSES)


@pytest.mark.slow
def test_what_tensorflow_computes_differently_is_not_left(tmp_path):
    weights = small_files.write(tmp_path / "net.safetensors", "fast_scnn")
    exported = function.load(weights, (64, 48), True, False)
    with pytest.raises(CsstError, match="computes other values than csst_jax"):
        saved_model.write(tmp_path / "made" / "net.savedmodel", exported, tolerance=-1.0)
    assert not list((tmp_path / "made").iterdir())
