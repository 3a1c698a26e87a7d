"""A network as an ONNX file, which is tried in onnxruntime before it is there."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from csst_jax.models.exporting import program
from csst_jax.models.exporting.function import BATCH, Exported
from csst_jax.models.exporting.graph import Graph, Tensor
from csst_jax.runtime.storage import replacing
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

OPSET = 18
"""Version of ONNX's operators (December 2022): resizing as `align_corners` has it, sizes and axes as inputs."""
AGREEMENT = 0.999
"""Share of pixels that must get the same class from onnxruntime as from us."""

_IR_VERSION = 8  # that of the file format which belongs to the operators
_INPUT = "images"
_IMAGES = 2  # that an export is tried on, together


def write(path: str | os.PathLike[str], exported: Exported, tolerance: float) -> list[str]:
    """Writes an ONNX file, atomically, if onnxruntime computes with it what we do.

    Args:
      path: of the file.
      exported: what to export.
      tolerance: by how much logits may differ.

    Returns:
      What there is to say about it, a sentence an entry.

    Raises:
      CsstError: packages are missing, ONNX has no form for part of the network, or onnxruntime does not agree.
    """
    onnx, runtime = (_package(name) for name in ("onnx", "onnxruntime"))
    model, num_nodes = _model(onnx, exported)
    with replacing(path) as temporary:
        onnx.save(model, str(temporary))
        onnx.checker.check_model(str(temporary), full_check=True)
        size = temporary.stat().st_size
        agreement = _compare(runtime, str(temporary), exported, tolerance)
    return [f"{num_nodes} operations of opset {OPSET}, {size / 1e6:.1f} MB", agreement]


def require_packages() -> None:
    """Raises a `CsstError` if a package is missing, before minutes of work."""
    for name in ("onnx", "onnxruntime"):
        _package(name)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CsstError(
            f"--format=onnx needs the package {name} ({error}): python -m pip install -r requirements-export.txt"
        ) from error


def _model(onnx: Any, exported: Exported) -> tuple[Any, int]:
    """ONNX's model, and how many nodes it has."""
    helper = onnx.helper
    closed, weights = exported.traced()
    images = closed.in_avals[-1]
    graph = Graph(_INPUT, images.shape[0])
    (result,) = program.run(graph, closed, [*map(np.asarray, weights), Tensor(_INPUT, (0, 1, 2, 3), images.shape)])
    shape = closed.out_avals[0].shape
    graph.nodes[-1 - _last(graph, graph.plain(result, shape))].outputs = [exported.output]
    graph.finish(exported.output)

    def described(name: str, dtype: np.dtype, sizes: Sequence[Any]) -> Any:
        axes = [BATCH, *(int(size) for size in sizes[1:])]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), axes)

    nodes = [
        helper.make_node(n.op, n.inputs, n.outputs, f"{n.op}_{i}", **n.attributes) for i, n in enumerate(graph.nodes)
    ]
    body = helper.make_graph(
        nodes,
        exported.description.network,
        [described(_INPUT, exported.input_dtype, images.shape)],
        [described(exported.output, exported.output_dtype, shape)],
        [onnx.numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="csst_jax")
    model.ir_version = _IR_VERSION
    helper.set_model_props(model, exported.metadata())
    return model, len(nodes)


def _last(graph: Graph, name: str) -> int:
    """How many nodes come after the one that makes a tensor."""
    return next(i for i, node in enumerate(reversed(graph.nodes)) if name in node.outputs)


def _compare(runtime: Any, path: str, exported: Exported, tolerance: float) -> str:
    """Runs the file on two images at once; says how it agrees."""
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = exported.examples(_IMAGES)
    (theirs,) = session.run([exported.output], {_INPUT: images})
    compiled = exported.compiled()
    ours = np.concatenate([compiled(image[None]) for image in images])
    if exported.argmax:
        same, difference = float(np.mean(theirs == ours)), None
    else:
        same = float(np.mean(theirs.argmax(-1) == ours.argmax(-1)))
        difference = float(np.abs(theirs - ours).max())
    said = f"{same:.4%} of pixels have the same class" + (
        "" if difference is None else f", logits differ by {difference:.1e}"
    )
    if theirs.dtype != ours.dtype or same <= AGREEMENT or not (difference is None or difference <= tolerance):
        more = f"more than {AGREEMENT:.1%} of pixels" + ("" if exported.argmax else f" and at most {tolerance:g}")
        raise CsstError(
            f"onnxruntime {runtime.__version__} computes something else than csst_jax: {said}; {more} are wanted. "
            "No file was written. Weights with large logits need a larger --tolerance; otherwise please report it."
        )
    return f"onnxruntime {runtime.__version__} agrees: {said}"
