"""JAX's primitives as ONNX's operators: those that our networks' programs in evaluation mode consist of."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from csst_jax.models.exporting.graph import Graph, Size, Tensor, Value
from csst_jax.models.ops.resize import BILINEAR
from csst_jax.types import CsstError

_Operation: TypeAlias = Callable[..., Any]
_KINDS = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9}  # TensorProto.DataType


def _shape(equation: Any) -> tuple[Size, ...]:
    return tuple(equation.outvars[0].aval.shape)


def _in_order(equation: Any, name: str) -> Tensor:
    """A new tensor of the equation's shape whose axes lie as JAX has them."""
    shape = _shape(equation)
    return Tensor(name, tuple(range(len(shape))), shape)


def _whole(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    """The first operand, written out."""
    whole = graph.whole(x, tuple(equation.invars[0].aval.shape))
    assert isinstance(whole, Tensor)
    return whole


def _is_one(size: Size) -> bool:
    return isinstance(size, int) and size == 1


def _by_element(op: str, graph: Graph, equation: Any, *values: Value) -> Tensor:
    """All operands in the order of the largest tensor's axes; ONNX repeats along axes of size 1 by itself."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    order = max(tensors, key=lambda tensor: sum(not _is_one(size) for size in tensor.shape)).order
    # Constants last where the order is of no matter: behind a convolution they become part of it.
    if op in ("Add", "Mul", "Max", "Min"):
        values = tuple(sorted(values, key=lambda value: not isinstance(value, Tensor)))
    names = [graph.ordered(value, order) for value in values]
    if op == "Max" and isinstance(values[1], np.ndarray) and not values[1].any():
        op, names = "Relu", names[:1]
    shapes = [value.shape for value in values if len(value.shape) == len(order)]
    sizes = [[size for size in along if not _is_one(size)] for along in zip(*shapes, strict=True)]
    return Tensor(graph.add(op, *names)[0], order, tuple(size[0] if size else 1 for size in sizes))


def _same(graph: Graph, equation: Any, *values: Value) -> list[Value]:
    del graph, equation
    return list(values)


def _square(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    return _by_element("Mul", graph, equation, x, x)


def _rsqrt(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    return _by_element("Reciprocal", graph, equation, _by_element("Sqrt", graph, equation, x))


def _convert(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    wanted = np.dtype(equation.params["new_dtype"])
    if equation.invars[0].aval.dtype == wanted:
        return x
    return Tensor(graph.add("Cast", x.name, to=_KINDS[wanted.name])[0], x.order, x.shape)


def _reshape(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    name = graph.plain(x, tuple(equation.invars[0].aval.shape))
    return _in_order(equation, graph.reshape(name, _shape(equation)))


def _transpose(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    del graph
    axes = equation.params["permutation"]
    return Tensor(x.name, tuple(axes.index(axis) for axis in x.order), tuple(x.shape[axis] for axis in axes))


def _reduce(op: str, graph: Graph, equation: Any, x: Tensor) -> Tensor:
    x = _whole(graph, equation, x)
    axes = equation.params["axes"]
    left = [axis for axis in range(len(x.order)) if axis not in axes]
    name = graph.add(op, x.name, graph.integers(*(x.stored(axis) for axis in axes)), keepdims=0)[0]
    return Tensor(name, tuple(left.index(axis) for axis in x.order if axis in left), _shape(equation))


def _argmax(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    x = _whole(graph, equation, x)
    (axis,) = equation.params["axes"]
    name = graph.add("ArgMax", x.name, axis=x.stored(axis), keepdims=0)[0]
    kind = _KINDS[np.dtype(equation.params["index_dtype"]).name]
    order = tuple(other - (other > axis) for other in x.order if other != axis)
    return Tensor(graph.add("Cast", name, to=kind)[0], order, _shape(equation))


def _concatenate(graph: Graph, equation: Any, *values: Value) -> Tensor:
    shapes = [tuple(atom.aval.shape) for atom in equation.invars]
    order = next(value for value in values if isinstance(value, Tensor)).order
    names = [graph.ordered(graph.whole(v, shape), order) for v, shape in zip(values, shapes, strict=True)]
    axis = order.index(equation.params["dimension"])
    return Tensor(graph.add("Concat", *names, axis=axis)[0], order, _shape(equation))


def _split(graph: Graph, equation: Any, x: Tensor) -> list[Tensor]:
    x = _whole(graph, equation, x)
    sizes, axis = equation.params["sizes"], x.stored(equation.params["axis"])
    names = graph.add("Split", x.name, graph.integers(*sizes), outputs=len(sizes), axis=axis)
    return [Tensor(n, x.order, tuple(var.aval.shape)) for n, var in zip(names, equation.outvars, strict=True)]


def _cut(graph: Graph, x: Tensor, ranges: dict[int, tuple[int, int, int]], shape: tuple[Size, ...]) -> Tensor:
    """Of each axis of `ranges` the positions from, below, by steps of."""
    if not ranges:
        return x
    columns = [*zip(*ranges.values(), strict=True)]
    lists = [*columns[:2], [x.stored(axis) for axis in ranges], columns[2]]
    return Tensor(graph.add("Slice", x.name, *(graph.integers(*numbers) for numbers in lists))[0], x.order, shape)


def _slice(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    shape, p = tuple(equation.invars[0].aval.shape), equation.params
    steps = p["strides"] or [1] * len(shape)
    ranges = {axis: found for axis, found in enumerate(zip(p["start_indices"], p["limit_indices"], steps, strict=True))}
    ranges = {axis: found for axis, found in ranges.items() if found != (0, shape[axis], 1)}
    return _cut(graph, _whole(graph, equation, x), ranges, _shape(equation))


def _reverse(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    back = (-1, np.iinfo(np.int64).min, -1)
    return _cut(graph, x, dict.fromkeys(equation.params["dimensions"], back), x.shape)


def _gather(graph: Graph, equation: Any, x: Value, places: Value) -> Tensor:
    """At fixed positions: what `jnp.take` becomes, rows along one axis, or a slice, where the batch is a symbol."""
    shape, numbers = tuple(equation.invars[0].aval.shape), equation.params["dimension_numbers"]
    axes, sizes = numbers.start_index_map, equation.params["slice_sizes"]
    if not isinstance(x, Tensor) or isinstance(places, Tensor) or numbers.operand_batching_dims:
        raise CsstError(f"export to ONNX: features can be gathered at fixed positions alone: {equation}")
    x, places = _whole(graph, equation, x), np.broadcast_to(places, equation.invars[1].aval.shape)
    if places.ndim == 1:
        ranges = {axis: (start, start + sizes[axis], 1) for axis, start in zip(axes, places.tolist(), strict=True)}
        part = _cut(graph, x, ranges, tuple(sizes))
        if not numbers.collapsed_slice_dims:
            return part
        return _in_order(equation, graph.reshape(graph.plain(part, part.shape), _shape(equation)))
    rows = len(axes) == 1 and all(sizes[axis] == (1 if axis in axes else shape[axis]) for axis in range(len(shape)))
    if not rows or numbers.collapsed_slice_dims != axes or places.ndim != 2:
        raise CsstError(f"export to ONNX: rows along one axis, or a slice, can be gathered: {equation}")
    (axis,) = axes
    name = graph.add("Gather", x.name, graph.integers(*places[:, 0].tolist()), axis=x.stored(axis))[0]
    return Tensor(name, x.order, _shape(equation))


def _convolution(graph: Graph, equation: Any, x: Value, kernel: Value) -> Tensor:
    p = equation.params
    numbers, pads = p["dimension_numbers"], p["padding"]
    if any(factor != 1 for factor in p["lhs_dilation"]) or p["batch_group_count"] != 1:
        raise CsstError(
            "export to ONNX: convolutions with input dilation (transposed convolutions) or batch groups are not "
            f"supported: {equation}"
        )
    shapes = [tuple(atom.aval.shape) for atom in equation.invars]
    whole = [graph.whole(value, shape) for value, shape in zip((x, kernel), shapes, strict=True)]
    names = [graph.ordered(v, spec) for v, spec in zip(whole, (numbers.lhs_spec, numbers.rhs_spec), strict=True)]
    name = graph.add(
        "Conv",
        *names,
        strides=list(p["window_strides"]),
        dilations=list(p["rhs_dilation"]),
        pads=[before for before, _ in pads] + [after for _, after in pads],
        group=p["feature_group_count"],
    )[0]
    return Tensor(name, tuple(numbers.out_spec), _shape(equation))


def _max_pool(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    p = equation.params
    window, strides, pads = p["window_dimensions"], p["window_strides"], p["padding"][1:3]
    if len(window) != 4 or (window[0], window[3]) != (1, 1) or {*p["base_dilation"], *p["window_dilation"]} != {1}:
        raise CsstError(f"export to ONNX: maxima are of windows of features [b, h, w, c] alone: {equation}")
    name = graph.add(
        "MaxPool",
        graph.ordered(_whole(graph, equation, x), (0, 3, 1, 2)),
        kernel_shape=list(window[1:3]),
        strides=list(strides[1:3]),
        pads=[before for before, _ in pads] + [after for _, after in pads],
    )[0]
    return Tensor(name, (0, 3, 1, 2), _shape(equation))


def _resize(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    size, aligned = equation.params["size"], equation.params["align_corners"]
    x = _whole(graph, equation, x)
    channels = _shape(equation)[3]
    sizes = graph.add("Concat", graph.size(graph.batch), graph.integers(channels, *size), axis=0)[0]
    mode = "align_corners" if aligned else "half_pixel"
    name = graph.ordered(x, (0, 3, 1, 2))
    name = graph.add("Resize", name, "", "", sizes, mode="linear", coordinate_transformation_mode=mode)[0]
    return Tensor(name, (0, 3, 1, 2), _shape(equation))


def _product(graph: Graph, equation: Any, *values: Value) -> Tensor:
    """A product over any axes as one of matrices [batch axes, rows, columns]."""
    contract, batch = equation.params["dimension_numbers"]
    names, free_sizes, batch_sizes = [], [], ()
    for side, value in enumerate(values):
        shape = tuple(equation.invars[side].aval.shape)
        free = [axis for axis in range(len(shape)) if axis not in (*contract[side], *batch[side])]
        inside = math.prod(shape[axis] for axis in contract[side])
        outside = math.prod(shape[axis] for axis in free)
        halves = (
            [(*contract[side], *free), (inside, outside)] if side else [(*free, *contract[side]), (outside, inside)]
        )
        batch_sizes = tuple(shape[axis] for axis in batch[side])
        turned = (*batch[side], *halves[0])
        whole = graph.whole(value, shape)
        if isinstance(whole, Tensor):
            name = graph.reshape(graph.ordered(whole, turned), (*batch_sizes, *halves[1]))
        else:
            name = graph.constant(whole.transpose(turned).reshape(*batch_sizes, *halves[1]))
        names.append(name)
        free_sizes.append(tuple(shape[axis] for axis in free))
    return _in_order(
        equation, graph.reshape(graph.add("MatMul", *names)[0], (*batch_sizes, *free_sizes[0], *free_sizes[1]))
    )


_ELEMENTWISE = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min",
    "exp": "Exp", "erf": "Erf", "logistic": "Sigmoid",
}  # fmt: skip
OPERATIONS: dict[str, _Operation] = {
    **{name: functools.partial(_by_element, op) for name, op in _ELEMENTWISE.items()},
    "square": _square,
    "rsqrt": _rsqrt,
    "stop_gradient": _same,
    "optimization_barrier": _same,
    "convert_element_type": _convert,
    "reshape": _reshape,
    "squeeze": _reshape,
    "transpose": _transpose,
    "reduce_sum": functools.partial(_reduce, "ReduceSum"),
    "reduce_max": functools.partial(_reduce, "ReduceMax"),
    "argmax": _argmax,
    "concatenate": _concatenate,
    "split": _split,
    "slice": _slice,
    "rev": _reverse,
    "gather": _gather,
    "conv_general_dilated": _convolution,
    "reduce_window_max": _max_pool,
    BILINEAR.name: _resize,
    "dot_general": _product,
}
"""JAX's primitive -> what appends its operators: f(graph, equation, *operands) returns a result, or a list of them."""
