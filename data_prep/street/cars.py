"""Cars, vans and buses as shaded 3-D shells of the procedural street scenes."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike

from data_prep.street.canvas import CAR, Camera, Canvas, Sprite, noise
from data_prep.street.car_details import Shell, front, rear, side_details
from data_prep.street.car_shapes import BODIES
from data_prep.street.layout import Light


def paint_car(canvas: Canvas, camera: Camera, light: Light, x: float, z: float, heading: float, car: dict) -> None:
    """Draws one vehicle whose centre stands at (x, z), nose towards `heading` (0 = away from the camera)."""
    length, width, belt, outline = BODIES[car["kind"]]
    scale = car["scale"]
    ahead = np.array([np.sin(heading), 0, np.cos(heading)])
    right = np.array([ahead[2], 0, -ahead[0]])
    top = max(y for _, y in outline)

    def world(points: ArrayLike) -> np.ndarray:
        along, up, across = np.asarray(points, np.float64).T[..., None]
        lean = 1 - 0.24 * np.clip((up - belt) / (top - belt), 0, 1) * (0.3 if car["kind"] in ("bus", "van") else 1)
        tuck = 1 - 0.1 * np.maximum(2 * np.abs(along - 0.5) - 0.85, 0) / 0.15
        return (
            np.array([x, 0, z])
            + ahead * (along - 0.5) * length * scale
            + np.array([0, 1, 0]) * up * scale
            + right * across * width / 2 * lean * tuck * scale
        )

    eye = np.array([camera.x, camera.up, 0.0])
    corners = world([(a, u, c) for a in (0, 1) for u in (0, top) for c in (-1, 1)])
    seen = camera.project(corners)
    if seen is None:
        return
    box = tuple(float(edge) for edge in (*seen.min(0), *seen.max(0)))
    near = float(camera.to_camera(corners)[:, 2].min())
    size = (box[2] - box[0]) * (box[3] - box[1])
    sprite = Sprite(canvas, box, 2 if size < 9000 else 1, car["paint"] * light.ambient)
    if not sprite.visible:
        return
    fine = box[2] - box[0] > 45
    draw = Shell(sprite, camera, light, world)
    paint, dark = car["paint"], np.array([0.05, 0.05, 0.055])
    sky = light.skyline * 0.35 * np.ones(3)
    glass = 0.08 + 0.3 * sky
    # Underside and wheels on the far side first; then shell faces from far to near.
    draw.face([(0.04, 0.2, -0.9), (0.04, 0.2, 0.9), (0.96, 0.2, 0.9), (0.96, 0.2, -0.9)], dark, gain=0.4)
    faces: list[tuple[list[tuple[float, float, float]], tuple[float, float, float, float] | int]] = []
    for (a0, u0), (a1, u1) in itertools.pairwise(outline):
        faces.append(([(a0, u0, -1), (a0, u0, 1), (a1, u1, 1), (a1, u1, -1)], (a0, u0, a1, u1)))
    faces += [([(a, u, side) for a, u in outline], side) for side in (-1, 1)]
    visible = []
    ends = np.cumsum([len(quad) for quad, _ in faces])[:-1]
    shell = np.split(world([corner for quad, _ in faces for corner in quad]), ends)
    for (_, tag), points in zip(faces, shell, strict=True):
        normal = right * tag if isinstance(tag, int) else -_normal(points)
        middle = points.mean(0)
        if normal @ (eye - middle) > 0:
            visible.append((float(np.linalg.norm(eye - middle)), points, tag, normal))
    for side in (-1, 1):
        for at in (0.18, 0.8):
            draw.wheel(at, side, length, detailed=False)
            draw.tread(at, side, length)
    for _, points, tag, normal in sorted(visible, key=lambda f: -f[0]):
        if isinstance(tag, int):
            draw.fill(points, paint, normal)
            if size > 300:
                side_details(draw, tag, belt, top, outline, glass, paint, normal, length, car, fine)
            continue
        a0, u0, a1, u1 = tag
        draw.fill(points, paint + (normal[1] > 0.8) * sky * car["gloss"], normal)
        if not fine and size < 150:
            continue
        if min(u0, u1) >= belt - 0.02 and abs(u1 - u0) > 0.25 * (a1 - a0) * length:
            inset = [
                (a0 + (a1 - a0) * p, u0 + (u1 - u0) * p, c)
                for p, c in ((0.1, -0.88), (0.1, 0.88), (0.92, 0.86), (0.92, -0.86))
            ]
            draw.face(inset, glass, normal, gain=None)
            draw.face(
                [(*i[:2], i[2] * 0.98) for i in inset[:2]]
                + [(inset[2][0], inset[2][1], 0.1), (inset[3][0], inset[3][1], -0.5)],
                glass * 1.25 + 0.02,
                gain=None,
            )
        elif a0 == 0 and a1 <= 0.03:
            rear(draw, u0, u1, car, light)
        elif a1 >= 0.95 and u0 > u1:
            front(draw, u0, u1, a0, a1, car, light)
    grid_y, grid_x = sprite.grid()
    span = max(box[3] - box[1], 1)
    shade = 0.8 + 0.3 * noise("soft", grid_y * 60 / span + car["offset"][0], grid_x * 60 / span + car["offset"][1])
    shade = (
        shade * (1.04 - 0.22 * np.clip((grid_y - box[1]) / span, 0, 1)) * (0.94 + 0.12 * noise("grain", grid_y, grid_x))
    )
    sprite.finish(CAR, near, shade)


def _normal(points: np.ndarray) -> np.ndarray:
    n = np.cross(points[1] - points[0], points[2] - points[1])
    return n / (np.linalg.norm(n) + 1e-9)
