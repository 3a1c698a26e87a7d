"""Forms of one computation for several platforms, of which only one is traced where the platform is known.

JAX's own choice traces all forms and drops the others when it lowers: a second more at each start of FastSCNN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax.sharding import Mesh

_known = jax.make_user_context(default_value=None)  # part of the key under which JAX keeps what it has traced
_PORTABLE = "portable"  # no platform's name: every computation has its default form


def traced_for(mesh: Mesh) -> Any:
    """A context in which functions are traced for the platform of `mesh` alone."""
    return _known(mesh.devices.flat[0].platform)


def traced_portably() -> Any:
    """A context in which functions are traced in their plain forms, for a converter that reads the program."""
    return _known(_PORTABLE)


def is_portable() -> bool:
    """Whether a converter is to read what is traced now."""
    return _known.value == _PORTABLE


def by_platform(*operands: Any, default: Callable[..., Any], **forms: Callable[..., Any]) -> Any:
    """As `jax.lax.platform_dependent`: the form of the platform that the program is compiled for.

    Args:
      operands: arrays.
      default: the form of platforms that are not named.
      forms: by JAX's name of the platform ("cpu", "tpu", "cuda").
    """
    if _known.value is None:
        return jax.lax.platform_dependent(*operands, default=default, **forms)
    return forms.get(_known.value, default)(*operands)
