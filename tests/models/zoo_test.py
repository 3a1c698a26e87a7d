"""Networks by name."""

import jax
import pytest
from flax import nnx

from csst_jax.models import zoo
from csst_jax.types import CsstError


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_every_name_builds_a_network(name):
    module = nnx.eval_shape(lambda: zoo.builder(name, 7, width=0.25)(rngs=nnx.Rngs(0)))
    out = nnx.eval_shape(lambda m, x: m(x), module, jax.ShapeDtypeStruct((1, 64, 64, 3), "float32"))
    assert out["logits"].shape == (1, 64, 64, 7)


def test_unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(
        CsstError, match=r"unknown network 'fastscnn'; known are: .*fast_scnn.*Did you mean 'fast_scnn'\?"
    ):
        zoo.builder("fastscnn", 7)
