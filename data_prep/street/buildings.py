"""Building fronts and gable ends of the procedural street scenes: windows, shops, doors, roofs."""

from __future__ import annotations

import numpy as np

from data_prep.street.canvas import BUILDING, Camera, Canvas, noise
from data_prep.street.layout import Light
from data_prep.street.walls import STONE, Wall, view_wall

# Materials of a facade: rows of its palette. Shop paints fill the rows from _SHOP on.
_WALL, _TRIM, _GLASS, _CURTAIN, _SLATE, _DOOR, _GOODS, _TEXT, _GLOW, _SHOP = range(10)


def paint_building(canvas: Canvas, camera: Camera, light: Light, wall: Wall, style: dict, plain: bool = False) -> None:
    """One facade; `style` comes from `pick_style`; `plain` leaves out doors and shops (gable end)."""
    rise = style["roof"] * (0.6 if style["gabled"] and not plain else 1.0)
    seen = view_wall(camera, wall, wall.height + rise + 1.6, canvas)
    if seen is None:
        return
    s, v, depth = seen.s, seen.v, seen.depth
    off, top = style["offset"], _outline(s, wall, style, rise, plain)
    sharp = np.clip(16 / depth[:1], 0.15, 1)
    rough = noise("rough", v * 30 + off[0], s * 30 + off[1])
    fine = noise("grain", v * 70 + off[2], s * 45 + off[3])
    tone = 0.74 + 0.3 * rough + 0.3 * sharp * (fine - 0.5)
    if style["brick"]:
        tone *= 1 - 0.16 * sharp * ((v / 0.15) % 1 < 0.2)
    tone *= 1.1 - (0.35 * style["dirt"]) * noise("soft", v * 6 + off[1], s * 14 + off[0])
    kind = np.zeros(v.shape, np.uint8)
    if not style["blank"]:
        _windows(tone, kind, s, v, wall, style, plain, light.lamps)
        if not plain:
            _ground_floor(tone, kind, s, v, wall, style, light.lamps)
    if not (style["gabled"] or plain):
        roof = v > wall.height
        np.copyto(tone, 0.7 + 0.5 * fine + 0.2 * ((v / 0.3) % 1), where=roof)
        kind[roof] = _SLATE
        eaves = np.abs(v - wall.height) < 0.14
        kind[eaves] = _TRIM
        np.copyto(tone, 0.7, where=eaves)
    sunny = light.sun * max(float(wall.normal @ light.sun_dir), 0.0)
    value = light.ambient * (0.74 + 0.2 * np.clip(v / 5, 0, 1))
    if sunny > 0.05:  # the shadow of the opposite row lies on the lower part
        line = style["shadow_line"] + 2.5 * (noise("soft", np.float32(off[0]), s * 6) - 0.5)
        value += sunny * np.clip((v - line) * 3 + 0.5, 0, 1)
    tone *= np.where(kind == _GLOW, 0.9, value * style["exposure"])
    colour = np.take(_palette(style) * light.tint, kind, axis=0) * tone[..., None]
    canvas.paint(seen.row, seen.col, ((v > 0) & (v < top)).astype(np.float32), colour, BUILDING, depth)


def _outline(s: np.ndarray, wall: Wall, style: dict, rise: float, plain: bool) -> np.ndarray:
    """Height [1,w] of the silhouette: gables, hipped or straight roof, chimneys."""
    if plain:
        return wall.height + rise * (1 - np.abs(2 * s / wall.length - 1))
    if style["gabled"]:
        step = wall.length / max(round(wall.length / 6.0), 1)
        return wall.height + rise * (1 - np.abs(2 * ((s / step) % 1) - 1))
    ramp = np.minimum(s, wall.length - s) / max(0.25 * rise * style["hip"], 0.05)
    top = wall.height + rise * np.clip(ramp, 0, 1)
    for at, wide, tall in style["chimneys"]:
        top = np.maximum(top, np.where(np.abs(s - at * wall.length) < wide, wall.height + rise + tall, 0))
    return top


