"""Enforces the array shapes and dtypes of jaxtyping annotations while tests run.

pyproject.toml gives `checked` to jaxtyping's pytest plugin (`--jaxtyping-packages`), which wraps every function of
csst_jax with it. beartype itself is not named there, for it would check all other annotations as well, and abstract
evaluation breaks those: a dict of arrays may hold shapes instead. jaxtyping leaves out, without a word, annotations
whose names are imported `if TYPE_CHECKING`; layering_test.py sees to it that none are.

Functions without a shape are left as they are: wrapping takes milliseconds, in functions of functions each time, and a
wrapped one compares nothing. That was a sixth of the time in which tests trace networks.
"""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import beartype
import jaxtyping

if TYPE_CHECKING:
    from collections.abc import Callable


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `function` so that arguments and result are checked against those of its annotations that hold a shape."""
    annotations = function.__annotations__.items()
    function.__annotations__ = {name: hint if _holds_shape(hint) else Any for name, hint in annotations}
    return beartype.beartype(function)


def _holds_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        # tf.Tensor does not know its shape while tf.data traces a function.
        return not getattr(hint.array_type, "__module__", "").startswith("tensorflow")
    return any(_holds_shape(part) for part in get_args(hint))


_jaxtyped = jaxtyping.jaxtyped
_found: dict[tuple[str, types.CodeType], bool] = {}


def _has_shapes(function: types.FunctionType) -> bool:
    """Whether jaxtyping would find a shape; a function in a function is another one at each call, of the same code."""
    key = function.__module__, function.__code__
    if key not in _found:
        hints = function.__annotations__.values()
        _found[key] = any(_holds_shape(_evaluated(hint, function.__globals__)) for hint in hints)
    return _found[key]


def _evaluated(hint: Any, names: dict[str, Any]) -> Any:
    """As jaxtyping does it: what cannot be evaluated is Any."""
    holder = types.SimpleNamespace(__annotations__={"value": hint})
    try:
        return get_type_hints(holder, names, include_extras=True)["value"]
    except Exception:
        return Any


def _jaxtyped_where_there_are_shapes(*things: Any, **how: Any) -> Any:
    """In place of `jaxtyping.jaxtyped`, which its import hook writes above every function."""
    if things:
        return _jaxtyped(*things, **how)
    wrap = _jaxtyped(**how)
    return lambda thing: thing if inspect.isfunction(thing) and not _has_shapes(thing) else wrap(thing)


jaxtyping.jaxtyped = _jaxtyped_where_there_are_shapes
