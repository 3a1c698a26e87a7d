"""What the camera does to a procedural street scene: haze, reflections, exposure, optics, noise; void borders."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageFilter

from data_prep.street.canvas import PAVEMENT, ROAD, VOID, Camera, Canvas, mix, noise
from data_prep.street.layout import Light


@functools.cache
def _gaussian() -> np.ndarray:
    """Standard normal noise, float32 [900,900]; cut at random offsets, which costs less than drawing it anew."""
    return np.random.Generator(np.random.Philox(key=77)).standard_normal((900, 900), np.float32)


def add_air(canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator) -> None:
    """Haze by depth, reflections on wet ground, veil of a low sun (in place)."""
    haze = light.skyline * 0.9
    veil = 1 - np.exp(-canvas.depth / light.visibility_m)
    veil[canvas.depth > 5e3] = 0
    canvas.image += (haze.astype(np.float32) - canvas.image) * veil[..., None].astype(np.float32)
    if light.wet > 0:
        first = int(camera.horizon) + 1
        rows = np.arange(first, canvas.height)
        source = np.clip(2 * first - rows, 0, canvas.height - 1)
        seen = (
            np.asarray(
                Image.fromarray((np.clip(canvas.image, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(4)),
                np.float32,
            )[source]
            / 255
        )
        ground = np.isin(canvas.label[first:], (ROAD, PAVEMENT))
        off = rng.uniform(0, 512, 2).tolist()
        far = camera.up / -camera.ray_y[first:, None]
        puddles = np.clip(2.5 * noise("soft", far * 14 + off[0], far * camera.ray_x[None] * 14 + off[1]) - 0.6, 0.15, 1)
        weight = (0.5 * light.wet * puddles * ground * np.clip(far / 12, 0.35, 1))[..., None]
        canvas.image[first:] = mix(canvas.image[first:], seen, weight)


def photograph(
    canvas: Canvas, light: Light, rng: np.random.Generator, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Camera roll, exposure, white balance, blur, vignette, noise, JPEG traces.

    Returns image uint8 [height,width,3] and label uint8 [height,width].
    """
    metered = 0.42 / float(np.median(canvas.image[::4, ::4].mean(-1)) + 0.02)
    exposure = min(metered, 3.0) ** rng.uniform(0.45, 0.95) * np.exp(rng.normal(0, 0.2))
    balance = np.exp(rng.normal(0, 0.045, 3))
    linear = np.clip(canvas.image * (exposure * balance * (255 / 1.6)).astype(np.float32), 0, 255).astype(np.uint8)
    tone = np.arange(256) * (1.6 / 255)
    tone = np.where(tone > 0.7, 0.7 + 0.3 * np.tanh((tone - 0.7) / 0.3), tone) ** rng.uniform(
        0.85, 1.2
    )  # film shoulder
    picture = Image.fromarray(linear).point(list((tone * 255 + 0.5).astype(int)) * 3)
    mask = Image.fromarray(canvas.label)
    roll, zoom = float(np.clip(rng.normal(0, 0.014), -0.027, 0.027)), 0.955 * canvas.width / width
    cos, sin = zoom * np.cos(roll), zoom * np.sin(roll)
    affine = (
        cos,
        -sin,
        (canvas.width - cos * width + sin * height) / 2,
        sin,
        cos,
        (canvas.height - sin * width - cos * height) / 2,
    )
    picture = picture.transform((width, height), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    label = np.array(
        mask.transform((width, height), Image.Transform.AFFINE, affine, Image.Resampling.NEAREST, fillcolor=VOID)
    )
    if rng.random() < 0.5:
        picture = picture.filter(ImageFilter.BoxBlur(rng.uniform(0.2, 0.9)))
    elif rng.random() < 0.4:
        picture = picture.filter(ImageFilter.SHARPEN)
    image = np.asarray(picture, np.float32) / 255
    grey = (0.3 * image[..., :1] + 0.5 * image[..., 1:2]) + 0.2 * image[
        ..., 2:
    ]  # no BLAS: the same bytes on any threads
    image = mix(grey, image, rng.uniform(0.55, 1.25))
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None]
    image = image * (1 - rng.uniform(0, 0.3) * (x * x + y * y) / 2)[..., None]
    level = rng.uniform(0.004, 0.02) * (1.5 if light.ambient < 0.5 else 1.0)
    table = _gaussian()
    corners = rng.integers(0, [900 - height, 900 - width], (4, 2))
    grain = np.stack([table[a : a + height, b : b + width] for a, b in corners], -1)
    image = image + level * (grain[..., 3:] + 0.6 * grain[..., :3])
    if rng.random() < 0.3:  # something on the windscreen: lifted blacks
        image = mix(image, np.float32(light.skyline.mean()), rng.uniform(0.03, 0.14))
    result = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    if rng.random() < 0.6:
        buffer = io.BytesIO()
        Image.fromarray(result).save(buffer, "JPEG", quality=int(rng.integers(45, 90)))
        result = np.array(Image.open(buffer).convert("RGB"))
    return result, void_border(label, rng)


def void_border(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sets parts of the borders between classes to void, as hand-made masks have them."""
    edge = np.zeros(label.shape, bool)
    across, down = label[:, 1:] != label[:, :-1], label[1:] != label[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    off = rng.uniform(0, 512, 2).tolist()
    rows, columns = np.arange(label.shape[0])[:, None], np.arange(label.shape[1])[None]
    chosen = noise("soft", rows * 1.2 + off[0], columns * 1.2 + off[1]) > 0.62
    return np.where(edge & chosen, np.uint8(VOID), label)
