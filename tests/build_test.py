"""What settings build."""

import numpy as np
import pytest

from csst_jax import build
from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.models.weights import files
from csst_jax.settings.training import NetworkChoice


@pytest.mark.parametrize("start_rows", [None, (1, -1, 0)])
def test_a_network_that_a_method_keeps_takes_no_memory_of_devices(start_rows, tmp_path, monkeypatch):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    given = nnx_io.create(zoo.builder("toy", 3), 1)
    path = tmp_path / "given.safetensors"
    files.write(path, given.params | given.batch_stats, files.Description("toy", {}, 3, "toys", "0" * 64, IMAGENET))
    for pretrained in ("", str(path)):
        choice = NetworkChoice("toy", {}, "float32", False, pretrained, IMAGENET, start_rows if pretrained else None)
        network = build.network(choice, 3, seed=0)
        values = [*network.params.values(), *network.batch_stats.values()]
        assert values and all(isinstance(value, np.ndarray) and value.dtype == np.float32 for value in values)
