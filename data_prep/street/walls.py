"""Vertical walls in perspective: geometry; railings, boards and garden walls of the street scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.street.canvas import FENCE, NEAR_M, Camera, Canvas, mix, noise
from data_prep.street.layout import Light

STONE = (
    (0.62, 0.56, 0.45),
    (0.5, 0.28, 0.22),
    (0.42, 0.4, 0.38),
    (0.78, 0.75, 0.68),
    (0.36, 0.33, 0.27),
    (0.58, 0.58, 0.6),
    (0.66, 0.5, 0.36),
    (0.3, 0.24, 0.22),
    (0.52, 0.56, 0.5),
)


@dataclass(frozen=True)
class Wall:
    """A vertical rectangle from plan point a=(x,z) to b, `height` metres, facing left of a->b seen from above."""

    a: tuple[float, float]
    b: tuple[float, float]
    height: float

    @property
    def length(self) -> float:
        """Metres along the wall."""
        return float(np.hypot(self.b[0] - self.a[0], self.b[1] - self.a[1]))

    @property
    def normal(self) -> np.ndarray:
        """Horizontal unit normal."""
        return np.array([self.a[1] - self.b[1], 0.0, self.b[0] - self.a[0]]) / max(self.length, 1e-6)

    @property
    def middle(self) -> tuple[float, float]:
        """Plan point halfway."""
        return (self.a[0] + self.b[0]) / 2, (self.a[1] + self.b[1]) / 2


@dataclass(frozen=True)
class View:
    """Pixels of the canvas that see a wall: box, metres along [1,w] and up [h,1-w], depth [1,w]."""

    row: int
    col: int
    s: np.ndarray
    v: np.ndarray
    depth: np.ndarray


def view_wall(camera: Camera, wall: Wall, top: float, canvas: Canvas) -> View | None:
    """Intersects the camera's rays with the wall's plane; None when it is not in the picture."""
    (ax, az), (bx, bz) = wall.a, wall.b
    dx, dz = (bx - ax) / wall.length, (bz - az) / wall.length
    px, pz = ax - camera.x, az
    cross = camera.ray_x * dz - camera.ray_z * dx
    with np.errstate(divide="ignore", invalid="ignore"):
        far = (px * dz - pz * dx) / cross
        s = (px * camera.ray_z - pz * camera.ray_x) / cross
    hit = np.flatnonzero((far > NEAR_M) & (far < 400) & (s >= 0) & (s <= wall.length))
    if hit.size < 1:
        return None
    c0, c1 = int(hit[0]), int(hit[-1]) + 1
    far, s = far[c0:c1], s[c0:c1]
    near = float(far.min())
    r0 = max(int(camera.horizon - (top - camera.up) * camera.focal / near) - 1, 0)
    r1 = min(int(camera.horizon + camera.up * camera.focal / near) + 2, canvas.height)
    if r1 - r0 < 1:
        return None
    return View(
        r0,
        c0,
        s[None],
        camera.up + camera.ray_y[r0:r1, None] * far[None],
        np.broadcast_to(far[None], (r1 - r0, c1 - c0)),
    )


def paint_fence(canvas: Canvas, camera: Camera, light: Light, wall: Wall, kind: str, rng: np.random.Generator) -> None:
    """Railing (see-through, labelled as a whole as CamVid does), boards, or a low garden wall of brick."""
    seen = view_wall(camera, wall, wall.height + 0.3, canvas)
    if seen is None:
        return
    s, v, off = seen.s, seen.v, rng.uniform(0, 512, 4).tolist()
    inside = (v > 0) & (v < wall.height)
    fine = noise("grain", v * 60 + off[0], s * 60 + off[1])
    rough = noise("rough", v * 30 + off[2], s * 30 + off[3])
    facing = max(float(wall.normal @ light.sun_dir), 0.0)
    gain = light.ambient * 0.85 + light.sun * facing * 0.8
    if kind == "railing":
        gap, post = rng.uniform(0.1, 0.2), rng.uniform(1.6, 2.6)
        bars = ((s / gap) % 1 < 0.26) | ((s / post) % 1 < 0.06 / post * 1.4)
        rails = (np.abs(v - wall.height + 0.05) < 0.05) | (np.abs(v - 0.15) < 0.04)
        blur = np.clip(seen.depth * 1.6 / camera.focal / gap, 0, 1)  # bars thinner than a pixel turn into a veil
        alpha = np.maximum(mix(bars * 1.0, 0.4, blur), rails * 1.0) * inside
        tone = (rng.choice([0.1, 0.2, 0.45, 0.65]) * (1 + rng.uniform(-0.1, 0.1, 3))).astype(np.float32)
        if rng.random() < 0.25:
            tone = np.array([0.12, 0.25, 0.2], np.float32)
        colour = tone * (0.7 + 0.6 * fine)[..., None]
    elif kind == "boards":
        alpha = inside.astype(np.float32)
        tone = np.array([0.42, 0.32, 0.22], np.float32) * rng.uniform(0.6, 1.3) + rng.uniform(0, 0.1)
        plank = noise("grain", np.float32(off[0]), np.floor(s / 0.14) * 11)
        colour = tone * ((0.6 + 0.35 * plank + 0.4 * rough) * np.where((s / 0.14) % 1 < 0.12, 0.55, 1))[..., None]
    else:
        alpha = inside.astype(np.float32)
        tone = np.array(STONE[rng.integers(len(STONE))], np.float32) * rng.uniform(0.6, 1.0)
        course = np.where((v / 0.12) % 1 < 0.18, 0.8, 1.0) * np.where(v > wall.height - 0.1, 1.35, 1.0)
        colour = tone * ((0.55 + 0.45 * fine + 0.4 * rough) * course)[..., None]
    canvas.paint(seen.row, seen.col, alpha.astype(np.float32), colour * (gain * light.tint), FENCE, seen.depth, inside)
