"""Procedural street scenes: determinism, value ranges, long tail, texture."""

from __future__ import annotations

import functools
import hashlib
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from csst_jax.data.descriptions import SYNTHETIC
from csst_jax.types import IGNORE_LABEL
from data_prep.street import scene

_ROOT = pathlib.Path(__file__).resolve().parents[3]


@functools.cache
def _scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    return scene.render(11, index)


def _digest(image: np.ndarray, label: np.ndarray) -> str:
    return hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest()


def test_shape_dtype_values():
    image, label = _scene(0)
    assert image.shape == (360, 480, 3) and image.dtype == np.uint8
    assert label.shape == (360, 480) and label.dtype == np.uint8
    assert set(np.unique(label)) <= {*range(len(SYNTHETIC.classes)), IGNORE_LABEL}


def test_same_bytes_in_any_order_and_process():
    expected = [_digest(*_scene(index)) for index in (0, 1)]
    assert _digest(*scene.render(11, 1)) == expected[1]  # not after scene 0 this time
    code = (
        "import hashlib; from data_prep.street import scene as s;"
        "print(*[hashlib.sha256(a.tobytes() + b.tobytes()).hexdigest() for a, b in (s.render(11, i) for i in (1, 0))])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True).stdout
    assert out.split() == expected[::-1]


def test_seed_and_index_change_the_scene():
    assert len({_digest(*_scene(0)), _digest(*_scene(1)), _digest(*scene.render(12, 0))}) == 3


def test_global_random_state_is_untouched():
    before = np.random.get_state()[1].copy()
    scene.render(1, 2)
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_negative_seed_is_refused():
    with pytest.raises(ValueError):
        scene.render(-1, 0)


@functools.cache
def _counts() -> np.ndarray:
    """Pixels per scene and label value [24,256]."""
    return np.stack([np.bincount(_scene(index)[1].ravel(), minlength=256) for index in range(24)])


@pytest.mark.slow
def test_every_class_occurs_in_twelve_scenes():
    seen = (_counts()[:12, : len(SYNTHETIC.classes)] > 30).sum(0)
    assert (seen >= 2).all(), dict(zip(SYNTHETIC.classes, seen, strict=True))


@pytest.mark.slow
def test_long_tail_and_void_share():
    total = _counts().sum(0)
    share = total[: len(SYNTHETIC.classes)] / total[: len(SYNTHETIC.classes)].sum()
    assert 0 < share.min() < 0.003
    assert share[SYNTHETIC.classes.index("Road")] > 0.2
    assert share[SYNTHETIC.classes.index("Building")] > 0.1
    assert 0.01 < total[IGNORE_LABEL] / total.sum() < 0.06


@pytest.mark.slow
def test_classes_are_textured_and_not_told_apart_by_brightness():
    grey = {name: [] for name in ("Road", "Building", "Pavement", "Tree")}
    for index in range(12):
        image, label = _scene(index)
        for name in grey:
            pixels = image[label == SYNTHETIC.classes.index(name)].mean(-1)
            if pixels.size > 2000:
                assert pixels.std() > 3, (index, name)
                grey[name].append(pixels.mean())
    road, building = grey["Road"], grey["Building"]
    assert min(road) < max(building) and min(building) < max(road)  # ranges overlap between scenes
    assert np.std(road) > 8  # light varies from scene to scene
