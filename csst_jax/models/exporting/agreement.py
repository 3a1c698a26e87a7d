"""Whether another program computes what we do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable

    from csst_jax.models.exporting.function import Exported

AGREEMENT = 0.999
"""Of the pixels, more than this share must get the same class from the other program as from us."""
TOLERANCE = 1e-3
"""By how much logits may differ, unless told otherwise."""

_REPORT = "report it, with this line and the network's options."
_DIGITS = 1e-5  # of the largest logit: float32 has seven, and a deep network loses some in any order of its sums
_IMAGES = 2  # that an export is tried on, together


def require(
    program: str, run: Callable[[np.ndarray], np.ndarray], exported: Exported, tolerance: float | None = None
) -> str:
    """Runs the other program on two images at once; says how it agrees.

    Args:
      program: its name and version.
      run: from images to what it computes of them.
      exported: what was exported.
      tolerance: by how much logits may differ; `TOLERANCE` if None, and more where the largest logit is above 100.

    Raises:
      CsstError: it computes something else.
    """
    images = exported.examples(_IMAGES)
    theirs = run(images)
    compiled = exported.compiled()
    ours = np.concatenate([compiled(image[None]) for image in images])
    if theirs.shape != ours.shape or theirs.dtype != ours.dtype:
        raise CsstError(f"{program} gives {theirs.dtype} {theirs.shape} and not {ours.dtype} {ours.shape}; {_REPORT}")
    classes = [values if exported.argmax else values.argmax(-1) for values in (theirs, ours)]
    same, difference, limit = float(np.mean(classes[0] == classes[1])), 0.0, 0.0
    said, wanted = f"{same:.4%} of pixels have the same class", f"more than {AGREEMENT:.1%} of pixels"
    if not exported.argmax:
        difference, largest = float(np.abs(theirs - ours).max()), float(np.abs(ours).max())
        limit = max(TOLERANCE, _DIGITS * largest) if tolerance is None else tolerance
        said += f", logits differ by {difference:.1e} at most, the largest is {largest:.3g}"
        wanted += f" and a difference of at most {limit:.2g}"
    if same > AGREEMENT and difference <= limit:
        return f"{program} agrees: {said}"
    raise CsstError(
        f"{program} computes other values than csst_jax: {said}; needed are {wanted}. No file was written. If the "
        f"classes agree, give a larger --tolerance; otherwise {_REPORT}"
    )
