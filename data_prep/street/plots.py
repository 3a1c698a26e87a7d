"""Plots along a procedural street: houses, gaps, gardens, street trees; and the list of what is to be painted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data_prep.street import buildings, plants, walls
from data_prep.street.canvas import Camera, Canvas
from data_prep.street.layout import Light, Street
from data_prep.street.walls import Wall


class Scene:
    """Collects what stands in a scene: `things`, (depth in metres, painter) pairs, and `shadows` cast on the ground."""

    def __init__(self, canvas: Canvas, camera: Camera, light: Light, street: Street, rng: np.random.Generator):
        self.canvas, self.camera, self.light, self.street, self.rng = canvas, camera, light, street, rng
        self.things: list[tuple[float, Callable[[], None]]] = []
        self.shadows: list[tuple[np.ndarray, float]] = []
        self.season = plants.pick_season(rng)

    def stream(self) -> np.random.Generator:
        """A random stream of its own for one thing: what a painter skips does not change the others."""
        return self.rng.spawn(1)[0]

    def add(self, x: float, z: float, painter: Callable[..., None], *args: object) -> None:
        """Registers `painter(canvas, camera, light, *args)` for something at (x, z)."""
        depth = float(self.camera.to_camera((x, 0.0, z))[2])
        self.things.append((depth, lambda: painter(self.canvas, self.camera, self.light, *args)))

    def shadow(self, base: np.ndarray, tall: float, strength: float = 0.85) -> None:
        """Casts the prism `base` [n,3] x `tall` metres on the ground; without sun only a dark patch below it."""
        self.shadows.append((base, strength))
        if self.light.sun > 0.2:
            slide = -self.light.sun_dir * min(tall / max(self.light.sun_dir[1], 0.15), 60)
            moved = base + np.array([slide[0], 0, slide[2]])
            self.shadows.append((moved, strength))
            for i in range(len(base)):
                self.shadows.append((np.array([base[i], base[i - 1], moved[i - 1], moved[i]]), strength))

    def fence(self, side: int, at: list, kind: str, tall: float) -> None:
        """A fence between two plan points."""
        wall = Wall(at[1], at[0], tall) if side > 0 else Wall(at[0], at[1], tall)
        self.add(*at[0], walls.paint_fence, wall, kind, self.stream())

    def tree(self, x: float, z: float, tall: float) -> None:
        """A tree and the shadow of its crown."""
        self.add(x, z, plants.paint_tree, x, z, tall, self.season, self.stream())
        if self.light.sun > 0.2:
            turn = np.linspace(0, 2 * np.pi, 9, endpoint=False)
            slide = self.light.sun_dir * (0.65 * tall / max(self.light.sun_dir[1], 0.2))
            ring = [[x - slide[0] + 0.3 * tall * np.cos(t), 0, z - slide[2] + 0.3 * tall * np.sin(t)] for t in turn]
            self.shadows.append((np.array(ring), 0.6))


def rows_of_houses(scene: Scene) -> None:
    """Both sides of the street: terraces, gaps with gardens, setbacks, gable ends, garden walls and railings."""
    rng, street = scene.rng, scene.street
    for side in (-1, 1):
        density = {"dense": 0.95, "mixed": 0.75, "suburb": 0.7, "open": 0.4}[street.kind] * rng.uniform(0.8, 1.05)
        setbacks = {"dense": 0.0, "mixed": 4.0 * (rng.random() < 0.5), "suburb": rng.uniform(4, 10)}
        setback = setbacks.get(street.kind, rng.uniform(3, 16))
        tall = rng.uniform(9, 17) if street.kind == "dense" else rng.uniform(5, 10)
        z = rng.uniform(-6, 3)
        while z < 105:
            span = rng.uniform(6, 20)
            if street.junction is not None and street.in_junction(z + span / 2, span / 2):
                z = street.junction[1] + 0.5 if street.junction[0] <= z + 3 else z
                span = rng.uniform(6, 12) if street.junction[1] <= z else max(street.junction[0] - z, 3)
            end = z + span
            built = rng.random() < density
            if built:
                front = [street.front(side, at) + side * setback for at in (z, end)]
                shops = street.kind in ("dense", "mixed") and setback == 0
                _house(scene, side, z, end, front, tall * rng.uniform(0.7, 1.25), shops)
            elif rng.random() < 0.8:
                for _ in range(rng.integers(1, 4)):
                    at = rng.uniform(z, end)
                    scene.tree(street.front(side, at) + side * rng.uniform(1, 9), at, rng.uniform(4, 11))
            if setback or (not built and rng.random() < 0.7):
                _boundary(scene, side, z, end)
            z = end + (rng.uniform(2, 8) if rng.random() < (0.12 if street.kind == "dense" else 0.5) else 0)


def _house(scene: Scene, side: int, z: float, end: float, front: list, tall: float, shops: bool) -> None:
    style, deep = buildings.pick_style(scene.rng, shops), scene.rng.uniform(7, 12)
    a, b, back = (front[0], z), (front[1], end), (front[0] + side * deep, z)
    wall = Wall(b, a, tall) if side > 0 else Wall(a, b, tall)
    scene.add(*wall.middle, buildings.paint_building, wall, style)
    if z > 1:
        gable = Wall(a, back, tall) if side > 0 else Wall(back, a, tall)
        scene.add(front[0] + side, z, buildings.paint_building, gable, style, True)
    base = [[a[0], 0, a[1]], [b[0], 0, b[1]], [b[0] + side * deep, 0, b[1]], [a[0] + side * deep, 0, a[1]]]
    scene.shadow(np.array(base), tall + 0.5 * style["roof"])


def _boundary(scene: Scene, side: int, z: float, end: float) -> None:
    """What separates a plot from the pavement."""
    rng = scene.rng
    kind = str(rng.choice(["railing", "boards", "wall", "hedge", "none"], p=[0.2, 0.12, 0.16, 0.27, 0.25]))
    at = [(scene.street.front(side, p), p) for p in (z, end)]
    if kind == "hedge":
        tall = rng.uniform(0.8, 2.0)
        scene.add(*at[0], plants.paint_hedge, tuple(at), tall, scene.season, scene.stream())
    elif kind != "none":
        scene.fence(side, at, kind, rng.uniform(0.7, 1.2) if kind != "boards" else rng.uniform(1.3, 1.9))


def greenery(scene: Scene) -> None:
    """Street trees along the kerb."""
    rng, street = scene.rng, scene.street
    for side in (-1, 1):
        if rng.random() < (0.35 if street.kind == "dense" else 0.6):
            z, step = rng.uniform(6, 25), rng.uniform(7, 20)
            while z < 90:
                if not street.in_junction(z, 2):
                    scene.tree(street.kerb(side, z) + side * rng.uniform(0.6, 1.6), z, rng.uniform(4, 9))
                z += step * rng.uniform(0.7, 1.4)
