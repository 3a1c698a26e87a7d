"""Windows, wheels, lights and trim of the vehicles in the procedural street scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from data_prep.street.canvas import Camera, Colour, Sprite
from data_prep.street.layout import Light


class Shell:
    """Projects and fills the faces of one car."""

    def __init__(self, sprite: Sprite, camera: Camera, light: Light, world: Callable[[ArrayLike], np.ndarray]):
        self.sprite, self.camera, self.light, self.world = sprite, camera, light, world

    def face(self, quad: ArrayLike, colour: Colour, normal: np.ndarray | None = None, gain: float | None = 1.0) -> None:
        """As `fill`, for a polygon [n,3] in car coordinates (along, up, across)."""
        self.fill(self.world(quad), colour, normal, gain)

    def fill(
        self, points: np.ndarray, colour: Colour, normal: np.ndarray | None = None, gain: float | None = 1.0
    ) -> None:
        """Fills a polygon of world points [n,3].

        Shaded by `normal`, else by `gain` x ambient light (None: the colour as it is).
        """
        value = (
            self.light.shade(normal)
            if normal is not None and gain is not None
            else (1.0 if gain is None else gain * self.light.ambient)
        )
        seen = self.camera.project(points)
        if seen is not None:
            self.sprite.polygon(
                seen.tolist(), np.asarray(colour) * value * (self.light.tint if gain is not None else 1)
            )

    def wheel(self, at: float, side: int, length: float, detailed: bool) -> None:
        """A tyre (and a hub when it faces the viewer) as a circle in the car's side plane."""
        turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        for radius, tone in ((0.33, 0.04), (0.2, 0.42), (0.08, 0.12))[: 3 if detailed else 1]:
            self.face(
                [
                    (at + radius * np.cos(t) / length, 0.32 + radius * np.sin(t), side * (1.01 if detailed else 0.95))
                    for t in turn
                ],
                np.full(3, tone),
                gain=0.9,
            )

    def tread(self, at: float, side: int, length: float) -> None:
        """The tyre's running surface below the bumper, on both sides of the axle."""
        for edge in (at - 0.3 / length, at + 0.3 / length):
            quad = [(edge, up, side * across) for up, across in ((0.02, 0.7), (0.02, 0.96), (0.4, 0.96), (0.4, 0.7))]
            self.face(quad, np.full(3, 0.05), gain=0.8)


def side_details(
    draw: Shell,
    side: int,
    belt: float,
    top: float,
    outline: Sequence[tuple[float, float]],
    glass: np.ndarray,
    paint: np.ndarray,
    normal: np.ndarray,
    length: float,
    car: dict,
    fine: bool,
) -> None:
    """Windows, pillars, sill, door seams, wheel arches and wheels of one side."""
    upper = [(a, u) for a, u in outline if u >= belt + 0.02]
    if len(upper) >= 3:
        middle = np.mean(upper, 0)
        window = [
            (middle[0] + (a - middle[0]) * 0.9, max(middle[1] + (u - middle[1]) * 0.82, belt + 0.03), side * 1.0)
            for a, u in upper
        ]
        if car["kind"] == "van":
            window = [w for w in window if w[0] > 0.6] + [(0.62, belt + 0.05, side)]
        if len(window) >= 3:
            draw.face(window, glass, gain=None)
        for pillar in np.arange(0.12, 0.95, 0.09 if car["kind"] == "bus" else 0.22)[1:]:
            if car["kind"] != "van" and fine:
                draw.face(
                    [
                        (pillar, belt, side),
                        (pillar + 0.018, belt, side),
                        (pillar + 0.012, top - 0.06, side),
                        (pillar - 0.004, top - 0.06, side),
                    ],
                    paint * 0.7,
                    normal,
                )
    draw.face([(0.02, 0.25, side), (0.98, 0.25, side), (0.98, 0.36, side), (0.02, 0.36, side)], paint * 0.4, normal)
    for seam in (0.4, 0.62) if fine else ():
        draw.face(
            [(seam, 0.4, side), (seam + 0.006, 0.4, side), (seam + 0.006, belt, side), (seam, belt, side)],
            paint * 0.5,
            normal,
        )
    for at in (0.18, 0.8):
        turn = np.linspace(0, np.pi, 9)
        draw.face(
            [(at + 0.39 * np.cos(t) / length, 0.3 + 0.4 * np.sin(t), side) for t in turn], np.full(3, 0.03), gain=1
        )
        draw.wheel(at, side, length, detailed=fine)


def rear(draw: Shell, u0: float, u1: float, car: dict, light: Light) -> None:
    """Rear lights and number plate, or bumper, on the face between the heights u0 and u1."""

    def rect(x0: float, x1: float, y0: float, y1: float, colour: np.ndarray) -> None:
        draw.face([(0.0, y0, x0), (0.0, y0, x1), (0.0, y1, x1), (0.0, y1, x0)], colour, gain=None)

    if u1 - u0 < 0.32 or u0 > 0.5:
        bright = 1.0 if car["lit"] and (light.lamps or light.ambient < 0.5) else 0.5
        for side in (-1, 1):
            rect(side * 0.68, side * 0.97, u0 + 0.08, u1 - 0.02, np.array([0.75, 0.06, 0.05]) * bright)
        rect(-0.28, 0.28, u0 + 0.05, u0 + 0.17, np.array([0.8, 0.68, 0.2]) * light.ambient)
    else:
        rect(-0.98, 0.98, u0 + 0.02, u0 + 0.2, np.full(3, 0.07))
        if u0 < 0.4:
            rect(-0.95, 0.95, u1 - 0.1, u1 - 0.06, np.full(3, 0.12) * light.ambient)


def front(draw: Shell, u0: float, u1: float, a0: float, a1: float, car: dict, light: Light) -> None:
    """Headlights and grille, or bumper, on the face from (a0, u0) to (a1, u1), both (along, height)."""

    def rect(x0: float, x1: float, y0: float, y1: float, colour: np.ndarray) -> None:
        draw.face([(1.0, y0, x0), (1.0, y0, x1), (1.0, y1, x1), (1.0, y1, x0)], colour, gain=None)

    if u0 > 0.6 and a0 < 1:
        bright = 1.0 if car["lit"] and light.ambient < 0.55 else 0.85 * light.ambient
        for side in (-1, 1):
            draw.face(
                [
                    (a0 + 0.01, u0 - 0.03, side * 0.66),
                    (a0 + 0.01, u0 - 0.03, side * 0.95),
                    (a1, u1 + 0.07, side * 0.95),
                    (a1, u1 + 0.07, side * 0.7),
                ],
                np.array([0.82, 0.82, 0.78]) * bright,
                gain=None,
            )
        rect(-0.5, 0.5, u1 + 0.02, u0 - 0.05, np.full(3, 0.08))
    else:
        rect(-0.9, 0.9, u1 + 0.03, u1 + 0.16, np.full(3, 0.06))
        rect(-0.28, 0.28, u1 + 0.17, u1 + 0.27, np.full(3, 0.85) * light.ambient)
