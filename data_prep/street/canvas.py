"""Pinhole camera, painter's-algorithm canvas and value noise of the procedural street scenes.

World coordinates are metres: X right, Y up, Z along the street; the camera stands at (x, height, 0).
The camera pans (yaw) but tilts only by a lens shift (the horizon row): a vertical wall has one depth per column.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
VOID = 255
NEAR_M = 0.6
_SIDE = 512

Colour = Sequence[float] | np.ndarray  # RGB in 0..1
Pixels = Sequence[tuple[float, float]]  # (column, row) of points of the picture


@functools.cache
def _table(kind: str) -> np.ndarray:
    """Tileable multi-octave value noise, float32 [512,512] in 0..1; the key is fixed: all scenes share the table."""
    lattices = {"soft": (4, 8, 16, 32), "rough": (8, 16, 32, 64, 128, 256), "grain": (64, 128, 256, 512)}[kind]
    rng = np.random.Generator(np.random.Philox(key=20250 + len(kind) + lattices[0]))
    total = np.zeros((_SIDE, _SIDE), np.float32)
    at = np.arange(_SIDE, dtype=np.float32) / _SIDE
    for octave, n in enumerate(lattices):
        values = rng.random((n, n), dtype=np.float32)
        low = np.floor(at * n).astype(np.int32)
        part = at * n - low
        part = part * part * (3 - 2 * part)
        rows = values[low % n] * (1 - part[:, None]) + values[(low + 1) % n] * part[:, None]
        total += (rows[:, low % n] * (1 - part) + rows[:, (low + 1) % n] * part) * 0.62**octave
    total = (total - total.mean()) / total.std()
    return np.clip(0.5 + 0.22 * total, 0, 1)


def noise(kind: str, y: ArrayLike, x: ArrayLike) -> np.ndarray:
    """Looks the noise up at `y`, `x` (texels, broadcast against each other); float32 in 0..1."""
    rows = np.asarray(y).astype(np.int32) & (_SIDE - 1)
    cols = np.asarray(x).astype(np.int32) & (_SIDE - 1)
    return np.take(_table(kind).reshape(-1), (rows << 9) + cols, mode="clip")


def mix(a: np.ndarray, b: np.ndarray | np.floating | float, weight: np.ndarray | np.floating | float) -> np.ndarray:
    """Linear blend a..b by `weight`."""
    return a + (b - a) * weight


class Camera:
    """Camera of `width` x `height` pixels: focal length `focal` px, row `horizon`, pan `yaw` rad, at (x, up) metres."""

    def __init__(self, width: int, height: int, focal: float, horizon: float, yaw: float, x: float, up: float):
        self.width, self.height, self.focal, self.horizon = width, height, focal, horizon
        self.x, self.up = x, up
        self.cos, self.sin = float(np.cos(yaw)), float(np.sin(yaw))
        right = ((np.arange(width) + 0.5 - width / 2) / focal).astype(np.float32)
        self.ray_x = right * self.cos + self.sin
        self.ray_z = self.cos - right * self.sin
        self.ray_y = ((horizon - np.arange(height) - 0.5) / focal).astype(np.float32)

    def to_camera(self, points: ArrayLike) -> np.ndarray:
        """World points [...,3] -> camera points (right, up, depth)."""
        p = np.asarray(points, np.float64)
        x, y, z = p[..., 0] - self.x, p[..., 1] - self.up, p[..., 2]
        return np.stack([x * self.cos - z * self.sin, y, x * self.sin + z * self.cos], -1)

    def polygon(self, points: ArrayLike) -> list[tuple[float, float]]:
        """Projects a world polygon [n,3], clipped at the near plane; fewer than 3 points: nothing to see."""
        p = self.to_camera(points)
        kept = []
        for a, b in zip(p, np.roll(p, -1, 0), strict=True):
            if a[2] >= NEAR_M:
                kept.append(a)
            if (a[2] >= NEAR_M) != (b[2] >= NEAR_M):
                kept.append(a + (b - a) * ((NEAR_M - a[2]) / (b[2] - a[2])))
        return [self._pixel(k) for k in kept]

    def _pixel(self, p: np.ndarray) -> tuple[float, float]:
        return float(self.width / 2 + self.focal * p[0] / p[2]), float(self.horizon - self.focal * p[1] / p[2])

    def project(self, points: ArrayLike) -> np.ndarray | None:
        """Columns and rows [n,2] of world points [n,3]; None if one lies behind the near plane."""
        p = self.to_camera(points)
        if p[:, 2].min() < NEAR_M:
            return None
        column = self.width / 2 + self.focal * p[:, 0] / p[:, 2]
        return np.stack([column, self.horizon - self.focal * p[:, 1] / p[:, 2]], -1)

    def point(self, x: float, y: float, z: float) -> tuple[float, float, float] | None:
        """(column, row, depth) of a world point, None behind the near plane."""
        p = self.to_camera((x, y, z))
        return None if p[2] < NEAR_M else (*self._pixel(p), float(p[2]))


class Canvas:
    """Image float32 [h,w,3] in 0..1, label uint8 [h,w] and depth float32 [h,w] in metres, painted far to near."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self.image = np.zeros((height, width, 3), np.float32)
        self.label = np.full((height, width), VOID, np.uint8)
        self.depth = np.full((height, width), 1e4, np.float32)

    def paint(
        self,
        row: int,
        col: int,
        alpha: np.ndarray,
        colour: Colour,
        label: int,
        depth: float | np.ndarray,
        solid: np.ndarray | None = None,
    ) -> None:
        """Blends `colour` ([h,w,3] or [3]) by `alpha` [h,w] at (row, col) where nothing nearer stands.

        `solid` [h,w] bool says which pixels get `label` and `depth` (default: alpha > 0.45).
        """
        h, w = alpha.shape
        box = np.s_[row : row + h, col : col + w]
        solid = alpha > 0.45 if solid is None else solid
        # The order far to near is by one depth per thing; long walls need a test per pixel (slack: feet).
        shown = depth < self.depth[box] * 1.03 + 0.3
        if not shown.all():
            alpha, solid = alpha * shown, solid & shown
        view = self.image[box]
        view += (np.asarray(colour, np.float32) - view) * alpha[..., None]
        np.copyto(self.label[box], np.uint8(label), where=solid)
        np.copyto(self.depth[box], depth, where=solid)


