"""A newcomer's way with photos of their own, by README's commands: train, look, predict, add masks, go on, export."""

import itertools
import json
import os
import re
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.small_runs import ROOT

SMALL = {"epochs": 1, "samples_per_epoch": 8, "batch_size": 8, "crop_px": 64}
CLASSES = ("ground", "wall", "ball")
SILENCE_S = 10
TURNED = 6  # EXIF: the camera was held upright; viewers turn the picture by a quarter


def scene(rng, size=(96, 128)):
    """(photo, mask): a wall above the ground, and a ball on it."""
    height, width = size
    mask = np.zeros(size, np.uint8)
    mask[: int(height * rng.uniform(0.3, 0.6))] = 1
    rows, columns = np.mgrid[:height, :width]
    top, left = rng.uniform(30, height - 20), rng.uniform(20, width - 20)
    mask[(rows - top) ** 2 + (columns - left) ** 2 < 14**2] = 2
    colours = np.array([[90, 140, 60], [150, 120, 100], [200, 40, 40]], np.float32)
    photo = colours[mask] + rng.normal(0, 12, (*size, 3))
    return Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8)), Image.fromarray(mask)


def save(photo, path, turned=False):
    """As a phone does: JPEG, and turned with the tag that says so."""
    if not turned:
        photo.save(path)
        return
    exif = Image.Exif()
    exif[0x0112] = TURNED
    photo.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


@pytest.fixture
def photos(tmp_path):
    """14 photos, one a TIFF and some turned; masks of the first 8; and 5 new photos. Returns the other masks."""
    rng = np.random.default_rng(0)
    for name in ("photos", "masks", "new_photos"):
        (tmp_path / name).mkdir()
    later = {}
    for i in range(14):
        photo, mask = scene(rng)
        save(photo, tmp_path / "photos" / (f"IMG_{i:04}.tiff" if i == 3 else f"IMG_{i:04}.jpg"), turned=i in (1, 9))
        if i < 8:
            mask.save(tmp_path / "masks" / f"IMG_{i:04}.png")
        else:
            later[f"IMG_{i:04}"] = mask
    for i in range(5):
        save(scene(rng)[0], tmp_path / "new_photos" / f"NEW_{i}.jpg", turned=i == 2)
    return later


@pytest.fixture
def csst(tmp_path):
    """`python -m MODULE …` as a user starts it; returns what it printed. No traceback and no long silence."""

    def run(module, *arguments):
        command = [sys.executable, "-m", module, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}  # as on a terminal
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, **pipes) as process:
            lines, times = [f"{module} began"], [time.monotonic()]
            for line in process.stdout:
                lines.append(line)
                times.append(time.monotonic())
        printed, times = "".join(lines[1:]), [*times, time.monotonic()]
        assert process.returncode == 0 and "Traceback" not in printed, printed
        silence, place = max((after - before, i) for i, (before, after) in enumerate(itertools.pairwise(times)))
        assert silence < SILENCE_S, f"{silence:.1f} s of silence after: {lines[place]}"
        return printed

    return run


def train(csst, workdir, *more):
    small = [f"--config.{stage}.{key}={value}" for stage in ("teacher", "student") for key, value in SMALL.items()]
    cache = "--config.compilation_cache_dir="  # the tests' own is set in the environment
    return csst("csst_jax.main", "--config=folder", "--config.data.dir=data/mine", workdir, cache, *small, *more)


@pytest.mark.slow
@pytest.mark.essential("a newcomer's way from photos to an exported network")
def test_from_photos_to_an_exported_network(tmp_path, photos, csst):
    prepare = ("data_prep.folder", "--images=photos", "--masks=masks", f"--classes={','.join(CLASSES)}")
    prepare += ("--data_dir=data", "--name=mine", "--num_workers=1")
    csst(*prepare)
    csst("data_prep.check", "--data_dir=data/mine", "--num_workers=1")
    train(csst, "--workdir=runs/mine")
    before = json.loads((tmp_path / "runs/mine/results.json").read_text())
    assert before["data"]["unlabelled"] == 6 and before["data"]["labelled"] + before["data"]["validation"] == 8
    assert "<html" in (tmp_path / "runs/mine/report.html").read_text(encoding="utf-8")[:200]

    csst("csst_jax.predict", "--checkpoint=runs/mine", "--input=new_photos", "--output=predicted")
    masks = sorted((tmp_path / "predicted").rglob("NEW_*.png"))
    assert {re.search(r"NEW_\d", path.name)[0] for path in masks} == {f"NEW_{i}" for i in range(5)}
    assert all(cv2.imread(str(path)).shape[:2] == (96, 128) for path in masks), "upright, as a viewer shows the photo"

    csst("csst_jax.suggest", "--workdir=runs/mine", "--count=4")
    suggested = (tmp_path / "runs/mine/suggested/suggested.txt").read_text().split()
    assert len(suggested) == 4 and set(suggested) <= set(photos)
    for name in suggested:
        photos[name].save(tmp_path / "masks" / f"{name}.png")
    assert "4 masks" in csst(*prepare)
    told = train(csst, "--workdir=runs/more", "--config.start_from=runs/mine")
    after = json.loads((tmp_path / "runs/more/results.json").read_text())
    assert after["data"]["unlabelled"] == 2 and after["data"]["labelled"] + after["data"]["validation"] == 12, told
    csst("csst_jax.report", "--workdir=runs/mine")  # the old run can still show its results

    pytest.importorskip("onnxruntime", reason="pip install -r requirements-export.txt")
    csst("csst_jax.export", "--checkpoint=runs/more", "--format=onnx", "--size=96x128", "--out=mine.onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "mine.onnx")
    (fed,) = session.get_inputs()
    image = np.zeros([side if isinstance(side, int) else 1 for side in fed.shape], np.float32)
    assert session.run(None, {fed.name: image})[0].shape[0] == 1
