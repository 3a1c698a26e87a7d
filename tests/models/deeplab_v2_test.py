"""DeepLabV2: size, the pooling that adds a row, the sum of the classifiers, and s4GAN's shorter one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models import deeplab_v2, nnx_io

TINY = {"width": 0.125, "depth": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "lineage,classes,parameters",
    [
        # Facts §2.8; s4GAN's two idle classifiers are parameters as well.
        ("crst", 19, 43_901_068),
        ("s4gan", 19, 43_901_068),
        ("crst", 11, 43_311_212),
    ],
)
def test_number_of_parameters(lineage, classes, parameters):
    network = nnx_io.abstract(functools.partial(deeplab_v2.build, classes, lineage=lineage))
    assert sum(int(np.prod(leaf.shape)) for leaf in network.params.values()) == parameters


# The maximum pooling's `ceil_mode` adds a position at even sizes: 17 for 64, where torchvision has 16.
@pytest.mark.parametrize("size,quarter", [((65, 97), (17, 25)), ((64, 100), (17, 26))])
@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.slow
def test_shapes_and_dtypes(size, quarter, output_stride):
    options = {"output_stride": output_stride, "dtype": jnp.bfloat16, **TINY}
    network = nnx_io.abstract(functools.partial(deeplab_v2.build, 5, **options))
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    train, stats = jax.eval_shape(network.apply_train, network.params, network.batch_stats, images, jax.random.key(0))
    evaluation = jax.eval_shape(network.apply_eval, network.params, network.batch_stats, images)
    for out in (train, evaluation):
        assert out["logits"].shape == (2, *size, 5) and out["logits"].dtype == jnp.float32
        assert out["aux"] == {}
        assert out["features"]["layer1"].shape[1:3] == quarter
        deep = tuple(-(-side // (output_stride // 4)) for side in quarter)
        assert out["features"]["layer4"].shape[1:3] == deep
        assert out["features"]["layer4"].dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in network.params.values()} == {jnp.dtype(jnp.float32)}
    assert stats.keys() == network.batch_stats.keys()


def test_bottlenecks_stride_in_their_first_convolution_and_whole_stages_are_dilated():
    model = nnx.eval_shape(lambda: deeplab_v2.build(5, rngs=nnx.Rngs(0), width=0.125)).backbone
    first = model.layer2[0]
    assert (first.conv1.stride, first.conv2.stride) == (2, 1)
    assert {block.conv2.dilation for block in model.layer3} == {2} and len(model.layer3) == 23
    assert {block.conv2.dilation for block in model.layer4} == {4}


@pytest.mark.parametrize("branches", [4, 2])
def test_logits_are_the_sum_of_the_classifiers(branches):
    head = deeplab_v2.SummedClassifiers(8, 3, branches, rngs=nnx.Rngs(0), dtype=jnp.float32)
    assert [conv.dilation for conv in head.conv2d_list] == [6, 12, 18, 24]
    assert 0.005 < float(jnp.std(head.conv2d_list[3].kernel[...])) < 0.02
    x = jax.random.normal(jax.random.key(0), (1, 9, 9, 8))
    expected = sum(np.asarray(head.conv2d_list[i](x)) for i in range(branches))
    np.testing.assert_allclose(head(x), expected, rtol=1e-5, atol=1e-6)


def test_only_s4gan_leaves_classifiers_out():
    assert {name: lineage.branches for name, lineage in deeplab_v2.LINEAGES.items()} == {"crst": 4, "s4gan": 2}