class Sprite:
    """A small Pillow drawing over the box (x0, y0, x1, y1) of a canvas; coordinates stay those of the canvas."""

    def __init__(self, canvas: Canvas, box: Sequence[float], factor: int = 1, base: Colour = (0.2, 0.2, 0.2)):
        self.canvas, self.factor = canvas, factor
        self.x0, self.y0 = max(int(np.floor(box[0])) - 1, 0), max(int(np.floor(box[1])) - 1, 0)
        self.x1 = min(int(np.ceil(box[2])) + 2, canvas.width)
        self.y1 = min(int(np.ceil(box[3])) + 2, canvas.height)
        self.visible = self.x1 - self.x0 >= 2 and self.y1 - self.y0 >= 2
        if self.visible:
            size = ((self.x1 - self.x0) * factor, (self.y1 - self.y0) * factor)
            self._rgb, self._mask = Image.new("RGB", size, _bytes(base)), Image.new("L", size, 0)
            self._colours, self._masks = ImageDraw.Draw(self._rgb), ImageDraw.Draw(self._mask)

    def _local(self, points: Pixels) -> list[tuple[float, float]]:
        return [((x - self.x0) * self.factor, (y - self.y0) * self.factor) for x, y in points]

    def polygon(self, points: Pixels, colour: Colour) -> None:
        """Fills a polygon with an RGB colour in 0..1."""
        if len(points) >= 3:
            points = self._local(points)
            self._colours.polygon(points, fill=_bytes(colour))
            self._masks.polygon(points, fill=255)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fills an axis-parallel ellipse."""
        (a, b), (c, d) = self._local([(x - rx, y - ry), (x + rx, y + ry)])
        self._colours.ellipse((a, b, c, d), fill=_bytes(colour))
        self._masks.ellipse((a, b, c, d), fill=255)

    def line(self, points: Pixels, width: float, colour: Colour) -> None:
        """Draws a polyline with rounded joints, `width` pixels wide (at least about one)."""
        points, w = self._local(points), max(round(width * self.factor), 1)
        self._colours.line(points, fill=_bytes(colour), width=w, joint="curve")
        self._masks.line(points, fill=255, width=w, joint="curve")
        if w > 3:
            for x, y in (points[0], points[-1]):
                end = (x - w / 2, y - w / 2, x + w / 2, y + w / 2)
                self._colours.ellipse(end, fill=_bytes(colour))
                self._masks.ellipse(end, fill=255)

    def finish(
        self, label: int, depth: float, texture: np.ndarray | None = None, opacity: float = 1.0, threshold: float = 0.45
    ) -> None:
        """Blends the drawing into the canvas; `texture` ([h,w] or [h,w,1], a gain) is multiplied in."""
        rgb, mask = self._rgb, self._mask
        if self.factor > 1:
            rgb, mask = rgb.reduce(self.factor), mask.reduce(self.factor)
        colour = np.asarray(rgb, np.float32) / 255
        alpha = np.asarray(mask, np.float32) / 255
        if texture is not None:
            colour *= texture[..., None]
        self.canvas.paint(self.y0, self.x0, alpha * opacity, colour, label, depth, alpha > threshold)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Row [h,1] and column [1,w] coordinates of the sprite's pixels."""
        rows, columns = (np.arange(*ends, dtype=np.float32) for ends in ((self.y0, self.y1), (self.x0, self.x1)))
        return rows[:, None], columns[None]


def _bytes(colour: Colour) -> tuple[int, int, int]:
    r, g, b = (int(min(max(c, 0.0), 1.0) * 255) for c in colour)
    return r, g, b
