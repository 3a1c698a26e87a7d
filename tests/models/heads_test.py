"""Shared heads: what each option changes, on arrays small enough to check by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from csst_jax.models.heads.aspp import ASPP, SeparableConv
from csst_jax.models.heads.fcn import FCNHead
from csst_jax.models.heads.psp import PyramidPooling, pyramid
from csst_jax.types import CsstError


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 7, 6, 8)), jnp.float32)


def evaluated(head):
    head.eval()
    return head


def names(head):
    return {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(head, nnx.Param))}


def without(head, part):
    """The head with the last layer of `part` (a `ConvBN`) made to return zeros."""
    part.bn.scale.set_value(jnp.zeros_like(part.bn.scale[...]))
    return head


class TestFCNHead:
    def test_default_is_one_convolution_to_a_quarter_of_the_channels_and_a_classifier(self):
        head = nnx.eval_shape(lambda: FCNHead(1024, 19, rngs=nnx.Rngs(0)))
        assert head.convs[0].conv.kernel.shape == (3, 3, 1024, 256)
        assert head.conv_seg.kernel.shape == (1, 1, 256, 19)
        assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(head, nnx.Param))) == 2_364_691  # facts §2.3
        assert names(head) == {
            "convs.0.conv.kernel",
            "convs.0.bn.scale",
            "convs.0.bn.bias",
            "conv_seg.kernel",
            "conv_seg.bias",
        }

    def test_concat_input_shows_the_input_to_one_more_convolution(self, x):
        head = evaluated(FCNHead(8, 3, rngs=nnx.Rngs(0), channels=4, num_convs=2, concat_input=True))
        assert len(head.convs) == 2 and head.conv_cat.conv.kernel.shape == (3, 3, 12, 4)
        assert head(x).shape == (2, 7, 6, 3)
        # Input first: with the convolutions silenced, the input still reaches the logits.
        without(head, head.convs[1])
        silenced = head(x)
        assert float(jnp.std(silenced)) > 0
        head.conv_cat.conv.kernel.set_value(head.conv_cat.conv.kernel[...].at[:, :, :8].set(0.0))
        assert float(jnp.std(head(x))) == 0

    def test_without_convolutions_it_is_dropout_and_classifier(self, x):
        head = FCNHead(8, 3, rngs=nnx.Rngs(0), num_convs=0)
        assert names(head) == {"conv_seg.kernel", "conv_seg.bias"} and head.conv_seg.kernel.shape == (1, 1, 8, 3)
        np.testing.assert_allclose(evaluated(head)(x), x @ head.conv_seg.kernel[...][0, 0], rtol=1e-5, atol=1e-6)

    def test_kernels_biases_and_no_dropout(self, x):
        head = FCNHead(8, 3, rngs=nnx.Rngs(0), kernel_size=1, classifier_kernel=3, bias=True, dropout=0.0)
        assert head.dropout is None and "convs.0.conv.bias" in names(head)
        assert head.convs[0].conv.kernel.shape == (1, 1, 8, 2) and head.conv_seg.kernel.shape == (3, 3, 2, 3)
        assert head(x).shape == (2, 7, 6, 3)

    @pytest.mark.parametrize("channelwise", [True, False])
    def test_dropout_drops_channels_or_elements_in_training_only(self, channelwise):
        head = FCNHead(32, 32, rngs=nnx.Rngs(0), num_convs=0, dropout=0.5, dropout_channels=channelwise)
        head.conv_seg.kernel.set_value(jnp.eye(32)[None, None])
        ones = jnp.ones((1, 6, 6, 32))
        dropped = np.asarray(head(ones))[0] == 0
        assert 0.2 < dropped.mean() < 0.8
        per_channel = dropped.reshape(36, 32)
        assert np.all(per_channel == per_channel[0]) == channelwise
        np.testing.assert_array_equal(evaluated(head)(ones), ones)


class TestPyramidPooling:
    def test_a_branch_sees_the_mean_of_each_bin(self, x):
        means = pyramid(x, (1, 2), (lambda y: y, lambda y: 10 * y), True)
        np.testing.assert_allclose(means[0], jnp.broadcast_to(x.mean((1, 2), keepdims=True), x.shape), rtol=1e-5)
        corner = 10 * x[:, :4, :3].mean((1, 2))  # 7 rows: PyTorch's bins share the middle one
        np.testing.assert_allclose(means[1][:, 0, 0], corner, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("first", [True, False])
    def test_concatenation_keeps_the_input_first_or_last(self, x, first):
        pool = evaluated(PyramidPooling(8, 2, rngs=nnx.Rngs(0), input_first=first))
        y = pool(x)
        assert y.shape == (2, 7, 6, pool.out_channels) == (2, 7, 6, 16)
        np.testing.assert_array_equal(y[..., :8] if first else y[..., 8:], x)
        single = y[..., 8:10] if first else y[..., :2]
        np.testing.assert_array_equal(single, jnp.broadcast_to(single[:, :1, :1], single.shape))

    def test_align_corners_changes_the_branches(self, x):
        one, other = (
            evaluated(PyramidPooling(8, 2, rngs=nnx.Rngs(0), align_corners=align))(x) for align in (True, False)
        )
        assert float(jnp.abs(one - other).max()) > 1e-3

    def test_without_normalisation_of_a_single_bin_its_convolution_has_a_bias(self, x):
        pool = PyramidPooling(8, 2, rngs=nnx.Rngs(0), norm_single=False)
        assert {"convs.0.kernel", "convs.0.bias", "convs.1.conv.kernel", "convs.1.bn.scale"} <= names(pool)
        assert float(evaluated(pool)(x)[..., 8:].min()) >= 0

    def test_keeps_bfloat16(self, x):
        pool = evaluated(PyramidPooling(8, 2, rngs=nnx.Rngs(0), dtype=jnp.bfloat16))
        assert pool(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


class TestASPP:
    @pytest.mark.parametrize("pool_first", [True, False])
    def test_order_of_the_concatenation(self, x, pool_first):
        aspp = evaluated(ASPP(8, 4, rngs=nnx.Rngs(0), rates=(1, 2), pool_first=pool_first, project_kernel=None))
        y = aspp(x)
        assert y.shape == (2, 7, 6, 16) and aspp.out_channels == 16
        parts = [aspp.convs[0](x), aspp.convs[1](x), aspp.convs[2](x)]
        whole = jnp.broadcast_to(aspp.pool(jnp.mean(x, (1, 2), keepdims=True)), parts[0].shape)
        expected = [whole, *parts] if pool_first else [*parts, whole]
        np.testing.assert_allclose(y, jnp.concatenate(expected, -1), rtol=1e-5, atol=1e-6)

    def test_rates_dilate_and_the_size_stays(self, x):
        aspp = ASPP(8, 4, rngs=nnx.Rngs(0), rates=(6, 12, 18))
        assert [(conv.conv.dilation, conv.conv.padding) for conv in aspp.convs] == [(1, 0), (6, 6), (12, 12), (18, 18)]
        assert aspp(x).shape == (2, 7, 6, 4)

    def test_projection_and_dropout(self, x):
        aspp = ASPP(8, 4, rngs=nnx.Rngs(0), project_kernel=3, dropout=0.5, dropout_channels=True)
        assert aspp.project.conv.kernel.shape == (3, 3, 20, 4) and aspp.out_channels == 4
        training = aspp(x)
        assert bool(jnp.any(jnp.all(training == 0, (1, 2))))
        assert not np.array_equal(evaluated(aspp)(x), training)

    @pytest.mark.parametrize("kind,norms", [("norm", 3), ("plain", 0)])
    def test_separable_convolutions(self, x, kind, norms):
        aspp = ASPP(8, 4, rngs=nnx.Rngs(0), separable=kind)
        assert sum(".depthwise.bn.scale" in name for name in names(aspp)) == norms
        assert sum(".pointwise.bn.scale" in name for name in names(aspp)) == 3
        assert names(aspp) >= {"convs.0.conv.kernel", "pool.conv.kernel", "project.bn.bias"}
        assert aspp(x).shape == (2, 7, 6, 4)

    def test_unknown_kind_of_separable_convolution_is_an_error(self):
        with pytest.raises(CsstError, match="norm, plain"):
            SeparableConv(8, 4, rngs=nnx.Rngs(0), kind="deep")

    def test_computes_in_bfloat16_with_float32_parameters(self, x):
        aspp = evaluated(ASPP(8, 4, rngs=nnx.Rngs(0), separable="norm", dtype=jnp.bfloat16))
        assert aspp(x).dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(aspp, nnx.Param))} == {jnp.dtype(jnp.float32)}
