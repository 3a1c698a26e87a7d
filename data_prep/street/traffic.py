"""Who and what uses a procedural street: vehicles, posts and signs, pedestrians, bicyclists."""

from __future__ import annotations

import numpy as np

from data_prep.street import cars, furniture, people, signs
from data_prep.street.car_shapes import footprint, height, pick_car
from data_prep.street.plots import Scene


def add_vehicles(scene: Scene) -> None:
    """Parked rows, moving traffic (on the left) and now and then a car across the junction."""
    rng, street = scene.rng, scene.street
    taken: list[tuple[float, float, float]] = []

    def put(lane: float, z: float, heading: float) -> None:
        car = pick_car(rng)
        x, reach = street.centre(z) + lane, 5.0 if car["kind"] == "bus" else 2.8
        heading = heading + float(np.arctan(2 * street.bend * z))
        blocked = any(abs(x - p) < 2.3 and abs(z - q) < gap + reach for p, q, gap in taken)
        if blocked or (car["kind"] == "bus" and z < 14):
            return
        taken.append((x, z, reach))
        scene.add(x, z, cars.paint_car, x, z, heading, car)
        scene.shadow(footprint(x, z, heading, car, -0.1), height(car) * 0.8, 0.95)
        scene.shadows.append((footprint(x, z, heading, car, 0.25), 0.6))

    for side in (-1, 1):
        if rng.random() < 0.65:
            z = rng.uniform(5.5, 25)
            while z < 75:
                if rng.random() < 0.7 and not street.in_junction(z, 3):
                    towards = (side > 0) != (rng.random() < 0.2)
                    lane = side * (street.half_road[side > 0] - rng.uniform(0.9, 1.2))
                    put(lane, z, (np.pi if towards else 0) + rng.normal(0, 0.03))
                z += rng.uniform(5.2, 8)
    for _ in range(rng.integers(1, 6)):
        side = int(rng.choice([-1, 1]))
        lane = side * street.half_road[side > 0] * rng.uniform(0.35, 0.5)
        put(lane, rng.uniform(7, 70), (np.pi if side > 0 else 0) + rng.normal(0, 0.04))
    if street.junction is not None and rng.random() < 0.45:
        across = int(rng.choice([-1, 1])) * np.pi / 2 + rng.normal(0, 0.3)
        put(rng.uniform(-1, 1) * street.half_road[1], rng.uniform(*street.junction), across)


def add_furniture(scene: Scene) -> None:
    """Lamp posts, signs, traffic lights, guard railings at the kerb, clutter without class."""
    rng, street = scene.rng, scene.street
    for side in (-1, 1):
        z, step = rng.uniform(4, 22), rng.uniform(14, 32)
        while z < 100:
            x = street.kerb(side, z) + side * rng.uniform(0.3, 0.8)
            if rng.random() < 0.75:
                scene.add(x, z, furniture.paint_lamp, x, z, side, scene.stream())
            z += step
        for _ in range(rng.integers(1, 4)):
            z = rng.uniform(9, 50)
            x = street.kerb(side, z) + side * rng.uniform(0.25, 1.2)
            scene.add(x, z, signs.paint_sign, x, z, scene.stream())
        if street.junction is not None and rng.random() < 0.6:
            z = street.junction[0] - rng.uniform(1, 3)
            x = street.kerb(side, z) + side * 0.5
            scene.add(x, z, signs.paint_traffic_light, x, z, scene.stream())
        if rng.random() < 0.28:
            z = rng.uniform(4, 25)
            at = [(street.kerb(side, p) + side * 0.35, p) for p in (z, z + rng.uniform(4, 14))]
            scene.fence(side, at, "railing", rng.uniform(0.95, 1.15))
        for _ in range(rng.integers(0, 4)):
            z = rng.uniform(9, 50)
            x = street.kerb(side, z) + side * rng.uniform(0.3, street.pavement[side > 0])
            scene.add(x, z, furniture.paint_clutter, x, z, scene.stream())


def add_people(scene: Scene) -> None:
    """Pedestrians alone and in groups (some in the road), bicyclists at the roadside."""
    rng, street = scene.rng, scene.street
    for _ in range(rng.integers(1, 6)):
        side = int(rng.choice([-1, 1]))
        z = 7 + rng.exponential(13)
        lane = rng.uniform(0.3, max(street.pavement[side > 0] - 0.3, 0.5))
        for _ in range(1 + (rng.random() < 0.35) * rng.integers(1, 4)):
            at = z + rng.uniform(-0.7, 0.7)
            crossing = (rng.random() < 0.12) * rng.uniform(1, 4)
            x = street.kerb(side, at) + side * (lane + rng.uniform(-0.4, 0.4) - crossing)
            scene.add(x, at, people.paint_pedestrian, x, at, scene.stream())
            _stand(scene, x, at, 0.22)
    for _ in range(rng.choice([0, 1, 2], p=[0.44, 0.44, 0.12])):
        side = int(rng.choice([-1, 1]))
        z = 11 + rng.exponential(9)
        x = street.centre(z) + side * street.half_road[side > 0] * rng.uniform(0.45, 0.95)
        scene.add(x, z, people.paint_bicyclist, x, z, scene.stream())
        _stand(scene, x, z, 0.35)


def _stand(scene: Scene, x: float, z: float, r: float) -> None:
    base = [[x - r, 0, z - 0.2], [x + r, 0, z - 0.2], [x + r, 0, z + 0.2], [x - r, 0, z + 0.2]]
    scene.shadow(np.array(base), 1.6, 0.8)
