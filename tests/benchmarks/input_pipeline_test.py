"""The input's benchmarks: what they compare is the same on both sides, and they run."""

import importlib
import json

import cv2
import numpy as np
import pytest

from benchmarks import centroid_index as index_benchmark
from benchmarks import input_pipeline, street_sized
from csst_jax.data.stored import centroid_index, encoded


@pytest.fixture
def small(monkeypatch):
    """Images of 96x160, crops of 32: the benchmark in seconds."""
    for name, value in (("HEIGHT", 192), ("WIDTH", 256)):
        monkeypatch.setattr(street_sized, name, value)
    monkeypatch.setattr(input_pipeline, "SIZE", (192, 256))
    monkeypatch.setattr(input_pipeline, "CROP_PX", 64)
    monkeypatch.setattr(input_pipeline, "BATCH", 4)


def test_scipys_side_finds_the_same_components(small):
    label = street_sized.label(3)
    klass, y, x, area = centroid_index.components(label, street_sized.NUM_CLASSES)
    theirs = index_benchmark._scipy(("id", encoded.encode_label(label)))
    for k, (centroids, areas) in enumerate(theirs):
        mine = klass == k
        np.testing.assert_allclose(
            np.sort(np.stack([y, x], 1)[mine], axis=0), np.sort(centroids, axis=0), rtol=1e-6, atol=1e-5
        )
        np.testing.assert_array_equal(np.sort(area[mine]), np.sort(areas))


@pytest.mark.slow
def test_every_form_of_storage_is_measured(small, tmp_path, capsys):
    input_pipeline.write_files(tmp_path, 3, 1)
    input_pipeline.storages(tmp_path, 3, 2, 1)
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [row[0].strip() for row in rows[2:]] == ["tiles", "jpeg95", "original"]
    size = {row[0].strip(): float(row[1]) for row in rows[2:]}
    assert size["jpeg95"] < size["tiles"] and all(float(row[-1]) > 0 for row in rows[2:])


def test_pytorch_crops_what_we_crop(small, tmp_path):
    pytest.importorskip("torch", reason="needs requirements-bench.txt")
    from benchmarks import torch_loader
    from csst_jax.data.crop import place, scaled_crop

    input_pipeline.write_files(tmp_path, 1, 1)
    image, label = tmp_path / "image000.png", tmp_path / "label000.png"
    for centre, scale in (((20, 30), 0.6), ((150, 200), 1.7), ((90, 10), 0.2)):
        source, there = place((192, 256), np.array(centre), scale, 64, anywhere=True)
        boxes = [(w.top, w.left, w.height, w.width) for w in (source, there)]
        theirs = torch_loader.Crops([torch_loader.Crop(str(image), str(label), scale, *boxes)], 64, False)[0]
        ours = np.empty((64, 64, 3), np.uint8), np.empty((64, 64), np.uint8)
        data = image.read_bytes(), label.read_bytes()
        scaled_crop(*data, np.array(centre), scale, True, image_out=ours[0], label_out=ours[1])
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, two.numpy())


@pytest.mark.slow
def test_images_compress_as_cityscapes_does():
    sizes = [len(cv2.imencode(".png", street_sized.image(seed))[1]) for seed in range(2)]
    assert 2.0e6 < np.mean(sizes) < 2.7e6


@pytest.mark.slow
def test_the_index_benchmark_runs(small, capsys):
    arguments = ["--pairs=1", "--labels=2", "--repeats=3", "--images=300", "--num_workers=1", "--json"]
    assert index_benchmark.main(arguments) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["index_ratio_scipy"] > 1 and found["index_images_s_core"] > 0 and found["index_load_s"] > 0


@pytest.mark.parametrize("name", ["input_pipeline", "centroid_index"])
def test_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert stopped.value.code == 0 and "--json" in capsys.readouterr().out
