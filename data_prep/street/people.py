"""Pedestrians and bicyclists of the procedural street scenes, drawn as jointed figures."""

from __future__ import annotations

import numpy as np

from data_prep.street.canvas import BICYCLIST, PEDESTRIAN, Camera, Canvas, Sprite, noise
from data_prep.street.layout import Light

_SKIN = ((0.82, 0.62, 0.5), (0.7, 0.5, 0.38), (0.45, 0.3, 0.2), (0.88, 0.7, 0.58))


def _clothes(rng: np.random.Generator) -> np.ndarray:
    """Mostly dark or grey cloth, now and then a strong colour."""
    if rng.random() < 0.65:
        return np.clip(rng.choice([0.06, 0.12, 0.25, 0.45, 0.75]) * (1 + rng.uniform(-0.25, 0.25, 3)), 0.03, 0.9)
    colour = rng.uniform(0.05, 0.7, 3)
    return colour + (colour.mean() - colour) * rng.uniform(0.1, 0.7)


def paint_pedestrian(
    canvas: Canvas, camera: Camera, light: Light, x: float, z: float, rng: np.random.Generator
) -> None:
    """A standing or walking person at (x, z), seen from any side; 1.1 to 1.95 m tall."""
    tall = rng.uniform(1.55, 1.95) if rng.random() < 0.88 else rng.uniform(1.05, 1.4)
    foot = camera.point(x, 0.0, z)
    stride, turn, swing = rng.uniform(0, 0.2), rng.uniform(0.35, 1.0), rng.uniform(-0.12, 0.12)
    top, legs, skin = _clothes(rng), _clothes(rng) * 0.8, np.array(_SKIN[rng.integers(len(_SKIN))])
    hair = np.array([0.12, 0.09, 0.07]) * rng.uniform(0.4, 4)
    coat, bag, skirt = rng.random() < 0.4, rng.random() < 0.35, rng.random() < 0.2
    bag_colour, side, off, gait = (
        _clothes(rng),
        rng.choice([-1, 1]),
        rng.uniform(0, 512, 2).tolist(),
        rng.choice([-1, 1]),
    )
    if foot is None:
        return
    u, v, depth = foot
    k = camera.focal / depth * tall  # pixels of the whole person
    if k < 4:
        return
    sprite = Sprite(
        canvas, (u - 0.35 * k, v - 1.05 * k, u + 0.35 * k, v + 0.02 * k), 3 if k < 60 else (2 if k < 150 else 1), top
    )
    if not sprite.visible:
        return

    def at(px: float, py: float) -> tuple[float, float]:
        return u + px * k, v - py * k

    gain = light.ambient * 0.85 + light.sun * 0.35
    top, legs, skin, hair, bag_colour = (c * gain * light.tint for c in (top, legs, skin, hair, bag_colour))
    wide = 0.062 + 0.055 * turn
    for sign in (-1, 1):
        hip, knee, ankle = (
            (sign * 0.4 * wide, 0.5),
            (sign * (0.3 * wide + stride * 0.55), 0.27 + stride * 0.1),
            (sign * (0.35 * wide + stride), 0.03),
        )
        if sign == gait:
            knee = (knee[0] + 0.04 * gait, knee[1])
        sprite.line([at(*hip), at(*knee), at(*ankle)], 0.07 * k, legs * (0.75 + 0.25 * (sign > 0)))
        sprite.line([at(*ankle), at(ankle[0] + 0.035 * side, 0.015)], 0.035 * k, np.full(3, 0.06) * gain)
    if skirt:
        sprite.polygon([at(-wide, 0.56), at(wide, 0.56), at(wide * 1.5, 0.3), at(-wide * 1.5, 0.3)], legs)
    hem = 0.34 if coat else 0.46
    for sign in (-1, 1):
        elbow, hand = (sign * (wide + 0.035) + swing * 0.4, 0.62), (sign * (wide + 0.02) + sign * swing + swing, 0.47)
        if sign == side:
            sprite.line([at(sign * wide * 0.9, 0.8), at(*elbow), at(*hand)], 0.05 * k, top * 0.78)
            sprite.ellipse(*at(*hand), 0.022 * k, 0.026 * k, skin)
    sprite.polygon(
        [
            at(-wide * 0.9, 0.83),
            at(-0.03, 0.86),
            at(0.03, 0.86),
            at(wide * 0.9, 0.83),
            at(wide * 0.8, 0.6),
            at(wide * 0.95, hem),
            at(-wide * 0.95, hem),
            at(-wide * 0.8, 0.6),
        ],
        top,
    )
    sprite.polygon(
        [at(0.1 * wide, 0.83), at(wide * 0.9, 0.83), at(wide * 0.95, hem), at(0.3 * wide, hem)],
        top * (0.72 if side > 0 else 1.15),
    )
    sign = -int(side)
    sprite.line(
        [at(sign * wide * 0.9, 0.8), at(sign * (wide + 0.03), 0.63), at(sign * (wide + 0.02) - swing, 0.47)],
        0.052 * k,
        top * 0.9,
    )
    sprite.ellipse(*at(sign * (wide + 0.02) - swing, 0.46), 0.024 * k, 0.028 * k, skin)
    if bag:
        sprite.polygon(
            [
                at(side * wide, 0.6),
                at(side * (wide + 0.1), 0.58),
                at(side * (wide + 0.09), 0.4),
                at(side * wide * 0.8, 0.4),
            ],
            bag_colour,
        )
    sprite.line([at(0, 0.84), at(0, 0.9)], 0.045 * k, skin * 0.8)
    sprite.ellipse(*at(0, 0.935), 0.048 * k, 0.062 * k, skin)
    sprite.ellipse(*at(-0.01 * side, 0.955), 0.05 * k, 0.05 * k, hair)
    if turn < 0.8:
        sprite.ellipse(*at(0.018 * side, 0.925), 0.032 * k, 0.042 * k, skin)
    rows, columns = sprite.grid()
    folds = 0.72 + 0.5 * noise("rough", rows * 90 / k + off[0], columns * 150 / k + off[1])
    sprite.finish(PEDESTRIAN, depth, folds, threshold=0.3)


