"""Methods that train more than the network: modules of their own beside it, and what the encoder gives them to see.

Their arrays are among those that the optimizer trains, each module's under a prefix. They are laid out over devices,
averaged, saved and restored as the network's are. What predicts is the network alone.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from csst_jax.methods.base import Method
from csst_jax.models.ops.resize import resize, resize_nearest
from csst_jax.models.perturbation import Features, Perturb, perturbed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csst_jax.models.nnx_io import Arrays, Network
    from csst_jax.train_state import TrainState

_TRACED_PX = 128


class WithModules(Method):
    """Base of such methods: they override `modules`."""

    def modules(self) -> Mapping[str, Network]:
        """The modules by name, with initial values. Called once; the name and a dot are the prefix of its arrays."""
        raise NotImplementedError

    @functools.cached_property
    def made(self) -> Mapping[str, Network]:
        """What `modules` gave."""
        return self.modules()

    def trained(self) -> tuple[Arrays, Arrays]:
        """The network's arrays, and those of each module under its prefix."""
        params, stats = dict(self.parts.network.params), dict(self.parts.network.batch_stats)
        for name, module in self.made.items():
            params |= prefixed(name, module.params)
            stats |= prefixed(name, module.batch_stats)
        return params, stats

    def predicting(self, state: TrainState) -> tuple[Arrays, Arrays]:
        """Of what predicts otherwise, the network's arrays."""
        params, stats = super().predicting(state)
        return arrays_of(self.parts.network.params, params), arrays_of(self.parts.network.batch_stats, stats)


def prefixed(name: str, arrays: Mapping[str, Array]) -> Arrays:
    """The arrays under a module's prefix."""
    return {f"{name}.{key}": value for key, value in arrays.items()}


def arrays_of(like: Mapping[str, object], arrays: Mapping[str, Array], name: str = "") -> Arrays:
    """The arrays of a module out of all, without its prefix; of the network for the name "".

    Args:
      like: the module's arrays, by its own names.
      arrays: all.
      name: the module's.
    """
    return {key: arrays[f"{name}.{key}" if name else key] for key in like}


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a pass through the network gave.

    Attributes:
      outputs: the network's.
      batch_stats: the new running statistics of the network alone.
      features: all that the encoder gave of the images, by name. With `perturb` the decoder saw changed ones.
    """

    outputs: dict[str, Array]
    batch_stats: Arrays
    features: Features

    @property
    def encoded(self) -> Float[Array, "b p q c"]:
        """The encoder's deepest features, float32: the last of the smallest maps."""
        return self._from_the_deepest()[0].astype(jnp.float32)

    @property
    def hypercolumn(self) -> Float[Array, "b p q d"]:
        """The two deepest maps side by side, the second at the first one's size; float32."""
        first, *others = self._from_the_deepest()
        size = (first.shape[1], first.shape[2])
        return jnp.concatenate([resize(x.astype(jnp.float32), size, True) for x in (first, *others[:1])], -1)

    def _from_the_deepest(self) -> list[Array]:
        """The maps, small ones first; of the same size those that come later first."""
        return sorted(reversed(self.features.values()), key=lambda x: x.shape[1] * x.shape[2])


def seen(
    network: Network,
    params: Arrays,
    batch_stats: Arrays,
    images: Float[Array, "b h w 3"],
    key: Array | None,
    perturb: Perturb | None = None,
) -> Seen:
    """A pass through the network that shows the encoder's features as well.

    Args:
      network: with the seam (`csst_jax.models.perturbation`).
      params: by dotted name; further names are left alone.
      batch_stats: likewise.
      images: normalised.
      key: for the network's dropout; None for a pass in evaluation mode, which leaves the statistics as they are.
      perturb: of the features that the decoder gets; those that are shown are the encoder's.
    """
    found: Features = {}

    def keep(features: Features) -> Features:
        found.update(features)
        return perturbed(features, perturb)

    own, stats = arrays_of(network.params, params), arrays_of(network.batch_stats, batch_stats)
    if key is None:
        outputs = network.apply_eval(own, stats, images, keep)
    else:
        outputs, stats = network.apply_train(own, stats, images, key, keep)
    return Seen(outputs, stats, found)


def resized_mask(mask: Bool[Array, "b h w"], size: tuple[int, int]) -> Bool[Array, "b p q"]:
    """The mask at another size: each position takes one pixel's value."""
    return resize_nearest(mask[..., None].astype(jnp.float32), size)[..., 0] > 0.5


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What a method's own modules are built for.

    Attributes:
      encoded: channels of `Seen.encoded`.
      hypercolumn: channels of `Seen.hypercolumn`.
    """

    encoded: int
    hypercolumn: int


def sizes(network: Network) -> Sizes:
    """Those of a network; found by tracing."""

    def shown(params: Arrays, stats: Arrays, images: Float[Array, "b h w 3"]) -> tuple[Array, Array]:
        found = seen(network, params, stats, images, jax.random.key(0))
        return found.encoded, found.hypercolumn

    images = jax.ShapeDtypeStruct((2, _TRACED_PX, _TRACED_PX, 3), jnp.float32)
    found = jax.eval_shape(shown, network.params, network.batch_stats, images)
    return Sizes(*(x.shape[-1] for x in found))
