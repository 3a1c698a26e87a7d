"""A network as StableHLO: another process, without csst_jax, computes the same."""

import json

import jax
import pytest

from csst_jax.models.exporting import function, stablehlo
from tests.models.exporting import small_files

ELSEWHERE = """
import sys
import jax, jax.export, numpy
jax.config.update("jax_platforms", "cpu")
program = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
print(*program.platforms)
numpy.save(sys.argv[3], program.call(numpy.load(sys.argv[2])))
assert not any(name.startswith("csst_jax") for name in sys.modules)
"""


@pytest.mark.parametrize("network,preprocess,argmax", [("fast_scnn", True, False), ("unet_resnet18", False, True)])
@pytest.mark.slow
def test_another_process_computes_the_same(tmp_path, network, preprocess, argmax):
    weights = small_files.write(tmp_path / "net.safetensors", network, classes=small_files.CLASSES)
    exported = function.load(weights, (64, 48), preprocess, argmax)
    path = tmp_path / "net.stablehlo"
    said = stablehlo.write(path, exported)
    assert "cpu, cuda, tpu" in said[0] and jax.__version__ in said[1]

    assert small_files.elsewhere(ELSEWHERE, exported, path, exported.examples(3)) == ["cpu", "cuda", "tpu"]

    beside = json.loads((tmp_path / "net.stablehlo.json").read_text())
    assert beside["network"] == network and json.loads(beside["classes"]) == list(small_files.CLASSES)
    assert beside["input"] == {"shape": ["batch", 64, 48, 3], "dtype": "uint8" if preprocess else "float32"}
    assert beside["output"] == (
        {"name": "class_ids", "dtype": "uint8"} if argmax else {"name": "logits", "dtype": "float32"}
    )
