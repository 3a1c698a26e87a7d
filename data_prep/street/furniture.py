"""Lamp posts and unlabelled (void) street furniture of the procedural street scenes."""

from __future__ import annotations

import numpy as np

from data_prep.street.canvas import POLE, VOID, Camera, Canvas, Colour, Sprite, noise
from data_prep.street.layout import Light


def gain_of(light: Light) -> np.ndarray:
    """Gain [3] of something small that is lit from all sides."""
    return (light.ambient * 0.9 + 0.35 * light.sun) * light.tint


def paint_post(
    canvas: Canvas, light: Light, lines: list, width: float, colour: Colour, depth: float, least: float
) -> None:
    """Draws polylines (pixels) as thin posts; never thinner than `least` pixels, so that the mask stays connected."""
    xs = [p[0] for line in lines for p in line]
    ys = [p[1] for line in lines for p in line]
    pad = max(width, least)
    sprite = Sprite(canvas, (min(xs) - pad, min(ys) - pad, max(xs) + pad, max(ys) + pad), 2, colour)
    if sprite.visible:
        for line in lines:
            sprite.line(line, max(width, least), np.asarray(colour))
            if width > 3:
                lit = 0.3 * width * (1 if light.sun_dir[0] > 0 else -1)
                sprite.line([(x + lit, y) for x, y in line], width * 0.3, np.asarray(colour) * 1.45 + 0.04)
        rows, columns = sprite.grid()
        sprite.finish(
            POLE, depth, 0.8 + 0.4 * noise("rough", rows * 2, columns * 3), min(1.0, 0.55 + width / 3), threshold=0.3
        )


def paint_lamp(
    canvas: Canvas, camera: Camera, light: Light, x: float, z: float, side: int, rng: np.random.Generator
) -> None:
    """A lamp post of 5 to 9 m whose arm reaches over the road."""
    tall, arm, tone = rng.uniform(5, 9), rng.uniform(0.4, 1.8), rng.choice([0.1, 0.25, 0.45, 0.6])
    wide, kind = rng.uniform(0.1, 0.2), rng.random()
    foot = camera.point(x, 0, z)
    if foot is None:
        return
    u, v, depth = foot
    k = camera.focal / depth
    colour = np.full(3, tone) * (1 + rng.uniform(-0.1, 0.1, 3)) * gain_of(light)
    lines = [[(u, v), (u, v - tall * k)]]
    if kind < 0.7:
        lines.append(
            [
                (u, v - tall * k),
                (u - side * arm * 0.5 * k, v - (tall + 0.35) * k),
                (u - side * arm * k, v - (tall + 0.4) * k),
            ]
        )
    paint_post(canvas, light, lines, wide * k, colour, depth, 1.7)
    if wide * k > 2:
        paint_post(canvas, light, [[(u, v), (u, v - 1.2 * k)]], wide * 1.7 * k, colour, depth, 1.7)
    head = (u - side * arm * k, v - (tall + 0.38) * k) if kind < 0.7 else (u, v - (tall + 0.15) * k)
    sprite = Sprite(canvas, (head[0] - 0.5 * k, head[1] - 0.3 * k, head[0] + 0.5 * k, head[1] + 0.3 * k), 2, colour)
    if sprite.visible:
        sprite.ellipse(*head, 0.35 * k, 0.13 * k, (1, 0.85, 0.55) if light.lamps else colour)
        sprite.finish(POLE, depth)


def paint_clutter(canvas: Canvas, camera: Camera, light: Light, x: float, z: float, rng: np.random.Generator) -> None:
    """Bins, bollards and cabinets: things that carry no class (void)."""
    kind, tone = rng.integers(3), rng.uniform(0.05, 0.5, 3) * rng.uniform(0.3, 1)
    foot = camera.point(x, 0, z)
    if foot is None:
        return
    u, v, depth = foot
    k = camera.focal / depth
    wide, tall = ((0.3, 1.1), (0.1, 1.0), (0.5, 1.3))[kind]
    box = (u - wide * k, v - tall * k, u + wide * k, v)
    sprite = Sprite(canvas, box, 2, tone)
    if sprite.visible:
        gain = gain_of(light)
        sprite.polygon([(box[0], v), (box[0], box[1]), (box[2], box[1]), (box[2], v)], tone * gain)
        sprite.polygon([(u, v), (u, box[1]), (box[2], box[1]), (box[2], v)], tone * gain * 0.7)
        sprite.polygon(
            [(box[0], box[1]), (box[2], box[1]), (box[2], box[1] + 0.1 * k), (box[0], box[1] + 0.1 * k)],
            tone * gain * 1.3,
        )
        rows, columns = sprite.grid()
        sprite.finish(VOID, depth, 0.75 + 0.5 * noise("rough", rows * 2, columns * 2))