def _palette(style: dict) -> np.ndarray:
    rows = (
        style["colour"],
        style["trim"],
        style["glass"],
        (0.55, 0.52, 0.46),
        style["slate"],
        style["door"],
        (1, 0.95, 0.9),
        (0.9, 0.9, 0.86),
        (0.95, 0.74, 0.42),
    )
    return np.concatenate([np.asarray(rows, np.float32), style["shop_colours"]])


def _windows(
    tone: np.ndarray, kind: np.ndarray, s: np.ndarray, v: np.ndarray, wall: Wall, style: dict, plain: bool, lamps: bool
) -> None:
    bays = max(round(wall.length / style["bay"]), 1)
    x, y = s * (bays / wall.length), (v - style["plinth"]) / style["storey"]
    i, j = np.floor(x).astype(np.int32) & 15, np.floor(y)
    x, y = np.abs(x % 1 - 0.5), y - j
    j = j.astype(np.int32) & 15
    wide, tall, middle = style["window"]
    off = np.abs(y - middle)
    zone = (v > style["plinth"]) & (v < wall.height - 0.35)
    cell = style["cells"][j, i]
    if plain:
        zone &= cell > 0.6
    hole = (x < wide / 2) & (off < tall / 2) & zone
    if style["bands"]:
        tone *= 1 + 0.2 * ((y < 0.06) & zone)
    if style["frame"]:
        frame = (x < wide / 2 + 0.035) & (off < tall / 2 + 0.03) & zone
        kind[frame] = _TRIM
        np.copyto(tone, 0.85, where=frame)
    else:
        tone *= 1 - 0.3 * ((x < wide / 2 + 0.03) & (off < tall / 2 + 0.03) & zone)
    clouds = np.maximum(noise("soft", v * 10 + 90 * cell, s * 16) - 0.55, 0)
    glass = 0.1 + 0.22 * cell + (0.25 * style["sheen"]) * y + 0.5 * clouds
    glass *= 1 - 0.5 * (y > middle + tall / 2 - 0.06)  # shade of the lintel
    np.copyto(tone, glass, where=hole)
    kind[hole] = _GLASS
    curtain = hole & (cell > 0.7) & (x > 0.28 * wide)
    kind[curtain] = _CURTAIN
    np.copyto(tone, 0.8, where=curtain)
    if lamps:
        glow = hole & (style["cells"][j, (i + 5) & 15] > 0.72)
        kind[glow] = _GLOW
        np.copyto(tone, 0.65 + 0.4 * y, where=glow)
    bars = hole & ((x < 0.022) | (off < 0.02))
    kind[bars] = _TRIM
    np.copyto(tone, 0.7, where=bars)


