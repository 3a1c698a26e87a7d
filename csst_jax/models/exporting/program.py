"""A program of JAX's, appended to an ONNX graph.

It is traced in its plain forms (`platforms.traced_portably`), with a symbol for the number of images. What follows from
weights alone is computed here and becomes a constant; everything else goes through `operations.OPERATIONS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from csst_jax.models.exporting.graph import Graph, Tensor, Value
from csst_jax.models.exporting.operations import OPERATIONS
from csst_jax.types import CsstError

_CALLS = {"jit": "jaxpr", "custom_vjp_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}
"""What calls another program -> the parameter that holds it; of functions with their own gradient the plain one."""


def run(graph: Graph, closed: ClosedJaxpr, values: Sequence[Value]) -> list[Value]:
    """Appends a program to a graph.

    Args:
      graph: changed in place.
      closed: the program.
      values: its arguments.

    Returns:
      The program's results.

    Raises:
      CsstError: a primitive that is not in `OPERATIONS`, or a use of one that ONNX does not have.
    """
    jaxpr: Any = closed.jaxpr
    known = dict(zip(jaxpr.constvars, map(np.asarray, closed.consts), strict=True))
    found: dict[Any, Value] = {**known, **dict(zip(jaxpr.invars, values, strict=True))}

    def read(atom: Any) -> Value:
        aval = atom.aval
        return np.asarray(atom.val, aval.dtype) if isinstance(atom, Literal) else found[atom]

    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        name = equation.primitive.name
        if name in _CALLS:
            results = run(graph, equation.params[_CALLS[name]], operands)
        elif name == "broadcast_in_dim":  # known or not: it is only noted
            results = [_broadcast(graph, equation, operands[0])]
        elif name != "dim_as_value" and not any(isinstance(operand, Tensor) for operand in operands):
            results = _known(equation, operands)
        elif name not in OPERATIONS:
            known_names = ", ".join(sorted(OPERATIONS))
            raise CsstError(
                f"export to ONNX has no operation for JAX's {name!r}; add it to csst_jax/models/exporting/operations.py"
                f" (there are: {known_names}), or export with --format=stablehlo."
            )
        else:
            result = OPERATIONS[name](graph, equation, *operands)
            results = result if isinstance(result, list) else [result]
        found.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _known(equation: Any, operands: list[Any]) -> list[Value]:
    full = [np.broadcast_to(value, atom.aval.shape) for value, atom in zip(operands, equation.invars, strict=True)]
    results = equation.primitive.bind(*full, **equation.params)
    return [np.asarray(value) for value in (results if equation.primitive.multiple_results else [results])]


def _broadcast(graph: Graph, equation: Any, value: Value) -> Value:
    shape, places = equation.params["shape"], equation.params["broadcast_dimensions"]
    if not isinstance(value, Tensor):
        return value.reshape([value.shape[places.index(a)] if a in places else 1 for a in range(len(shape))])
    sizes = tuple(value.shape[places.index(a)] if a in places else 1 for a in range(len(shape)))
    added = [axis for axis in range(len(shape)) if axis not in places]
    name = graph.add("Unsqueeze", value.name, graph.integers(*range(len(added))))[0] if added else value.name
    return Tensor(name, (*added, *(places[axis] for axis in value.order)), sizes)
