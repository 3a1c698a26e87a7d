"""Bodies and paints of the vehicles in the procedural street scenes."""

from __future__ import annotations

import numpy as np

# (length, width, belt, outline) in metres: the belt is the lower line of the windows; the outline is a car's side from
# the rear bumper over the roof to the front bumper: (along 0..1, height m).
BODIES: dict[str, tuple[float, float, float, tuple[tuple[float, float], ...]]] = {
    "hatch": (
        3.9,
        1.72,
        0.86,
        (
            (0, 0.25),
            (0, 0.62),
            (0.03, 0.9),
            (0.13, 1.4),
            (0.3, 1.47),
            (0.52, 1.42),
            (0.72, 0.95),
            (0.95, 0.74),
            (1, 0.55),
            (1, 0.25),
        ),
    ),
    "saloon": (
        4.6,
        1.76,
        0.88,
        (
            (0, 0.25),
            (0, 0.6),
            (0.01, 0.9),
            (0.17, 0.95),
            (0.3, 1.36),
            (0.42, 1.42),
            (0.56, 1.38),
            (0.72, 0.94),
            (0.96, 0.76),
            (1, 0.55),
            (1, 0.25),
        ),
    ),
    "estate": (
        4.6,
        1.76,
        0.88,
        (
            (0, 0.25),
            (0, 0.62),
            (0.01, 0.9),
            (0.07, 1.4),
            (0.25, 1.48),
            (0.55, 1.44),
            (0.72, 0.94),
            (0.96, 0.76),
            (1, 0.55),
            (1, 0.25),
        ),
    ),
    "suv": (
        4.5,
        1.85,
        1.05,
        (
            (0, 0.35),
            (0, 0.75),
            (0.02, 1.08),
            (0.08, 1.66),
            (0.25, 1.74),
            (0.55, 1.7),
            (0.7, 1.14),
            (0.96, 1.0),
            (1, 0.7),
            (1, 0.35),
        ),
    ),
    "van": (
        4.9,
        1.95,
        1.2,
        (
            (0, 0.35),
            (0, 0.9),
            (0.01, 1.2),
            (0.03, 2.0),
            (0.2, 2.1),
            (0.7, 2.08),
            (0.85, 1.2),
            (0.97, 1.0),
            (1, 0.6),
            (1, 0.35),
        ),
    ),
    "bus": (
        9.5,
        2.5,
        1.25,
        (
            (0, 0.35),
            (0, 0.9),
            (0, 1.3),
            (0.01, 2.9),
            (0.05, 3.05),
            (0.93, 3.05),
            (0.99, 2.85),
            (1, 1.2),
            (1, 0.8),
            (1, 0.35),
        ),
    ),
}
_PAINTS = (
    (0.75, 0.76, 0.78),
    (0.55, 0.57, 0.6),
    (0.08, 0.08, 0.09),
    (0.16, 0.17, 0.2),
    (0.1, 0.14, 0.3),
    (0.5, 0.06, 0.06),
    (0.9, 0.9, 0.88),
    (0.1, 0.26, 0.16),
    (0.3, 0.36, 0.42),
    (0.55, 0.48, 0.3),
    (0.15, 0.4, 0.6),
    (0.4, 0.42, 0.4),
)


def pick_car(rng: np.random.Generator) -> dict:
    """Draws a body and its paint."""
    kind = str(rng.choice(list(BODIES), p=[0.33, 0.22, 0.15, 0.12, 0.14, 0.04]))
    paint = np.array(_PAINTS[rng.integers(len(_PAINTS))]) * rng.uniform(0.8, 1.15) + rng.uniform(-0.03, 0.03, 3)
    return {
        "kind": kind,
        "paint": np.clip(paint, 0.03, 0.95),
        "scale": rng.uniform(0.94, 1.08),
        "offset": rng.uniform(0, 512, 2).tolist(),
        "lit": rng.random() < 0.7,
        "gloss": rng.uniform(0.1, 0.5),
    }


def footprint(x: float, z: float, heading: float, car: dict, grow: float = 0.0) -> np.ndarray:
    """Ground rectangle [4,3] under the car."""
    length, width = BODIES[car["kind"]][0] * car["scale"] + grow, BODIES[car["kind"]][1] * car["scale"] + grow
    ahead = np.array([np.sin(heading), 0, np.cos(heading)])
    right = np.array([ahead[2], 0, -ahead[0]])
    at = np.array([x, 0.0, z])
    return np.array(
        [at + ahead * length / 2 * i + right * width / 2 * j for i, j in ((1, 1), (1, -1), (-1, -1), (-1, 1))]
    )


def height(car: dict) -> float:
    """Metres to the roof."""
    return max(y for _, y in BODIES[car["kind"]][3]) * car["scale"]
