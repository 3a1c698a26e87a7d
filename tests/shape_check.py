"""Enforces the array shapes and dtypes of jaxtyping annotations while tests run.

pyproject.toml gives `checked` to jaxtyping's pytest plugin (`--jaxtyping-packages`), which wraps every function of
csst_jax with it. beartype itself is not named there, for it would check all other annotations as well, and abstract
evaluation breaks those: a dict of arrays may hold shapes instead. jaxtyping leaves out, without a word, annotations
whose names are imported `if TYPE_CHECKING`; layering_test.py sees to it that none are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

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
