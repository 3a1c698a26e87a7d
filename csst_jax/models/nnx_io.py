"""The only place that takes NNX modules apart and puts them together; everything else sees flat dicts of arrays."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from csst_jax.models.layers import BatchNorm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from csst_jax.models.perturbation import Perturb


Arrays = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Network:
    """A network as pure functions of flat `{dotted name: array}` dicts.

    Attributes:
      params: shapes and dtypes (or values) of the trainable parameters.
      batch_stats: those of the running statistics.
      aux_weights: of the auxiliary heads' losses, where the network's reference gives its own (pairs in `aux_weights`
        of the module).
      perturbable: whether the module's `__call__` takes `perturb`.
    """

    _train_def: Any
    _eval_def: Any
    _rng_state: Any
    params: Arrays
    batch_stats: Arrays
    aux_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    perturbable: bool = False

    def apply_train(
        self,
        params: Arrays,
        batch_stats: Arrays,
        images: Float[Array, "b h w c"],
        key: Array,
        perturb: Perturb | None = None,
    ) -> tuple[Any, Arrays]:
        """The network in training mode: batch statistics, dropout drawn from `key`.

        Args:
          params: by dotted name.
          batch_stats: likewise.
          images: normalised; features for a method's own module.
          key: for the network's dropout.
          perturb: of the features between encoder and decoder; outputs have the batch that it gives.

        Returns:
          The network's outputs (`logits`, `aux`, `features`) and the new running statistics.
        """
        rng_state = _rekey(self._rng_state, key)
        model = nnx.merge(self._train_def, _nested(params), _nested(batch_stats), rng_state, copy=True)
        outputs = model(images) if perturb is None else model(images, perturb)
        _, _, stats, _ = _split(model)
        return outputs, _flat(stats)

    def batch_statistics(
        self, params: Arrays, batch_stats: Arrays, images: Float[Array, "b h w c"], key: Array
    ) -> Arrays:
        """The statistics of this batch alone in every batch normalisation, in training mode.

        Args:
          params: by dotted name.
          batch_stats: likewise; close to the result, or digits are lost (`layers.BatchNorm`).
          images: normalised.
          key: for the network's dropout.

        Returns:
          Mean and unbiased variance, under the names of the running statistics.
        """
        rng_state = _rekey(self._rng_state, key)
        model = nnx.merge(self._train_def, _nested(params), _nested(batch_stats), rng_state, copy=True)
        for _, module in nnx.iter_graph(model):
            if isinstance(module, BatchNorm):
                module.momentum = 1.0
        model(images)
        _, _, stats, _ = _split(model)
        return _flat(stats)

    def finite_outputs(self, params: Arrays, batch_stats: Arrays, images: Array, key: Array) -> dict[str, Array]:
        """Whether each module's output in training mode is finite, by its dotted name, in the order of computation."""
        model = nnx.merge(
            self._train_def, _nested(params), _nested(batch_stats), _rekey(self._rng_state, key), copy=True
        )
        modules = [(path, module) for path, module in nnx.iter_graph(model) if isinstance(module, nnx.Module)]
        for _, module in modules:
            if hasattr(module, "remat"):  # nothing is differentiated, and nnx.remat would call copies, without names
                module.remat = False
        names = {id(module): ".".join(map(str, path)) or "the network" for path, module in modules}
        found: dict[str, Array] = {}

        def observed(call: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(module: nnx.Module, *args: Any, **kwargs: Any) -> Any:
                outputs = call(module, *args, **kwargs)
                if id(module) not in names:  # of a step that another thread compiles
                    return outputs
                finite = [jax.numpy.isfinite(leaf).all() for leaf in jax.tree.leaves(outputs)]
                found[names[id(module)]] = jax.numpy.stack(finite).all()
                return outputs

            return wrapper

        calls = {kind: kind.__call__ for kind in {type(module) for _, module in modules} if "__call__" in vars(kind)}
        try:
            for kind, call in calls.items():
                setattr(kind, "__call__", observed(call))  # noqa: B010  a method, which mypy guards
            model(images)
        finally:
            for kind, call in calls.items():
                setattr(kind, "__call__", call)  # noqa: B010
        return found

    def apply_eval(
        self, params: Arrays, batch_stats: Arrays, images: Float[Array, "b h w c"], perturb: Perturb | None = None
    ) -> Any:
        """The network in evaluation mode: running statistics, no dropout, no auxiliary heads."""
        model = nnx.merge(self._eval_def, _nested(params), _nested(batch_stats), self._rng_state, copy=True)
        return model(images) if perturb is None else model(images, perturb)

    def on_host(self) -> Network:
        """The same with its values in NumPy arrays, which take no memory of the devices."""
        params, batch_stats = jax.device_get((self.params, self.batch_stats))
        return dataclasses.replace(self, params=params, batch_stats=batch_stats)


def create(build: Callable[..., nnx.Module], seed: int) -> Network:
    """Builds a module from `build(rngs=…)` and returns it as a `Network` with initial values."""
    # The key is an argument, so that all seeds share one compiled program. The module is built once, in its trace.
    found: list[Network] = []

    @jax.jit
    def initial(key: Array) -> tuple[Arrays, Arrays]:
        network = _described(build(rngs=nnx.Rngs(key)))
        found.append(network)
        return network.params, network.batch_stats

    params, stats = initial(jax.random.key(seed))
    return dataclasses.replace(found[0], params=params, batch_stats=stats)


def abstract(build: Callable[..., nnx.Module]) -> Network:
    """As `create`, but `params` and `batch_stats` are shapes: nothing is computed."""

    def module() -> nnx.Module:
        rngs = nnx.Rngs(0)
        # Flax asks a traced counter for its sharding at every draw, and JAX's refusal names where it comes from by a
        # walk over all that was traced so far: quadratic in the number of layers. A number has one. Flax counts it in
        # place, so that all draws would be the same: of no matter here, where nothing is drawn.
        rngs.default.count.set_value(np.zeros((), np.uint32))
        return build(rngs=rngs)

    return _described(nnx.eval_shape(module))


def own_modules(seed: int | None) -> Callable[[int, Callable[..., nnx.Module]], Network]:
    """What makes a method's modules beside a network of that seed, from a number and a builder; see `Parts.own`."""

    def make(number: int, build: Callable[..., nnx.Module]) -> Network:
        # Away from the seeds that users give, and from the second network's.
        return abstract(build) if seed is None else create(build, seed ^ (number << 24))

    return make


def _described(model: nnx.Module) -> Network:
    """The module as a `Network`, with what it holds for parameters and statistics."""
    train_def, params, stats, rng_state = _split(model)
    model.eval()
    eval_def = _split(model)[0]
    # Keys and counters are replaced at each call; concrete zeros let a module be merged outside a trace as well.
    with jax.ensure_compile_time_eval():
        rng_state = jax.tree.map(_zero_rng, rng_state)
    own_weights = dict(getattr(model, "aux_weights", ()))
    perturbable = "perturb" in inspect.signature(type(model).__call__).parameters
    return Network(train_def, eval_def, rng_state, _flat(params), _flat(stats), own_weights, perturbable)


def _split(model: nnx.Module) -> tuple[Any, Any, Any, Any]:
    graph_def, params, *rest = nnx.split(model, nnx.Param, nnx.BatchStat, ...)
    stats, others = rest
    return graph_def, params, stats, others


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _zero_rng(leaf: Any) -> Array:
    return jax.random.key(0) if _is_key(leaf) else jax.numpy.zeros(leaf.shape, leaf.dtype)


def _rekey(rng_state: Any, key: Array) -> Any:
    # Each dropout layer holds a key of its own: fold the leaf's number in, or all layers would draw the same mask.
    leaves, treedef = jax.tree.flatten(rng_state)
    keyed = [jax.random.fold_in(key, i) if _is_key(leaf) else leaf for i, leaf in enumerate(leaves)]
    return jax.tree.unflatten(treedef, keyed)


def _flat(state: Any) -> Arrays:
    return {".".join(str(p) for p in path): leaf for path, leaf in _paths(state)}


def _paths(state: Any) -> list[tuple[tuple[Any, ...], Any]]:
    return [(path, leaf.get_value() if hasattr(leaf, "get_value") else leaf) for path, leaf in nnx.to_flat_state(state)]


def _nested(flat: Arrays) -> dict[Any, Any]:
    nested: dict[Any, Any] = {}
    for name, leaf in flat.items():
        *parents, last = [int(p) if p.isdigit() else p for p in name.split(".")]
        at = nested
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = leaf
    return nested
