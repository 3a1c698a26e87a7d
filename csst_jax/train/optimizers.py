"""Optimizers by name, with factors on learning rate and weight decay by parameter name.

The learning rate is an argument of `update`, never a constant of the program: see docs/adr/0001. docs/extending.md adds
an optimizer.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Any, Protocol

import jax
import optax

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHOWN = 6
"""Parameter names that an error shows."""


class Optimizer(Protocol):
    """The settings of an optimizer: a frozen dataclass, whose fields are those of its block `optimizer.<name>`."""

    @property
    def weight_decay(self) -> float:
        """At least 0."""

    def links(self, decay: optax.GradientTransformation) -> tuple[optax.GradientTransformation, ...]:
        """What comes before the learning rate; `decay` adds the decayed parameters."""


@dataclasses.dataclass(frozen=True)
class Rule:
    r"""A factor for the parameters whose names match; of several rules, the first that matches counts.

    `Rule("^backbone", 0.1)` as a rate factor trains the backbone ten times slower. `Rule(r"\.(bias|scale)$", 0)` as a
    decay factor spares biases and normalisations.

    Attributes:
      pattern: regular expression, searched for (`re.search`) in a parameter's full dotted name, such as
        `backbone.layer1.0.conv1.kernel`.
      factor: finite, at least 0. A learning rate times 0 leaves the parameter as it is; running statistics still move.

    Raises:
      CsstError: the pattern is no regular expression, or the factor is negative or not finite.
    """

    pattern: str
    factor: float

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise CsstError(f"rule {self.pattern!r}: not a regular expression ({error}).") from error
        if not (math.isfinite(self.factor) and self.factor >= 0):
            raise CsstError(f"rule {self.pattern!r}: factor {self.factor} is not a finite number of at least 0.")


@dataclasses.dataclass(frozen=True)
class Sgd:
    """SGD with momentum as the paper's (§4.2); decay is added to the gradient before the momentum, as in PyTorch.

    v = momentum * v + (gradient + weight_decay * p); p = p - learning_rate * v. The state is one array a parameter.

    Attributes:
      momentum: share of the velocity v that a step keeps, 0 to below 1.
      weight_decay: factor on the parameters, at least 0.

    Raises:
      CsstError: a number is out of range.
    """

    momentum: float
    weight_decay: float

    def __post_init__(self) -> None:
        _check_share("sgd", momentum=self.momentum)
        _check_positive("sgd", weight_decay=self.weight_decay)

    def links(self, decay: optax.GradientTransformation) -> tuple[optax.GradientTransformation, ...]:
        """What comes before the learning rate; `decay` adds the decayed parameters."""
        return decay, optax.trace(decay=self.momentum)


@dataclasses.dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101), as `torch.optim.AdamW`.

    p = p - learning_rate * (m / (sqrt(v) + eps) + weight_decay * p), where m and v are the gradient's bias-corrected
    moments. The state is two arrays a parameter, and an int32 count of updates.

    Attributes:
      b1: share of the first moment that a step keeps, 0 to below 1.
      b2: share of the second moment that a step keeps, 0 to below 1.
      eps: added to the root of the second moment v; above 0, since v may be 0.
      weight_decay: factor on the parameters, at least 0.

    Raises:
      CsstError: a number is out of range.
    """

    b1: float
    b2: float
    eps: float
    weight_decay: float

    def __post_init__(self) -> None:
        _check_share("adamw", b1=self.b1, b2=self.b2)
        _check_positive("adamw", weight_decay=self.weight_decay)
        if not (math.isfinite(self.eps) and self.eps > 0):
            raise CsstError(f"adamw: eps={self.eps} is not a finite number above 0.")

    def links(self, decay: optax.GradientTransformation) -> tuple[optax.GradientTransformation, ...]:
        """What comes before the learning rate; `decay` adds the decayed parameters."""
        return optax.scale_by_adam(self.b1, self.b2, self.eps), decay


def make(
    settings: Optimizer, names: Iterable[str], rate_factors: Sequence[Rule] = (), decay_factors: Sequence[Rule] = ()
) -> optax.GradientTransformationExtraArgs:
    """The optimizer of some parameters.

    Args:
      settings: which one, and its numbers.
      names: dotted names of the parameters; a dict of them will do.
      rate_factors: rules for the learning rate; a parameter that none matches has factor 1.
      decay_factors: the same for the weight decay.

    Returns:
      A gradient transformation for flat `{dotted name: float32 array}` dicts of exactly these names. Its `update` takes
      `params`, and `learning_rate` (float32 scalar) as an extra argument. Its state holds arrays of the parameters'
      shapes and scalars alone. Without rules the program is that of plain optax.

    Raises:
      CsstError: a rule matches no parameter.
    """
    names = list(names)
    decay = _decay(settings.weight_decay, _factors(names, decay_factors, "weight decay"))
    return optax.chain(*settings.links(decay), _given_rate(_factors(names, rate_factors, "learning rate")))


def _factors(names: list[str], rules: Sequence[Rule], of: str) -> dict[str, float] | None:
    """The factor of each parameter; None without rules."""
    for rule in rules:
        if not any(re.search(rule.pattern, name) for name in names):
            shown = ", ".join(names[:: max(1, len(names) // _SHOWN)][:_SHOWN])
            raise CsstError(
                f"the rule {rule.pattern!r} × {rule.factor} for the {of} matches none of the {len(names)} parameters; "
                f"their names are like {shown}."
            )
    if not rules:
        return None
    return {name: next((r.factor for r in rules if re.search(r.pattern, name)), 1.0) for name in names}


def _decay(weight_decay: float, factors: dict[str, float] | None) -> optax.GradientTransformation:
    if factors is None:
        return optax.add_decayed_weights(weight_decay)

    def add(update: jax.Array, param: jax.Array, factor: float) -> jax.Array:
        # XLA may not drop x * 0, which is not 0 where x is not finite.
        return update + weight_decay * factor * param if weight_decay * factor else update

    return optax.stateless(lambda updates, params: jax.tree.map(add, updates, params, factors))


def _given_rate(factors: dict[str, float] | None) -> optax.GradientTransformationExtraArgs:
    def update(updates: Any, state: Any, params: Any = None, *, learning_rate: jax.Array, **_: Any) -> tuple[Any, Any]:
        del params
        if factors is None:  # not a factor of 1: the compiled programs of runs without rules stay the same
            return jax.tree.map(lambda u: -learning_rate * u, updates), state
        return jax.tree.map(lambda u, factor: -learning_rate * factor * u, updates, factors), state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)


def _check_share(of: str, **numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 <= number < 1:
            raise CsstError(f"{of}: {name}={number} is not in 0 ≤ {name} < 1.")


def _check_positive(of: str, **numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number >= 0):
            raise CsstError(f"{of}: {name}={number} is not a finite number of at least 0.")
