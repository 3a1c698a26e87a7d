"""A network as TensorFlow's SavedModel, which is tried in TensorFlow before it is there."""

from __future__ import annotations

import json
import pathlib
import shutil
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from csst_jax.models.exporting import agreement
from csst_jax.models.exporting.stablehlo import PLATFORMS
from csst_jax.runtime.storage import as_path
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import os

    from csst_jax.models.exporting.function import Exported

INPUT = "images"
"""Name of what the signature takes."""
BESIDE = "csst_jax.json"
"""Says what the network is; in the directory that TensorFlow leaves for files of others."""


def write(path: str | os.PathLike[str], exported: Exported, tolerance: float | None = None) -> list[str]:
    """Writes a directory of TensorFlow's, if TensorFlow computes with it what we do; it appears whole or not at all.

    Args:
      path: of the directory, which must not be there yet.
      exported: what to export.
      tolerance: see `agreement.require`.

    Returns:
      What there is to say about it, a sentence an entry.

    Raises:
      CsstError: something lies at `path`, or it is on object storage, or TensorFlow does not agree.
    """
    target = as_path(path)
    if not isinstance(target, pathlib.Path):
        raise CsstError(f"--out={path}: a SavedModel is written to a local disk; copy the directory from there.")
    if target.exists():
        raise CsstError(f"--out={path} is there already; delete it, or give another name.")
    import tensorflow as tf
    from jax.experimental import jax2tf

    height, width = exported.size
    shape, dtype = (None, height, width, 3), tf.as_dtype(exported.input_dtype)
    module = tf.Module()
    converted = jax2tf.convert(
        exported.closed(),
        polymorphic_shapes=["(b, ...)"],
        native_serialization_platforms=PLATFORMS,
        with_gradient=False,
    )
    module.images = tf.function(
        lambda images: {exported.output: converted(images)},
        autograph=False,
        input_signature=[tf.TensorSpec(shape, dtype, INPUT)],
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    made = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        tf.saved_model.save(module, str(made), signatures={"serving_default": module.images})
        (made / "assets.extra").mkdir()
        words = json.dumps(exported.metadata(), indent=1) + "\n"
        (made / "assets.extra" / BESIDE).write_text(words, encoding="utf-8")
        loaded = tf.saved_model.load(str(made)).signatures["serving_default"]

        def run(images: np.ndarray) -> np.ndarray:
            return np.asarray(loaded(images=tf.constant(images))[exported.output])

        said = agreement.require(f"TensorFlow {tf.__version__}", run, exported, tolerance)
        size = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
        made.chmod(0o755)
        made.rename(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return [f"a SavedModel for {', '.join(PLATFORMS)}, {size / 1e6:.1f} MB", said]
