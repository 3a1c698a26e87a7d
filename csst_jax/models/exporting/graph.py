"""An ONNX graph while it grows: nodes, constants, and tensors whose axes lie in whatever order the last node left."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any, TypeAlias

import numpy as np

from csst_jax.types import CsstError

Size: TypeAlias = Any
"""Of an axis: an int, or JAX's symbolic size of the batch."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A value of JAX's as the graph holds it.

    JAX's features have their channels last, and ONNX's convolutions want them in front. A transposition is only noted
    here, and a node is written where the next operation needs another order.

    Attributes:
      name: in the graph.
      order: axis i of the graph's tensor is axis order[i] of JAX's value.
      shape: by JAX's axes; 1 where the value repeats along an axis and the graph holds it once.
    """

    name: str
    order: tuple[int, ...]
    shape: tuple[Size, ...]

    def stored(self, axis: int) -> int:
        """Where the graph has an axis of JAX's."""
        return self.order.index(axis)


Value: TypeAlias = Tensor | np.ndarray
"""A tensor of the graph, or what is known now; a known value may repeat along axes of size 1, as a tensor may."""


@dataclasses.dataclass
class Node:
    """One operation of ONNX; see its operator's documentation for inputs and attributes."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


class Graph:
    """Nodes in the order of computation, and constants by name.

    Attributes:
      input: name of the images.
      batch: JAX's symbol of the number of images.
    """

    def __init__(self, input: str, batch: Size):
        self.input, self.batch = input, batch
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self._lists: dict[tuple[int, ...], str] = {}
        self._made: dict[tuple[str, tuple[str, ...], str], list[str]] = {}

    def constant(self, value: np.ndarray) -> str:
        """A new constant's name."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.array(value, order="C")
        return name

    def integers(self, *values: int) -> str:
        """The name of a constant int64 list: shapes, axes and the like."""
        if values not in self._lists:
            self._lists[values] = self.constant(np.asarray(values, np.int64))
        return self._lists[values]

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Appends a node, unless there is an equal one; returns the names of its outputs."""
        key = (op, inputs, repr(attributes))
        if key not in self._made:
            names = [f"v{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
            self.nodes.append(Node(op, list(inputs), names, attributes))
            self._made[key] = names
        return self._made[key]

    def ordered(self, value: Value, order: tuple[int, ...]) -> str:
        """The name of a value whose axes lie in the given order."""
        if not isinstance(value, Tensor):
            return self.constant(np.transpose(value, order) if np.ndim(value) else value)
        if value.order == order:
            return value.name
        return self.add("Transpose", value.name, perm=[value.stored(axis) for axis in order])[0]

    def whole(self, value: Value, shape: tuple[Size, ...]) -> Value:
        """A value that repeats along some axes, written out to JAX's shape.

        Raises:
          CsstError: along an axis whose size is a multiple of the number of images.
        """
        if not isinstance(value, Tensor):
            if all(isinstance(size, int) for size in shape):
                return np.broadcast_to(value, shape)
            value = Tensor(self.constant(value), tuple(range(len(shape))), value.shape)
        missing = [axis for axis, (own, full) in enumerate(zip(value.shape, shape, strict=True)) if own != full]
        if not missing:
            return value
        parts = [self.size(shape[axis]) if axis in missing else self.integers(1) for axis in value.order]
        sizes = self.add("Concat", *parts, axis=0)[0]
        return Tensor(self.add("Expand", value.name, sizes)[0], value.order, shape)

    def plain(self, value: Value, shape: tuple[Size, ...]) -> str:
        """The name of a value that is written out, with its axes in JAX's order."""
        return self.ordered(self.whole(value, shape), tuple(range(len(shape))))

    def reshape(self, name: str, shape: tuple[Size, ...]) -> str:
        """The name of a tensor with another shape, of which one axis may depend on the number of images.

        Raises:
          CsstError: more than one does.
        """
        sizes = [size if isinstance(size, int) else -1 for size in shape]
        if sizes.count(-1) > 1:
            raise CsstError(f"export to ONNX: two axes of {shape} depend on the number of images.")
        return self.add("Reshape", name, self.integers(*sizes))[0]

    def size(self, size: Size) -> str:
        """The name of an int64 list of one size.

        Raises:
          CsstError: it is a multiple of the number of images.
        """
        if isinstance(size, int):
            return self.integers(size)
        if size != self.batch:
            raise CsstError(f"export to ONNX: an axis of {size} values is repeated; only {self.batch} itself can be.")
        return self.add("Shape", self.input, start=0, end=1)[0]

    def finish(self, last: str, output: str) -> None:
        """Joins convolutions with the sums and factors by channel behind them, and drops what nobody reads.

        Args:
          last: the tensor that is the graph's result.
          output: the name for it.
        """
        if not any(last in node.outputs for node in self.nodes):  # an argument or a constant
            (last,) = self.add("Identity", last)
        self._fold(last)
        self._clip(last)
        needed, nodes = {last}, []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                nodes.append(node)
        self.nodes = nodes[::-1]
        self.constants = {name: value for name, value in self.constants.items() if name in needed}
        for node in self.nodes:
            node.inputs = [output if name == last else name for name in node.inputs]
            node.outputs = [output if name == last else name for name in node.outputs]

    def _fold(self, last: str) -> None:
        """Batch normalisation and biases go into the weights of the convolution before."""
        uses = Counter([last, *(name for node in self.nodes for name in node.inputs)])
        convolutions: dict[str, Node] = {}
        kept = []
        for node in self.nodes:
            convolution = convolutions.get(node.inputs[0])
            if convolution is None or uses[node.inputs[0]] > 1 or not self._absorb(convolution, node):
                kept.append(node)
                convolution = node if node.op == "Conv" else None
            if convolution is not None:
                convolutions[convolution.outputs[0]] = convolution
        self.nodes = kept

    def _clip(self, last: str) -> None:
        """A ReLU with an upper limit becomes one operation, whose range a quantiser then knows."""
        uses = Counter([last, *(name for node in self.nodes for name in node.inputs)])
        rectified = {node.outputs[0]: node.inputs[0] for node in self.nodes if node.op == "Relu"}
        for node in self.nodes:
            if node.op != "Min" or len(node.inputs) != 2:
                continue
            name, limit = node.inputs
            value = self.constants.get(limit)
            if value is not None and value.size == 1 and name in rectified and uses[name] == 1:
                limits = [self.constant(np.zeros((), value.dtype)), self.constant(value.reshape(()))]
                node.op, node.inputs = "Clip", [rectified[name], *limits]

    def _absorb(self, convolution: Node, node: Node) -> bool:
        """Whether the node could be made part of the convolution, which then has its output's name."""
        value = self.constants.get(node.inputs[-1])
        if value is None or node.op not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
            return False
        kernel = self.constants.get(convolution.inputs[1])
        if kernel is None or value.ndim not in (0, 4) or value.size not in (1, kernel.shape[0]):
            return False
        if value.size > 1 and value.shape[1] == 1:  # by row or column
            return False
        bias = self.constants[convolution.inputs[2]] if len(convolution.inputs) > 2 else np.zeros(1, kernel.dtype)
        numbers = value.reshape(-1)
        if node.op in ("Mul", "Div"):
            factor = numbers if node.op == "Mul" else 1 / numbers
            kernel, bias = kernel * factor[:, None, None, None], bias * factor
        else:
            bias = bias + (numbers if node.op == "Add" else -numbers)
        bias = np.broadcast_to(bias, kernel.shape[0])
        convolution.inputs[1:] = [self.constant(kernel), self.constant(bias)]
        convolution.outputs = node.outputs
        return True
