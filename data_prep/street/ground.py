"""Sky, far skyline, road, pavement and verges of the procedural street scenes."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data_prep.street.canvas import BUILDING, PAVEMENT, ROAD, SKY, TREE, Camera, Canvas, mix, noise
from data_prep.street.layout import Light, Street

_ASPHALT, _PAINT, _YELLOW, _SLAB, _LAWN = range(5)  # rows of the ground's palette


def paint_sky(canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator) -> None:
    """Gradient from zenith to skyline, clouds in perspective (denser towards the horizon), sun halo."""
    rows = max(min(int(camera.horizon) + 3, canvas.height), 1)
    up = np.maximum(camera.ray_y[:rows], 0.004)[:, None]
    fall = np.clip(1 - up / 0.55, 0, 1) ** rng.uniform(1.2, 3)
    image = light.zenith + (light.skyline - light.zenith) * fall[..., None]
    image = np.broadcast_to(image, (rows, canvas.width, 3)).astype(np.float32)
    far = rng.uniform(25, 70) / (up + 0.18)
    off = rng.uniform(0, 512, 4).tolist()
    col = camera.ray_x[None]
    cover = noise("soft", far * 3 + off[0], col * far * 1.3 + off[1])
    cover = 0.65 * cover + 0.35 * noise("rough", far * 5 + off[2], col * far * 2.2 + off[3])
    amount = np.clip((cover - 0.78 + 0.55 * light.clouds) * 4, 0, 1)
    bright = np.clip(light.skyline.mean() * 1.12 + 0.05, 0, 1.05)
    tone = bright * (1 - 0.45 * light.clouds * np.clip(cover - 0.3, 0, 1))[..., None] * (0.6 * light.tint + 0.4)
    image = mix(image, tone, 0.9 * amount[..., None])
    if light.sun > 0.2:
        across = (
            (col - light.sun_dir[0] / max(light.sun_dir[2], 0.05))
            if light.sun_dir[2] > 0.05
            else np.full_like(col, 9.0)
        )
        near = across**2 + (camera.ray_y[:rows, None] - light.sun_dir[1] / max(light.sun_dir[2], 0.05)) ** 2
        image = image + (0.7 * np.exp(-near / 0.03) + 0.25 * np.exp(-near / 0.3))[..., None] * light.tint
    canvas.image[:rows] = image
    canvas.label[:rows] = SKY


def paint_skyline(canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator) -> None:
    """Far houses and tree lines above the horizon, one height per column."""
    columns = np.arange(canvas.width)
    off, depth = rng.uniform(0, 512, 4).tolist(), rng.uniform(110, 170)
    for kind in rng.permutation(["trees", "houses"]):
        if rng.random() < 0.25:
            continue
        if kind == "houses":
            lots = np.cumsum(rng.uniform(8, 40, canvas.width // 8))
            which = np.searchsorted(lots, columns)
            height = rng.uniform(1, 9, lots.size + 1)[which]
            tone = rng.uniform(0.25, 0.62, (lots.size + 1, 1)) * (1 + rng.uniform(-0.12, 0.12, (lots.size + 1, 3)))
            colour = tone[which][None]
        else:
            height = 1 + 9 * noise("rough", np.float32(off[0]), columns * 1.5 + off[1]) * np.clip(
                2.2 * noise("soft", np.float32(off[2]), columns * 0.5) - 0.4, 0, 1
            )
            colour = np.array([0.22, 0.27, 0.15]) * rng.uniform(0.7, 1.4)
        top = np.clip(camera.horizon - height * camera.focal / depth, 0, canvas.height)
        first, last = int(top.min()), min(int(camera.horizon) + 2, canvas.height)
        rows = np.arange(first, last)[:, None]
        texture = 0.6 + 0.8 * noise("rough", rows * 3.0 + off[3], columns[None] * 3.0)
        alpha = np.clip(rows - top[None] + 0.5, 0, 1).astype(np.float32)
        gain = light.ambient + 0.4 * light.sun
        shaded = np.broadcast_to(colour, (*texture.shape, 3)) * texture[..., None] * gain * light.tint
        canvas.paint(first, 0, alpha, shaded, BUILDING if kind == "houses" else TREE, depth)


def paint_ground(
    canvas: Canvas, camera: Camera, street: Street, light: Light, shadows: list, rng: np.random.Generator
) -> None:
    """Road with markings, kerb, pavement and verge; `shadows`: (world polygon [n,3], strength) on the ground."""
    first = int(np.floor(camera.horizon)) + 1
    far = camera.up / -camera.ray_y[first:, None]
    z = far * camera.ray_z[None]
    x = camera.x + far * camera.ray_x[None]
    side = x - street.centre(np.clip(z, 0, 160))
    left, right = street.half_road
    edge = np.where(side < 0, -side - left, side - right)  # metres beyond the kerb
    off = rng.uniform(0, 512, 6).tolist()
    fine = noise("grain", z * 64 + off[0], x * 90 + off[1])
    patch = noise("rough", z * 20 + off[2], x * 28 + off[3])
    broad = noise("soft", z * 9 + off[4], x * 18 + off[5])
    fade = np.clip(18 / far, 0, 1)
    road_tone = rng.uniform(0.24, 0.5)
    tone = road_tone * (
        1 + rng.uniform(0.15, 0.4) * fade * (fine - 0.5) + 0.1 * (patch - 0.5) + rng.uniform(0.05, 0.25) * (broad - 0.5)
    )
    tracks = np.abs(np.abs(np.abs(side) - left * 0.5) - 0.75)
    tone *= 1 - rng.uniform(0, 0.16) * np.maximum(1 - (tracks / 0.5) ** 2, 0)
    if rng.random() < 0.6:  # repaired strips of asphalt
        at, width = rng.uniform(-left, right), rng.uniform(0.5, 1.6)
        strip = (np.abs(side - at) < width / 2) & ((z * rng.uniform(0.02, 0.06) + off[0]) % 1 < 0.5)
        tone *= np.where(strip, rng.uniform(0.72, 1.18), 1)
    kind = np.zeros(z.shape, np.uint8)
    _markings(tone, kind, side, z, patch, street, rng)
    tone *= np.where((edge > -0.12) & (edge <= 0), 0.72, 1)  # gutter
    walk = edge > 0
    if street.junction is not None:
        walk &= ~((z > street.junction[0]) & (z < street.junction[1]) & (side * int(rng.choice([-1, 1])) > 0))
    slab_tone = road_tone * rng.uniform(0.85, 1.5) if rng.random() < 0.7 else rng.uniform(0.4, 0.66)
    slab = rng.uniform(0.4, 0.9)
    row, col = z / slab, edge / slab
    cell = noise("grain", np.floor(row) * 37 + off[1], np.floor(col) * 17 + off[2])
    pavement = slab_tone * (1 + fade * (0.4 * fine + 0.3 * cell - 0.35) + 0.2 * (patch - 0.5) + 0.25 * (broad - 0.5))
    pavement *= 1 - 0.2 * (((row % 1 < 0.07) | (col % 1 < 0.07)) & (far < 16))
    np.copyto(pavement, slab_tone * rng.uniform(1.05, 1.5) * (0.85 + 0.3 * patch), where=edge < 0.2)  # kerbstone
    np.copyto(tone, pavement, where=walk)
    kind[walk] = _SLAB
    label = np.where(walk, PAVEMENT, ROAD).astype(np.uint8)
    if street.kind != "dense":
        widths = np.where(side < 0, *street.pavement)
        lawn = walk & (edge > widths + (patch - 0.5) * 0.4)
        if rng.random() < 0.4:
            lawn |= walk & (edge > 0.25) & (edge < widths * 0.35 + (patch - 0.5) * 0.3)
        np.copyto(tone, 0.5 + 0.6 * fine + 0.5 * patch, where=lawn)
        kind[lawn] = _LAWN
        label[lawn] = TREE
    palette = np.ones((5, 3)) + rng.uniform(-0.05, 0.05, (5, 3))
    palette[_SLAB] += rng.uniform(-0.05, 0.05, 3) + np.array([0.03, 0, -0.03]) * rng.random()
    palette[_YELLOW] = (0.95, 0.76, 0.28)
    palette[_LAWN] = np.array([0.25, 0.32, 0.13]) * rng.uniform(0.7, 1.3) * palette[_LAWN]
    gain = float(light.shade((0, 1, 0))) * (1 - 0.3 * light.wet)
    lit = light.ambient * (1 - 0.3 * light.wet) * 0.95
    dark = _shadow_mask(canvas, camera, shadows)[first:]
    value = (
        gain
        + (lit - gain) * dark * (1.0 if light.sun > 0.2 else 0.0)
        - 0.28 * light.ambient * dark * (light.sun <= 0.2)
    )
    canvas.image[first:] = np.take((palette * light.tint).astype(np.float32), kind, axis=0) * (tone * value)[..., None]
    canvas.label[first:] = label
    canvas.depth[first:] = np.minimum(far, 400)


def _markings(
    tone: np.ndarray,
    kind: np.ndarray,
    side: np.ndarray,
    z: np.ndarray,
    patch: np.ndarray,
    street: Street,
    rng: np.random.Generator,
) -> None:
    """Centre dashes, edge lines, stop line / zebra, hatching; worn by noise."""
    white, yellow = rng.uniform(0.62, 0.92), rng.uniform(0.6, 0.85)
    left, right = street.half_road
    paint = np.zeros(side.shape, np.float32)
    period, share = rng.uniform(4, 9), rng.uniform(0.4, 0.7)
    if rng.random() < 0.85:
        paint += (np.abs(side) < 0.07) & ((z + 2) % period < period * share)
    if rng.random() < 0.25:
        for at in (-left / 2, right / 2):
            paint += (np.abs(side - at) < 0.06) & (z % period < period * 0.4)
    if rng.random() < 0.3:
        paint += (np.abs(side + left - 0.4) < 0.07) | (np.abs(side - right + 0.4) < 0.07)
    inside = (side > -left) & (side < right)
    start = street.junction[0] if street.junction else rng.uniform(7, 40)
    if rng.random() < 0.25:
        paint += inside & (np.abs(z - start + 2.5) < 1.3) & ((side % 1.1) < 0.55)
    elif rng.random() < 0.6:
        paint += (side > -left) & (side < 0) & (np.abs(z - start + 1.2) < 0.17)
    if rng.random() < 0.12:  # zigzag or hatched middle
        swing = np.abs((z / 2.2) % 2 - 1) * 0.8 - 0.4
        paint += (np.abs(side - rng.uniform(-0.5, 0.5) * left - swing) < 0.07) & (z < 26)
    worn = np.clip(2.2 * patch - rng.uniform(-0.2, 0.5), 0.1, 1) * rng.uniform(0.6, 0.95)
    shown = (paint > 0) & inside
    np.copyto(tone, mix(tone, white, worn), where=shown)
    kind[shown] = _PAINT
    if rng.random() < 0.4:
        line = np.minimum(np.abs(side + left - 0.28), np.abs(side - right + 0.28))
        double = (np.abs(line - 0.09) < 0.05) & inside
        np.copyto(tone, mix(tone, yellow, 0.8 * worn), where=double)
        kind[double] = _YELLOW


def _shadow_mask(canvas: Canvas, camera: Camera, shadows: list) -> np.ndarray:
    """Float32 [h,w] darkness 0..1 of the cast shadows, edges softened."""
    mask = Image.new("L", (canvas.width, canvas.height), 0)
    draw = ImageDraw.Draw(mask)
    for points, strength in sorted(shadows, key=lambda s: s[1]):
        polygon = camera.polygon(points)
        if len(polygon) >= 3:
            draw.polygon(
                [(max(min(u, 4e3), -4e3), max(min(v, 4e3), -4e3)) for u, v in polygon], fill=int(255 * strength)
            )
    return np.asarray(mask.filter(ImageFilter.BoxBlur(1.5)), np.float32) / 255
