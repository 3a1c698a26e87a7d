"""Procedural street scenes with CamVid's 11 classes: the generated data set's pictures and masks.

`render(seed, index)` is a pure function: a scene is laid out in metres (street, houses, trees, cars, people), seen by a
pinhole camera, painted from far to near with its label, and passed through a simulated photograph.
"""

from __future__ import annotations

import numpy as np

from data_prep.street import ground, photo, plots, traffic
from data_prep.street.canvas import VOID, Canvas
from data_prep.street.layout import Light, pick_camera, pick_light, pick_street

WIDTH, HEIGHT = 480, 360
_SCALE = 1.1  # drawn larger, then reduced: soft edges at little cost


def render(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws scene `index` of the data set `seed` (both >= 0, else ValueError).

    Returns the image, uint8 [360,480,3] RGB, and the label, uint8 [360,480]: class 0..10 in the order of
    `csst_jax.data.descriptions.SYNTHETIC`, 255 = void. The same arguments give the same bytes in every process.
    """
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, index))))
    width, height = int(WIDTH * _SCALE), int(HEIGHT * _SCALE)
    light, street = pick_light(rng), pick_street(rng)
    camera = pick_camera(rng, street, width, height)
    canvas = Canvas(width, height)
    scene = plots.Scene(canvas, camera, light, street, rng)
    plots.rows_of_houses(scene)
    plots.greenery(scene)
    traffic.add_vehicles(scene)
    traffic.add_furniture(scene)
    traffic.add_people(scene)
    ground.paint_sky(canvas, camera, light, rng)
    ground.paint_skyline(canvas, camera, light, rng)
    ground.paint_ground(canvas, camera, street, light, scene.shadows, rng)
    for _, paint in sorted(scene.things, key=lambda thing: -thing[0]):
        paint()
    photo.add_air(canvas, camera, light, rng)
    if rng.random() < 0.15:
        _bonnet(canvas, light, rng)
    return photo.photograph(canvas, light, rng, WIDTH, HEIGHT)


def _bonnet(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    """The own car's bonnet at the lower edge, void as in CamVid's first drives."""
    x = np.linspace(-1, 1, canvas.width, dtype=np.float32)
    shift, high = float(rng.uniform(-0.4, 0.4)), float(rng.uniform(0.03, 0.1)) * canvas.height
    top = canvas.height * 0.98 - high * np.clip(1 - (x - shift) ** 2, 0, 1)
    first = int(top.min())
    rows = np.arange(first, canvas.height)[:, None]
    mask = rows > top[None]
    shine = np.clip(1 - (rows - top[None]) / (0.5 * high), 0, 1) * rng.uniform(0.1, 0.6)
    colour = rng.uniform(0.02, 0.25) + shine[..., None] * light.skyline
    canvas.paint(first, 0, mask.astype(np.float32), colour * light.ambient, VOID, 0.1)
