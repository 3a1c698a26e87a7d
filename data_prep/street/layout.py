"""What stands where in one procedural street scene: light, camera, road and the numbers every painter reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from data_prep.street.canvas import Camera

_Metres = TypeVar("_Metres", float, np.ndarray)


@dataclass(frozen=True)
class Light:
    """Sun direction (towards the sun, unit), strengths, colours in 0..1, haze range in metres, wetness 0..1."""

    sun_dir: np.ndarray
    sun: float
    ambient: float
    tint: np.ndarray
    zenith: np.ndarray
    skyline: np.ndarray
    clouds: float
    visibility_m: float
    wet: float
    lamps: bool

    def __post_init__(self) -> None:
        for name in ("tint", "zenith", "skyline"):  # float32, so that pictures stay float32
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float32))

    def shade(self, normal: ArrayLike) -> float:
        """Gain of a surface with this normal (lambertian sun + sky that is brighter from above)."""
        n = np.asarray(normal, float)
        n = n / (np.linalg.norm(n) + 1e-9)
        return float(self.ambient * (0.85 + 0.25 * n[1]) + self.sun * max(float(n @ self.sun_dir), 0.0))


@dataclass(frozen=True)
class Street:
    """Road geometry: centre line X = bend * Z^2, half widths in metres per side (left, right), junction along Z."""

    bend: float
    half_road: tuple[float, float]
    pavement: tuple[float, float]
    junction: tuple[float, float] | None
    kind: str

    def centre(self, z: _Metres) -> _Metres:
        """X of the centre line at Z (array or float)."""
        return self.bend * z * z

    def kerb(self, side: int, z: _Metres) -> _Metres:
        """X of the kerb; side -1 left, +1 right."""
        return self.centre(z) + side * self.half_road[side > 0]

    def front(self, side: int, z: _Metres) -> _Metres:
        """X of the building line."""
        return self.kerb(side, z) + side * self.pavement[side > 0]

    def in_junction(self, z: float, margin: float = 0.0) -> bool:
        """Whether Z lies in the mouth of the side street."""
        return self.junction is not None and self.junction[0] - margin < z < self.junction[1] + margin


def pick_light(rng: np.random.Generator) -> Light:
    """Draws sunny, overcast, dusk, rain or low-sun light."""
    kind = str(rng.choice(["sunny", "overcast", "dusk", "rain", "glare"], p=[0.34, 0.26, 0.18, 0.12, 0.10]))
    azimuth = rng.uniform(-np.pi, np.pi) if kind != "glare" else rng.uniform(-0.4, 0.4)
    height = {"sunny": rng.uniform(0.45, 1.1), "glare": rng.uniform(0.22, 0.4)}.get(kind, rng.uniform(0.4, 1.0))
    sun_dir = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
    one = np.ones(3)
    blue = np.array([rng.uniform(0.3, 0.5), rng.uniform(0.5, 0.66), rng.uniform(0.75, 0.92)])
    pale = np.array([0.82, 0.88, 0.94]) * rng.uniform(0.9, 1.07)
    grey = rng.uniform(0.55, 0.9) * np.array([0.97, 0.99, 1.03])
    warm = np.array([1.0, rng.uniform(0.62, 0.85), rng.uniform(0.4, 0.75)])
    if kind == "sunny":
        tint = mix_colour(one, np.array([1.06, 1.0, 0.9]), rng.random())
        return Light(
            sun_dir,
            rng.uniform(0.5, 0.9),
            rng.uniform(0.42, 0.62),
            tint,
            blue,
            pale,
            rng.uniform(0.1, 0.75),
            rng.uniform(150, 600),
            0.0,
            False,
        )
    if kind == "overcast":
        return Light(
            sun_dir,
            rng.uniform(0.0, 0.1),
            rng.uniform(0.6, 0.92),
            one * (0.97, 1.0, 1.03),
            grey,
            grey * rng.uniform(1.0, 1.15),
            rng.uniform(0.5, 1.0),
            rng.uniform(100, 400),
            float(rng.choice([0.0, 0.3])),
            False,
        )
    if kind == "dusk":
        dark = rng.uniform(0.26, 0.5)
        zenith = blue * rng.uniform(0.35, 0.8)
        return Light(
            sun_dir,
            rng.uniform(0, 0.08),
            dark,
            one * (0.95, 0.97, 1.05),
            zenith,
            mix_colour(zenith, warm, rng.uniform(0.3, 0.8)) * 0.85,
            rng.uniform(0.4, 1.0),
            rng.uniform(120, 400),
            0.0,
            bool(rng.random() < 0.75),
        )
    if kind == "rain":
        return Light(
            sun_dir,
            0.0,
            rng.uniform(0.45, 0.7),
            one * (0.94, 1.0, 1.05),
            grey * 0.8,
            grey * 0.95,
            rng.uniform(0.7, 1.0),
            rng.uniform(60, 160),
            rng.uniform(0.5, 1.0),
            bool(rng.random() < 0.5),
        )
    return Light(
        sun_dir,
        rng.uniform(0.5, 0.8),
        rng.uniform(0.3, 0.5),
        warm * 0.3 + 0.72,
        mix_colour(blue, pale, 0.5),
        one * (1.05, 1.0, 0.92),
        rng.uniform(0.1, 0.5),
        rng.uniform(80, 250),
        float(rng.choice([0.0, 0.5])),
        False,
    )


def mix_colour(a: np.ndarray, b: np.ndarray, weight: float) -> np.ndarray:
    """Blend of two colours."""
    return a + (b - a) * weight


def pick_street(rng: np.random.Generator) -> Street:
    """Draws a dense, suburban or open street with or without a side street."""
    kind = str(rng.choice(["dense", "suburb", "open", "mixed"], p=[0.42, 0.22, 0.10, 0.26]))
    half = rng.uniform(3.2, 5.2) if kind != "open" else rng.uniform(5.0, 9.0)
    left, right = half * rng.uniform(0.85, 1.15), half * rng.uniform(0.85, 1.15)
    widths = rng.uniform(1.3, 4.2, 2) + (2.0 * rng.random() if kind in ("suburb", "open") else 0)
    start = rng.uniform(9, 38)
    junction = (start, start + rng.uniform(6, 12)) if rng.random() < 0.5 else None
    bend = rng.normal(0, 0.0022) if rng.random() < 0.6 else 0.0
    return Street(
        float(np.clip(bend, -0.006, 0.006)), (left, right), (float(widths[0]), float(widths[1])), junction, kind
    )


def pick_camera(rng: np.random.Generator, street: Street, width: int, height: int) -> Camera:
    """Draws focal length, horizon row, pan and place (usually in the left lane, as CamVid's car)."""
    x = rng.uniform(-0.75, 0.15) * street.half_road[0]
    yaw = float(np.clip(rng.normal(0, 0.11), -0.35, 0.35))
    return Camera(
        width, height, width * rng.uniform(0.82, 1.2), height * rng.uniform(0.37, 0.55), yaw, x, rng.uniform(1.15, 2.0)
    )
