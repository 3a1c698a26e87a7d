"""Enforces the array shapes and dtypes of jaxtyping annotations while tests run.

pyproject.toml gives `checked` to jaxtyping's pytest plugin (`--jaxtyping-packages`), which wraps every function of csst_jax with it.
beartype itself cannot be named there: it would want every annotation of every function at run time, also those whose names are
imported `if TYPE_CHECKING`. Here the annotations with a shape are checked, and nothing else.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, get_args

import beartype
import jax
import jaxtyping
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

# What annotations with shapes are made of; modules import these names for the type checker alone.
_NAMES: dict[str, Any] = {name: getattr(jaxtyping, name) for name in dir(jaxtyping) if name[0].isupper()}
_NAMES |= {"Array": jax.Array, "jax": jax, "np": np}


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `function` so that arguments and result are checked against those of its annotations that hold a shape."""
    module = vars(sys.modules[function.__module__])
    shapes = {name: _with_shape(annotation, module) for name, annotation in function.__annotations__.items()}
    if all(annotation is Any for annotation in shapes.values()):
        return function
    function.__annotations__ = shapes
    return beartype.beartype(function)


def _with_shape(annotation: Any, module: dict[str, Any]) -> Any:
    """The annotation itself if it holds the shape of a JAX or numpy array, else Any."""
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, {**_NAMES, **module})
        except NameError:  # imported for the type checker alone, and not an array
            return Any
    return annotation if _holds_shape(annotation) else Any


def _holds_shape(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
        # tf.Tensor knows no shape while tf.data traces a function.
        return not getattr(annotation.array_type, "__module__", "").startswith("tensorflow")
    return any(_holds_shape(part) for part in get_args(annotation))
