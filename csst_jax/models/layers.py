"""The layers whose numbers matter: convolution, linear layer, normalisations, dropout.

Conventions are PyTorch's where networks' published numbers depend on them (facts: `docs/adr/0002-own-layers.md`):
explicit integer padding, running statistics with momentum 0.1 and unbiased variance. Layouts are JAX's: images are
`b h w c`, kernels `h w i o`. Each layer takes the compute dtype; parameters and statistics are float32.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.ops.batch_statistics import normalise, normalise_by_batch
from csst_jax.models.ops.convolution import Padding, Pair, conv2d, output_blocks
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from jax.typing import DTypeLike


class Conv(nnx.Module):
    """Convolution with symmetric integer padding; biases start at zero.

    Weights are drawn as He et al. have it (fan out, ReLU), or with the standard deviation `init_std`: a classifier
    wants small ones, so that training starts from even probabilities and not from confident noise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        rngs: nnx.Rngs,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        init_std: float | None = None,
        dtype: DTypeLike = jnp.float32,
    ):
        shape = (kernel_size, kernel_size, in_channels // groups, out_channels)
        if init_std is None:
            init_std = math.sqrt(2.0 / (kernel_size * kernel_size * out_channels / groups))
        self.kernel = nnx.Param(init_std * jax.random.normal(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((out_channels,), jnp.float32)) if bias else None
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.dtype = dtype

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q o"]:
        """Input in any float dtype; output in the compute dtype."""
        y = conv2d(x.astype(self.dtype), self.kernel[...].astype(self.dtype), *self._how(x))
        return y if self.bias is None else y + self.bias[...].astype(self.dtype)

    def output_blocks(self, x: Float[Array, "b h w c"]) -> int:
        """Side of the blocks that the output comes in on TPU."""
        return output_blocks(x.shape, self.kernel.shape, *self._how(x)) or 1

    def _how(self, x: Array) -> tuple[Pair, Padding, Pair, int]:
        padding = (self.zeros(x.shape[1]), self.zeros(x.shape[2]))
        return (self.stride, self.stride), padding, (self.dilation, self.dilation), self.groups

    def zeros(self, length: int) -> tuple[int, int]:
        """How many zeros go before and after a side of `length` pixels."""
        return self.padding, self.padding


class OneValueError(CsstError):
    """A layer would normalise one value a channel by its own statistics, which makes zero of every value."""


class BatchNorm(nnx.Module):
    """Batch normalisation over the global batch (paper §4.2: synchronised batch normalisation).

    Under `jit` on a batch that is sharded over devices the sums below are sums over all of it, so statistics are those
    of one device holding everything. Statistics are float32 whatever the compute dtype; the running variance is the
    unbiased one and moves by `momentum` towards the batch's, as in PyTorch.
    """

    def __init__(self, channels: int, *, rngs: nnx.Rngs, momentum: float = 0.1, epsilon: float = 1e-5):
        del rngs  # nothing is drawn; kept so that all layers are built alike
        self.scale = nnx.Param(jnp.ones((channels,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros((channels,), jnp.float32))
        self.var = nnx.BatchStat(jnp.ones((channels,), jnp.float32))
        self.momentum, self.epsilon = momentum, epsilon
        self.use_running_average = False

    def __call__(self, x: Float[Array, "b h w c"], relu: bool = False, side: int = 1) -> Float[Array, "b h w c"]:
        """Normalises per channel and, if told, cuts off at zero; keeps the input's dtype.

        In training mode the running statistics move. `side` is `Conv.output_blocks` of the convolution before.

        Raises:
          OneValueError: in training mode, of a batch with one value a channel: one crop, pooled to one pixel.
        """
        scale, bias, mean, var = (jnp.asarray(v[...]) for v in (self.scale, self.bias, self.mean, self.var))
        if self.use_running_average:
            return normalise(x, mean, var, scale, bias, self.epsilon, relu, side)
        count = x.size // x.shape[-1]
        if count == 1:  # PyTorch refuses it, too; the running variance would go to 0
            raise OneValueError("batch normalisation of one value a channel; give it a larger batch, or larger crops.")
        # The running mean is close to the batch's: see `batch_statistics`.
        y, (batch_mean, batch_var) = normalise_by_batch(x, scale, bias, mean, self.epsilon, relu, side)
        unbiased = batch_var * (count / (count - 1))
        # Not `self.mean[...] +=`: given an index, NNX asks the tracer for its sharding, and JAX's refusal takes the
        # longer the larger the program is: most of the tracing of a deep network.
        self.mean.set_value(mean + self.momentum * (batch_mean - mean))
        self.var.set_value(var + self.momentum * (unbiased - var))
        return y


class GroupNorm(nnx.Module):
    """Normalisation of each image over groups of channels (Wu and He, arXiv:1803.08494), as PyTorch's `GroupNorm`.

    It has no running statistics: training and evaluation are the same. Statistics are float32 whatever the dtype.
    """

    def __init__(self, channels: int, groups: int, *, rngs: nnx.Rngs, epsilon: float = 1e-5):
        del rngs  # nothing is drawn; kept so that all layers are built alike
        self.scale = nnx.Param(jnp.ones((channels,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))
        self.groups, self.epsilon = groups, epsilon

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Of the input's dtype."""
        b, h, w, c = x.shape
        y = x.astype(jnp.float32).reshape(b, h, w, self.groups, c // self.groups)
        mean = jnp.mean(y, (1, 2, 4), keepdims=True)
        # Of the differences: the mean of the squares less the square of the mean would lose digits.
        var = jnp.mean(jnp.square(y - mean), (1, 2, 4), keepdims=True)
        y = ((y - mean) * jax.lax.rsqrt(var + self.epsilon)).reshape(b, h, w, c)
        return (y * self.scale[...] + self.bias[...]).astype(x.dtype)


class LayerNorm(nnx.Module):
    """Normalisation of each position over its channels (Ba et al., arXiv:1607.06450), as PyTorch's `LayerNorm`.

    Statistics are float32 whatever the dtype. The default of `epsilon` is that of vision transformers.
    """

    def __init__(self, channels: int, *, rngs: nnx.Rngs, epsilon: float = 1e-6):
        del rngs  # nothing is drawn; kept so that all layers are built alike
        self.scale = nnx.Param(jnp.ones((channels,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        """Of the input's dtype."""
        y = x.astype(jnp.float32)
        y = y - jnp.mean(y, -1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.mean(jnp.square(y), -1, keepdims=True) + self.epsilon)
        return (y * self.scale[...] + self.bias[...]).astype(x.dtype)


class Linear(nnx.Module):
    """Product with a matrix, and a bias that starts at zero; weights are normal of deviation `init_std`."""

    def __init__(
        self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs, init_std: float, dtype: DTypeLike = jnp.float32
    ):
        shape = (in_channels, out_channels)
        self.kernel = nnx.Param(init_std * jax.random.normal(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((out_channels,), jnp.float32))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b o"]:
        """Input in any float dtype; output in the compute dtype."""
        y = jnp.matmul(x.astype(self.dtype), self.kernel[...].astype(self.dtype))
        return y + self.bias[...].astype(self.dtype)


def fan_in_std(in_channels: int, kernel_size: int = 1, gain: float = 2.0) -> float:
    """Deviation of He's initial weights by fan-in: root of `gain` over the inputs that a sum has.

    A gain of 2 is for a ReLU behind; 1/3 is what PyTorch's convolutions have by default (uniform, of that deviation).
    """
    return math.sqrt(gain / (kernel_size * kernel_size * in_channels))


class Classifier(Conv):
    """1x1 convolution with bias to the classes' logits; weights start at a deviation of 0.01 (mmsegmentation's)."""

    def __init__(self, in_channels: int, num_classes: int, *, rngs: nnx.Rngs, dtype: DTypeLike = jnp.float32):
        super().__init__(in_channels, num_classes, 1, rngs=rngs, bias=True, init_std=0.01, dtype=dtype)


class ConvBN(nnx.Module):
    """Convolution, batch normalisation and, unless told otherwise, ReLU. By default without a bias, and of stride 1.

    `padding=None` stands for dilation * (kernel_size - 1) / 2, which keeps the size at stride 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        rngs: nnx.Rngs,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        relu: bool = True,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        init_std: float | None = None,
        dtype: DTypeLike = jnp.float32,
    ):
        self.conv = Conv(
            in_channels,
            out_channels,
            kernel_size,
            rngs=rngs,
            stride=stride,
            padding=dilation * (kernel_size - 1) // 2 if padding is None else padding,
            dilation=dilation,
            groups=groups,
            bias=bias,
            init_std=init_std,
            dtype=dtype,
        )
        self.bn = BatchNorm(out_channels, rngs=rngs, momentum=momentum, epsilon=epsilon)
        self.relu = relu

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q o"]:
        """Output in the compute dtype."""
        return self.bn(self.conv(x), self.relu, self.conv.output_blocks(x))


class Dropout(nnx.Module):
    """Dropout of single elements, or of whole channels; the key comes with `nnx_io.apply_train`.

    A step's draw then depends on the step alone. Not `nnx.Dropout`: it draws 32 random bits an element, which took a
    twentieth of FastSCNN's step on CPU. Of 16, the rate is exact to 1/65536.
    """

    def __init__(self, rate: float, *, rngs: nnx.Rngs, channels: bool = False):
        self.rate, self.channels = rate, channels
        self.rngs = rngs["dropout"].fork()
        self.deterministic = False

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Zeroes elements (or channels of an image) with the layer's rate in training mode; else the identity."""
        if self.deterministic or self.rate == 0:
            return x
        shape = (x.shape[0], 1, 1, x.shape[3]) if self.channels else x.shape
        kept = jax.random.bits(self.rngs(), shape, jnp.uint16) >= round(self.rate * 2**16)
        return jnp.where(kept, x / (1.0 - self.rate), 0.0)
