"""Generated images and labels of Cityscapes' size that compress as its own do, for benchmarks of the input."""

from __future__ import annotations

import cv2
import numpy as np

HEIGHT, WIDTH, NUM_CLASSES = 1024, 2048, 19


def image(seed: int) -> np.ndarray:
    """uint8 [1024, 2048, 3]: noise whose spectrum falls like a photograph's, common to the channels and of each alone.

    Amplitudes are such that a PNG has about 2.3 MB, Cityscapes' mean: how fast an image is decoded depends on that.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    frequency[0, 0] = 1.0

    def noise(exponent: float, cut: float) -> np.ndarray:
        spectrum = np.fft.rfft2(rng.standard_normal((HEIGHT, WIDTH))) / frequency**exponent * (frequency < cut)
        field = np.fft.irfft2(spectrum, s=(HEIGHT, WIDTH))
        return field / field.std()

    grey = 100 + 40 * noise(1.6, 0.35)
    channels = [grey + 8 * noise(1.8, 0.2) + rng.normal(0, 0.5, grey.shape) for _ in range(3)]
    return np.clip(np.stack(channels, -1), 0, 255).round().astype(np.uint8)


def label(seed: int) -> np.ndarray:
    """uint8 [1024, 2048]: regions of 19 classes with curved borders and a few dozen components, and some void."""
    rng = np.random.default_rng(seed)
    highest = np.full((HEIGHT, WIDTH), -np.inf, np.float32)
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    for klass in [*range(NUM_CLASSES), 255]:
        coarse = rng.standard_normal((HEIGHT // 128, WIDTH // 128)).astype(np.float32)
        field = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        classes[field > highest] = klass
        np.maximum(highest, field, out=highest)
    return classes
