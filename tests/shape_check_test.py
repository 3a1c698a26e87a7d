"""Shapes are enforced in functions that have some, however deep, and others are left as they are."""

import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jaxtyping import Float

from csst_jax.losses import cross_entropy
from tests import shape_check

hooked = jaxtyping.jaxtyped(typechecker=shape_check.checked)


def made():
    """A function in a function, whose annotations are text, as after `from __future__ import annotations`."""

    @hooked
    def inner(x: 'Float[np.ndarray, "a b"]', y: "dict[str, int]"):  # noqa: F722
        return x, y

    return inner


def test_a_shape_that_is_not_the_annotations_is_an_error_and_the_rest_is_not_looked_at():
    for inner in (made(), made()):  # the same code, another function
        inner(np.zeros((2, 3)), "no dict")
        with pytest.raises(jaxtyping.TypeCheckError):
            inner(np.zeros(3), {})


def test_a_function_without_shapes_is_the_function_itself():
    def plain(x: "dict[str, int]", y: "Unknown" = 0):  # noqa: F821
        return x, y

    assert hooked(plain) is plain


def test_the_package_is_hooked():
    with pytest.raises(jaxtyping.TypeCheckError):
        cross_entropy.cross_entropy(jnp.zeros((1, 2, 3)), jnp.zeros((1, 3), jnp.int32))
