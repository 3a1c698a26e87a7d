"""Trees (in leaf or bare), bushes and hedges of the procedural street scenes."""

from __future__ import annotations

import numpy as np

from data_prep.street.canvas import TREE, Camera, Canvas, Sprite, noise
from data_prep.street.layout import Light

_LEAVES = (
    (0.24, 0.32, 0.12),
    (0.16, 0.24, 0.12),
    (0.32, 0.34, 0.14),
    (0.45, 0.32, 0.12),
    (0.3, 0.22, 0.14),
    (0.2, 0.26, 0.2),
)


def pick_season(rng: np.random.Generator) -> dict:
    """Leaf colour and share of bare trees of one scene."""
    return {
        "leaf": np.array(_LEAVES[rng.integers(len(_LEAVES))], np.float32),
        "bare": float(rng.choice([0.05, 0.3, 0.9], p=[0.45, 0.25, 0.3])),
    }


def paint_tree(
    canvas: Canvas,
    camera: Camera,
    light: Light,
    x: float,
    z: float,
    tall: float,
    season: dict,
    rng: np.random.Generator,
) -> None:
    """A tree of `tall` metres with trunk, branches and, unless bare, foliage with gaps."""
    bare = rng.random() < season["bare"]
    seed, off = rng.uniform(0, 1, 4), rng.uniform(0, 512, 4).tolist()
    leaf = season["leaf"] * rng.uniform(0.65, 1.4) * (1 + rng.uniform(-0.12, 0.12, 3)).astype(np.float32)
    conifer = not bare and rng.random() < 0.15
    foot = camera.point(x, 0.0, z)
    if foot is None:
        return
    u, v, depth = foot
    k = float(camera.focal / depth)
    branches = _branches(rng, tall, bare, k)
    blobs = _crown(rng, tall, conifer)
    reach = 0.55 * tall * k
    side = reach if bare else 0.3 * tall * k
    box = (u - side, v - tall * (1.08 if bare else 0.75) * k, u + side, v + 0.1 * k)
    gain = light.ambient * 0.8 + light.sun * 0.35
    bark = np.array([0.26, 0.22, 0.17]) * (0.6 + 0.8 * seed[0]) * gain * light.tint
    sprite = Sprite(canvas, box, 2 if bare and k * tall < 220 else 1, bark)
    crown = (
        sprite
        if bare
        else Sprite(canvas, (u - reach, v - tall * 1.08 * k, u + reach, v - (0 if conifer else 0.2) * tall * k))
    )
    for points, width in branches:
        if sprite.visible and width * k > 0.25:
            sprite.line([(u + px * k, v - py * k) for px, py in points], width * k, bark)
    rows, columns = crown.grid()
    if bare and sprite.visible:
        haze = _field(blobs, (columns - u) / k, (v - rows) / k) > 0.25
        twigs = noise("grain", rows * max(18 / k, 0.9) + off[0], columns * max(18 / k, 0.9) + off[1])
        clumps = noise("rough", rows * 24 / k + off[2], columns * 24 / k + off[3])
        alpha = np.clip((twigs - 0.52) * 4, 0, 1) * np.clip((clumps - 0.25) * 3, 0, 1) * 0.8 * haze
        solid = haze & (clumps > 0.36)
        canvas.paint(sprite.y0, sprite.x0, alpha.astype(np.float32), bark * 0.9, TREE, depth, solid)
        sprite.finish(TREE, depth, 0.7 + 0.6 * noise("rough", rows * 2, columns * 2))
    elif sprite.visible:
        sprite.finish(TREE, depth, 0.7 + 0.6 * noise("rough", *(2 * g for g in sprite.grid())))
    if bare or not crown.visible:
        return
    field = _field(blobs, (columns - u) / k, (v - rows) / k)
    clumps = noise("rough", rows * 34 / k + off[0], columns * 34 / k + off[1])
    leaves = noise("grain", rows * max(26 / k, 0.8) + off[2], columns * max(26 / k, 0.8) + off[3])
    cover = field + 1.1 * (clumps - 0.55) + 0.35 * (leaves - 0.5)
    alpha = np.clip(cover * 5, 0, 1).astype(np.float32)
    up = np.clip(((v - rows) / k - 0.25 * tall) / (0.75 * tall), 0, 1)
    side = np.clip((columns - u) / max(reach, 1) * np.sign(light.sun_dir[0]), -1, 1)
    value = (0.35 + 0.5 * up) * light.ambient + light.sun * np.clip(0.1 + 0.3 * up + 0.2 * side, 0, 1)
    value = value * (0.45 + 0.75 * clumps + 0.45 * (leaves - 0.4))
    canvas.paint(crown.y0, crown.x0, alpha, leaf * value[..., None] * light.tint * 1.5, TREE, depth)


