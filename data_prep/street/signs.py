"""Traffic signs, boards and traffic lights of the procedural street scenes."""

from __future__ import annotations

import numpy as np

from data_prep.street.canvas import SIGN, Camera, Canvas, Sprite, noise
from data_prep.street.furniture import gain_of, paint_post
from data_prep.street.layout import Light

_RED, _BLUE, _WHITE, _YELLOW, _GREEN = (
    (0.72, 0.08, 0.08),
    (0.1, 0.22, 0.6),
    (0.9, 0.9, 0.88),
    (0.85, 0.7, 0.15),
    (0.1, 0.4, 0.22),
)


def paint_sign(canvas: Canvas, camera: Camera, light: Light, x: float, z: float, rng: np.random.Generator) -> None:
    """A post with one or two traffic signs, or an advertising or direction board."""
    tall, wide = rng.uniform(2.0, 3.0), rng.uniform(0.06, 0.1)
    kinds = [
        str(rng.choice(["round", "triangle", "rect", "blue", "back"], p=[0.3, 0.2, 0.25, 0.15, 0.1]))
        for _ in range(1 + (rng.random() < 0.35))
    ]
    board, off = rng.random() < 0.14, rng.uniform(0, 512, 2)
    size = rng.uniform(0.25, 0.38) if not board else rng.uniform(0.5, 1.0)
    foot = camera.point(x, 0, z)
    if foot is None:
        return
    u, v, depth = foot
    k = camera.focal / depth
    paint_post(
        canvas,
        light,
        [[(u, v), (u, v - (tall + size) * k)]],
        wide * k,
        np.array([0.5, 0.5, 0.5]) * rng.uniform(0.3, 1.2) * gain_of(light),
        depth,
        1.6,
    )
    up = tall
    for kind in ["board"] if board else kinds:
        _plate(canvas, light, u, v - up * k, max(size * k, 1.6), kind, depth, off, rng)
        up -= 2.1 * size


def _plate(
    canvas: Canvas,
    light: Light,
    u: float,
    v: float,
    r: float,
    kind: str,
    depth: float,
    off: np.ndarray,
    rng: np.random.Generator,
) -> None:
    gain = gain_of(light) * rng.uniform(0.8, 1.1)
    sprite = Sprite(
        canvas,
        (u - r * 1.2, v - r * 1.2, u + r * 1.2, v + r * 1.2),
        3 if r < 20 else 1,
        np.array([0.5, 0.5, 0.5]) * gain,
    )
    choice = rng.integers(3)
    if not sprite.visible:
        return
    if kind == "round":
        sprite.ellipse(u, v, r, r, np.array(_RED) * gain)
        sprite.ellipse(u, v, r * 0.72, r * 0.72, np.array(_WHITE if choice else _RED) * gain)
        sprite.polygon(
            [
                (u - r * 0.5, v - r * 0.15),
                (u + r * 0.5, v - r * 0.15),
                (u + r * 0.5, v + r * 0.15),
                (u - r * 0.5, v + r * 0.15),
            ],
            np.array((0.1, 0.1, 0.1) if choice else _WHITE) * gain,
        )
    elif kind == "triangle":
        for s, c in ((1.1, _RED), (0.65, _WHITE)):
            sprite.polygon(
                [(u, v - r * s), (u + r * 0.95 * s, v + r * 0.7 * s), (u - r * 0.95 * s, v + r * 0.7 * s)],
                np.array(c) * gain,
            )
    elif kind == "blue":
        sprite.ellipse(u, v, r, r, np.array(_BLUE) * gain)
        sprite.line([(u - r * 0.3, v + r * 0.4), (u + r * 0.3, v - r * 0.3)], r * 0.25, np.array(_WHITE) * gain)
    else:
        wide = r * (1.1 if kind == "board" else 0.8)
        face = {
            "rect": (_WHITE, _YELLOW, _BLUE)[choice],
            "back": (0.45, 0.45, 0.45),
            "board": (_GREEN, _WHITE, _BLUE)[choice],
        }[kind]
        corners = [(u - wide, v - r * 0.8), (u + wide, v - r * 0.8), (u + wide, v + r * 0.8), (u - wide, v + r * 0.8)]
        sprite.polygon(corners, np.array(face) * gain)
        ink = np.array(_WHITE if sum(face) < 1.5 else (0.1, 0.1, 0.12)) * gain
        for row in np.linspace(-0.5, 0.5, 4 if kind == "board" else 3)[: 0 if kind == "back" else None]:
            length = wide * rng.uniform(0.4, 0.8)
            sprite.line([(u - wide * 0.8, v + row * r), (u - wide * 0.8 + length * 1.5, v + row * r)], r * 0.13, ink)
    rows, columns = sprite.grid()
    sprite.finish(
        SIGN, depth, 0.85 + 0.3 * noise("soft", rows * 30 / r + off[0], columns * 30 / r + off[1]), threshold=0.35
    )


def paint_traffic_light(
    canvas: Canvas, camera: Camera, light: Light, x: float, z: float, rng: np.random.Generator
) -> None:
    """A post with a signal head (SignSymbol, as in CamVid) of three lamps."""
    tall, state = rng.uniform(2.3, 3.3), rng.integers(3)
    foot = camera.point(x, 0, z)
    if foot is None:
        return
    u, v, depth = foot
    k = camera.focal / depth
    gain = gain_of(light)
    paint_post(canvas, light, [[(u, v), (u, v - (tall + 0.3) * k)]], 0.11 * k, np.full(3, 0.22) * gain, depth, 1.7)
    high, wide = 0.52 * k, 0.19 * k
    cy = v - tall * k
    sprite = Sprite(
        canvas,
        (u - wide * 1.6, cy - high * 1.2, u + wide * 1.6, cy + high * 1.2),
        3 if high < 40 else 1,
        (0.04, 0.04, 0.04),
    )
    if not sprite.visible:
        return
    sprite.polygon(
        [
            (u - wide * 1.3, cy - high * 1.1),
            (u + wide * 1.3, cy - high * 1.1),
            (u + wide * 1.3, cy + high * 1.1),
            (u - wide * 1.3, cy + high * 1.1),
        ],
        np.full(3, 0.05) * gain,
    )
    for i, lit in enumerate(((1, 0.15, 0.1), (1, 0.65, 0.1), (0.2, 1, 0.55))):
        colour = np.array(lit) if i == state else np.array(lit) * 0.15 * gain
        sprite.ellipse(u, cy + (i - 1) * high * 0.68, wide * 0.75, wide * 0.75, colour)
    sprite.finish(SIGN, depth, threshold=0.35)