def _ground_floor(
    tone: np.ndarray, kind: np.ndarray, s: np.ndarray, v: np.ndarray, wall: Wall, style: dict, lamps: bool
) -> None:
    """Shop fronts with a fascia, or doors."""
    floor = style["plinth"]
    if not style["shop"]:
        unit = wall.length / max(round(wall.length / 7.0), 1)
        x = np.abs((s / unit) % 1 * unit - 0.25 * unit)
        trim = (x < 0.68) & (v < 2.45)
        tone *= 1 - 0.2 * (v < 0.5)
        kind[trim] = _TRIM
        kind[(x < 0.5) & (v < 2.2)] = _DOOR
        np.copyto(tone, 1 - 0.25 * ((np.abs(x - 0.25) < 0.15) & (np.abs((v % 1.1) - 0.55) < 0.38)), where=trim)
        return
    low = v < floor
    first = max(int(np.argmax(low.any(1))), 0)  # rows from here on hold shops
    tone, kind, v, low = tone[first:], kind[first:], v[first:], low[first:]
    unit = wall.length / max(round(wall.length / 6.5), 1)
    x, n = (s / unit) % 1, np.floor(s / unit).astype(np.int32) % 8
    np.copyto(kind, (_SHOP + n).astype(np.uint8), where=low)
    np.copyto(tone, 0.85, where=low)
    glass = low & (v > 0.5) & (v < floor - 0.95) & (np.abs(x - 0.5) < 0.44) & (np.abs(((x * 4) % 1) - 0.5) < 0.46)
    goods = noise("rough", v * 22 + 17 * n, s * 26 + 50 * n)
    np.copyto(tone, 0.16 + 1.1 * np.clip(goods - 0.45, 0, 1), where=glass)
    lit = lamps and style["awning"]
    kind[glass] = _GLOW if lit else _GOODS
    text = (
        low
        & (np.abs(v - floor + 0.5) < 0.16)
        & (np.abs(x - 0.5) < 0.3)
        & (noise("grain", np.float32(9.0) + n, s * 90) > 0.5)
    )
    kind[text] = _TEXT
    if style["awning"]:
        awning = low & (v > floor - 1.5) & (v < floor - 0.9) & (n % 3 == 0)
        np.copyto(kind, np.where((s * 2.2) % 1 < 0.5, _TEXT, _SHOP + n).astype(np.uint8), where=awning)
        np.copyto(tone, 0.7 + 0.3 * (v - floor + 1.5), where=awning)


def pick_style(rng: np.random.Generator, dense: bool) -> dict:
    """Draws the look of one building."""
    base = np.array(STONE[rng.integers(len(STONE))]) * rng.uniform(0.75, 1.2) + rng.uniform(-0.05, 0.05, 3)
    modern = rng.random() < 0.25
    slate = np.array([0.3, 0.3, 0.32]) if rng.random() < 0.65 else np.array([0.45, 0.27, 0.2])
    shops = (rng.uniform(0.1, 0.5, (8, 1)) * rng.uniform(0.45, 1.4, (8, 3))).astype(np.float32)
    return {
        "offset": rng.uniform(0, 512, 4).tolist(),
        "colour": np.clip(base, 0.08, 0.95),
        "brick": rng.random() < 0.6,
        "dirt": rng.uniform(0.2, 1.2),
        "roof": 0.0 if modern else rng.uniform(1.2, 3.4),
        "pitched": 1.0,
        "gabled": not modern and rng.random() < 0.12,
        "hip": rng.choice([0.0, 2.0]),
        "chimneys": []
        if modern
        else [(rng.random(), rng.uniform(0.3, 0.7), rng.uniform(0.5, 1.4)) for _ in range(rng.integers(0, 3))],
        "slate": slate * rng.uniform(0.7, 1.4),
        "plinth": rng.uniform(3.2, 4.2) if dense else rng.uniform(0.4, 0.8),
        "storey": rng.uniform(2.6, 3.6),
        "bay": rng.uniform(1.7, 3.6),
        "window": (
            rng.uniform(0.8, 0.95) if modern and rng.random() < 0.6 else rng.uniform(0.34, 0.62),
            rng.uniform(0.4, 0.66),
            rng.uniform(0.45, 0.58),
        ),
        "frame": rng.random() < 0.8,
        "trim": np.array([1, 1, 0.97], np.float32) * rng.uniform(0.45, 0.9),
        "glass": np.array([0.75, 0.9, 1.05], np.float32) * rng.uniform(0.7, 1.3),
        "sheen": rng.uniform(0, 2.2),
        "cells": rng.random((16, 16), np.float32),
        "bands": rng.random() < 0.3,
        "shop": dense and rng.random() < 0.75,
        "awning": rng.random() < 0.4,
        "shop_colours": shops,
        "door": rng.uniform(0.05, 0.55, 3),
        "blank": rng.random() < 0.05,
        "shadow_line": rng.uniform(-2, 7),
        "exposure": rng.uniform(0.85, 1.1),
    }