def paint_bicyclist(canvas: Canvas, camera: Camera, light: Light, x: float, z: float, rng: np.random.Generator) -> None:
    """A rider on a bicycle at (x, z): from behind or in front, or across the street."""
    foot = camera.point(x, 0.0, z)
    along, facing = rng.random() < 0.6, rng.choice([-1, 1])
    top, legs, skin = _clothes(rng), _clothes(rng) * 0.8, np.array(_SKIN[rng.integers(len(_SKIN))])
    if rng.random() < 0.25:
        top = np.array([0.75, 0.85, 0.15])
    helmet, frame = _clothes(rng), rng.uniform(0.05, 0.6, 3)
    lean, pedal, off = rng.uniform(0.1, 0.32), rng.uniform(-0.1, 0.1), rng.uniform(0, 512, 2).tolist()
    skew = rng.uniform(0.55, 1.0)
    if foot is None:
        return
    u, v, depth = foot
    k = camera.focal / depth
    if k < 3:
        return
    reach = 0.5 if along else 1.0
    sprite = Sprite(
        canvas, (u - reach * k, v - 1.85 * k, u + reach * k, v + 0.05 * k), 3 if k < 40 else (2 if k < 90 else 1), frame
    )
    if not sprite.visible:
        return
    gain = light.ambient * 0.85 + light.sun * 0.35
    top, legs, skin, helmet, frame = (c * gain * light.tint for c in (top, legs, skin, helmet, frame))
    black = np.full(3, 0.05) * gain

    def at(px: float, py: float) -> tuple[float, float]:
        return u + px * k * facing * (1.0 if along else skew), v - py * k

    if along:
        sprite.line([at(0, 0.02), at(0, 0.66)], 0.07 * k, black)
        sprite.line([at(-0.27, 0.98), at(0.27, 0.98)], 0.045 * k, frame)
        for sign, lift in ((-1, pedal), (1, -pedal)):
            sprite.line(
                [at(sign * 0.13, 0.95), at(sign * 0.17, 0.58 + lift), at(sign * 0.12, 0.24 + lift)],
                0.13 * k,
                legs * (0.8 + 0.2 * sign),
            )
            sprite.line([at(sign * 0.2, 1.4), at(sign * 0.32, 1.15), at(sign * 0.25, 1.0)], 0.09 * k, top * 0.85)
        sprite.polygon(
            [at(-0.2, 1.46), at(-0.07, 1.52), at(0.07, 1.52), at(0.2, 1.46), at(0.17, 0.9), at(-0.17, 0.9)], top
        )
        sprite.polygon([at(0.02, 1.5), at(0.2, 1.46), at(0.17, 0.9), at(0.06, 0.9)], top * 0.75)
        sprite.ellipse(*at(0, 1.62), 0.1 * k, 0.13 * k, skin)
        sprite.ellipse(*at(0, 1.68), 0.12 * k, 0.09 * k, helmet)
    else:
        for hub in (-0.52, 0.52):
            cx, cy = at(hub, 0.34)
            turn = np.linspace(0, 2 * np.pi, 24)
            ring = [(cx + 0.33 * k * np.cos(t) * skew, cy + 0.33 * k * np.sin(t)) for t in turn]
            sprite.line(ring, 0.05 * k, black)
            for t in turn[::4]:
                sprite.line(
                    [(cx, cy), (cx + 0.3 * k * np.cos(t) * skew, cy + 0.3 * k * np.sin(t))],
                    0.012 * k,
                    np.full(3, 0.4) * gain,
                )
        crank, seat, head = (-0.05, 0.3), (-0.2, 0.86), (0.38, 0.84)
        for a, b in (
            (crank, seat),
            (crank, head),
            (seat, head),
            (crank, (-0.52, 0.34)),
            (seat, (-0.52, 0.34)),
            (head, (0.52, 0.34)),
        ):
            sprite.line([at(*a), at(*b)], 0.04 * k, frame)
        sprite.line([at(*head), at(0.36, 1.02), at(0.46, 1.04)], 0.04 * k, black)
        shoulder = (-0.15 + lean, 1.38)
        for swing, tone in ((pedal, 0.75), (-pedal, 1.0)):
            sprite.line(
                [at(-0.17, 0.93), at(0.14, 0.68 + swing * 0.8), at(crank[0] + swing, 0.2 + abs(swing))],
                0.13 * k,
                legs * tone,
            )
        sprite.line([at(-0.18, 0.96), at(*shoulder)], 0.25 * k, top)
        sprite.line([at(*shoulder), at(0.2 + lean * 0.4, 1.12), at(0.42, 1.04)], 0.085 * k, top * 0.8)
        sprite.ellipse(*at(shoulder[0] + 0.08, 1.57), 0.1 * k, 0.13 * k, skin)
        sprite.ellipse(*at(shoulder[0] + 0.06, 1.63), 0.13 * k, 0.09 * k, helmet)
    rows, columns = sprite.grid()
    folds = 0.75 + 0.45 * noise("rough", rows * 60 / k + off[0], columns * 90 / k + off[1])
    sprite.finish(BICYCLIST, depth, folds, threshold=0.25)