def paint_hedge(
    canvas: Canvas, camera: Camera, light: Light, ends: tuple, tall: float, season: dict, rng: np.random.Generator
) -> None:
    """A row of bushes between two plan points (x, z), painted far to near."""
    (ax, az), (bx, bz) = ends
    count = max(int(np.hypot(bx - ax, bz - az) / (0.6 * tall)), 2)
    leaf = season["leaf"] * rng.uniform(0.6, 1.2) * (1 + rng.uniform(-0.1, 0.1, 3)).astype(np.float32)
    off, wobble = rng.uniform(0, 512, 4).tolist(), rng.uniform(0.75, 1.15, count)
    for i in sorted(range(count), key=lambda n: -(az + (bz - az) * n / count)):
        t = (i + 0.5) / count
        foot = camera.point(ax + (bx - ax) * t, 0, az + (bz - az) * t)
        if foot is None or foot[2] < 2:
            continue
        u, v, depth = foot
        beside = camera.point(ax + (bx - ax) * (t + 0.01), 0, az + (bz - az) * (t + 0.01))
        across = beside[0] - u if beside else 1.0  # the foot of the hedge follows the line on the ground
        slope = min(max((beside[1] - v) / across, -1.2), 1.2) if beside and abs(across) > 1e-6 else 0.0
        k, size = camera.focal / depth, tall * wobble[i]
        sprite = Sprite(canvas, (u - size * k, v - size * 1.2 * k, u + size * k, v + abs(slope) * size * k))
        if not sprite.visible:
            continue
        rows, columns = sprite.grid()
        x, y = (columns - u) / k / size, (v - rows) / k / size
        clumps = noise("rough", rows * 40 / k + off[0], columns * 40 / k + off[1] + 31 * i)
        leaves = noise("grain", rows * max(30 / k, 0.8) + off[2], columns * max(30 / k, 0.8) + off[3])
        cover = 1.0 - x**4 - y**4 + 0.8 * (clumps - 0.6)
        alpha = np.clip(cover * 4, 0, 1) * (rows < v + slope * (columns - u))
        value = (light.ambient * (0.3 + 0.5 * np.clip(y, 0, 1)) + 0.35 * light.sun * np.clip(y, 0, 1)) * (
            0.4 + 0.7 * clumps + 0.5 * leaves
        )
        canvas.paint(
            sprite.y0, sprite.x0, alpha.astype(np.float32), leaf * value[..., None] * light.tint * 1.3, TREE, depth
        )


def _crown(rng: np.random.Generator, tall: float, conifer: bool) -> list[tuple[float, float, float, float]]:
    """Ellipses (x, y, rx, ry) in metres that make up the crown."""
    if conifer:
        return [(0.0, tall * (0.2 + 0.2 * i), tall * (0.24 - 0.045 * i), tall * 0.2) for i in range(5)]
    blobs = [(0.0, 0.64 * tall, 0.26 * tall, 0.3 * tall)]
    for _ in range(rng.integers(3, 7)):
        blobs.append(
            (
                rng.uniform(-0.26, 0.26) * tall,
                rng.uniform(0.45, 0.85) * tall,
                rng.uniform(0.12, 0.22) * tall,
                rng.uniform(0.1, 0.19) * tall,
            )
        )
    return blobs


def _field(blobs: list[tuple[float, float, float, float]], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Largest 1 - (normalised distance)^2 over the ellipses."""
    field = np.full((y.shape[0], x.shape[1]), -9.0, np.float32)
    for cx, cy, rx, ry in blobs:
        np.maximum(field, 1 - ((x - cx) / rx) ** 2 - ((y - cy) / ry) ** 2, out=field)
    return field


def _branches(rng: np.random.Generator, tall: float, many: bool, k: float) -> list[tuple[list, float]]:
    """Trunk and forked branches as polylines in metres with their width."""
    lines = []

    def grow(x: float, y: float, angle: float, length: float, width: float, level: int) -> None:
        bend = angle + rng.uniform(-0.2, 0.2)
        mid = (x + np.sin(bend) * length * 0.5, y + np.cos(bend) * length * 0.5)
        end = (mid[0] + np.sin(angle) * length * 0.5, mid[1] + np.cos(angle) * length * 0.5)
        lines.append(([(x, y), mid, end], width))
        if level < (6 if many else 3) and 0.6 * width * k > 0.25:
            for sign in (-1, 1):
                grow(
                    *end, angle + sign * rng.uniform(0.2, 0.62), length * rng.uniform(0.6, 0.85), width * 0.6, level + 1
                )

    grow(0.0, 0.0, rng.uniform(-0.06, 0.06), tall * 0.3, tall * rng.uniform(0.028, 0.045), 0)
    return lines
