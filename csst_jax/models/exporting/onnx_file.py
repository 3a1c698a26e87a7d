"""A network as an ONNX file, which is tried in onnxruntime before it is there."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from csst_jax.models.exporting import agreement, program
from csst_jax.models.exporting.function import BATCH, Exported
from csst_jax.models.exporting.graph import Graph, Tensor
from csst_jax.runtime.storage import replacing
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from jax.extend.core import ClosedJaxpr

OPSET = 18
"""Version of ONNX's operators (December 2022): resizing as `align_corners` has it, sizes and axes as inputs."""
INPUT = "images"
"""Name of what the file takes."""

_IR_VERSION = 8  # that of the file format which belongs to the operators


def write(path: str | os.PathLike[str], exported: Exported, tolerance: float | None = None) -> list[str]:
    """Writes an ONNX file, atomically, if onnxruntime computes with it what we do.

    Args:
      path: of the file.
      exported: what to export.
      tolerance: see `agreement.require`.

    Returns:
      What there is to say about it, a sentence an entry.

    Raises:
      CsstError: packages are missing, ONNX has no form for part of the network, or onnxruntime does not agree.
    """
    require_packages()
    import onnx

    with jax.default_device(_processor()):
        closed, weights = exported.traced()
        made = model(closed, weights, exported.output, exported.description.network, exported.metadata())
        with replacing(path) as temporary:
            onnx.save(made, str(temporary))
            onnx.checker.check_model(str(temporary), full_check=True)
            size = temporary.stat().st_size
            agrees = _compare(str(temporary), exported, tolerance)
    return [f"{len(made.graph.node)} operations of opset {OPSET}, {size / 1e6:.1f} MB", agrees]


def require_packages() -> None:
    """Looks whether onnx and onnxruntime are there, before minutes of work.

    Raises:
      CsstError: one is not installed, or cannot be loaded.
    """
    for name in ("onnx", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise CsstError(
                f"--format=onnx needs the package {name} ({error}): python -m pip install -r requirements-export.txt"
            ) from error


def model(closed: ClosedJaxpr, weights: Sequence[Any], output: str, name: str, metadata: Mapping[str, str]) -> Any:
    """ONNX's `ModelProto` of a program.

    Args:
      closed: of weights and, last, images [batch, …], in its plain forms; the batch is a symbol.
      weights: its arguments but the last.
      output: name of its one result [batch, …].
      name: of the graph.
      metadata: texts to stand in the file.

    Raises:
      CsstError: ONNX has no form for part of the program.
    """
    from onnx import helper, numpy_helper

    images, result = closed.in_avals[-1], closed.out_avals[0]
    graph = Graph(INPUT, images.shape[0])
    tensor = Tensor(INPUT, tuple(range(len(images.shape))), images.shape)
    (value,) = program.run(graph, closed, [*map(np.asarray, weights), tensor])
    graph.finish(graph.plain(value, result.shape), output)

    def described(name: str, array: Any) -> Any:
        axes = [BATCH, *(int(size) for size in array.shape[1:])]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(array.dtype)), axes)

    body = helper.make_graph(
        [helper.make_node(n.op, n.inputs, n.outputs, f"{n.op}_{i}", **n.attributes) for i, n in enumerate(graph.nodes)],
        name,
        [described(INPUT, images)],
        [described(output, result)],
        [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
    )
    made = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="csst_jax")
    made.ir_version = _IR_VERSION
    helper.set_model_props(made, dict(metadata))
    return made


def _processor() -> jax.Device:
    """Accelerators round the factors of float32 products unless told otherwise: a CPU's numbers are compared."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise CsstError(f"an export is checked on the CPU; add cpu to JAX_PLATFORMS, or unset it ({error}).") from error


def _compare(path: str, exported: Exported, tolerance: float | None) -> str:
    """Runs the file on two images at once; says how it agrees."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    program = f"onnxruntime {onnxruntime.__version__}"
    return agreement.require(program, lambda x: session.run([exported.output], {INPUT: x})[0], exported, tolerance)
