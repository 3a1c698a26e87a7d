"""`python -m csst_jax.suggest`: a list, copies of images, and a sheet, of a workdir alone."""

import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from csst_jax.data.chosen import Data
from csst_jax.data.store import DataSet
from csst_jax.evaluation.whole_image import Averaging
from csst_jax.models import zoo
from csst_jax.models.weights import files
from csst_jax.stages import model_file
from csst_jax.suggestion import pool as pools
from csst_jax.suggestion import written
from csst_jax.suggestion.look import Looker
from csst_jax.types import CsstError
from tests.conftest import TINY_CLASSES
from tests.data_prep.breaking import photo
from tests.prediction import toy_file

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))


@pytest.fixture
def workdir(tiny_config, tiny_data, tmp_path):
    """A run's, as far as the command looks."""
    run = tmp_path / "run"
    for seed, stage in enumerate(("teacher", "student")):
        toy_file.write(run / stage / "model.safetensors", classes=TINY_CLASSES, seed=seed)
    (run / "config.json").write_text(json.dumps(tiny_config(tiny_data).to_dict()))
    return run


def test_a_looker_sees_what_the_logits_say_and_no_padding(tmp_path):
    trained = model_file.load(toy_file.write(tmp_path / "toy.safetensors"))
    image = photo(size=(40, 50))
    seen = Looker(trained)(image)
    padded = np.pad(image, ((0, 24), (0, 14), (0, 0)), mode="edge")[None]
    state = jax.tree.map(jax.numpy.asarray, trained.weights)
    logits = trained.network.apply_eval(*state, trained.expects(padded.astype(np.float32) / 255))["logits"]
    p = np.asarray(jax.nn.softmax(logits[0]))[:40, :50]
    np.testing.assert_array_equal(seen.classes, p.argmax(-1))
    np.testing.assert_allclose(seen.entropy, -(p * np.log(np.maximum(p, 1e-30))).sum(-1) / np.log(4), atol=1e-5)
    np.testing.assert_allclose(seen.features, p.mean((0, 1)), atol=1e-5)  # the toy names no features


def test_a_looker_takes_the_windows_of_labels(tmp_path):
    trained = model_file.load(toy_file.write(tmp_path / "toy.safetensors"))
    image = photo(size=(40, 50))  # padded to 64 x 64
    averaging = Averaging(window_px=48, window_overlap=0.5)
    seen = Looker(trained, averaging)(image)
    padded = np.pad(image, ((0, 24), (0, 14), (0, 0)), mode="edge")[None]
    state = jax.tree.map(jax.numpy.asarray, trained.weights)
    total, features, positions = np.zeros((64, 64, 4)), np.zeros(4), 0
    for top, left in ((0, 0), (0, 16), (16, 0), (16, 16)):
        part = padded[:, top : top + 48, left : left + 48].astype(np.float32) / 255
        p = np.asarray(jax.nn.softmax(trained.network.apply_eval(*state, trained.expects(part))["logits"][0]))
        total[top : top + 48, left : left + 48] += p
        features += p[: 40 - top, : 50 - left].sum((0, 1))
        positions += p[: 40 - top, : 50 - left, 0].size
    mean = (total / total.sum(-1, keepdims=True))[:40, :50]
    np.testing.assert_array_equal(seen.classes, mean.argmax(-1))
    np.testing.assert_allclose(seen.entropy, -(mean * np.log(np.maximum(mean, 1e-30))).sum(-1) / np.log(4), atol=1e-5)
    np.testing.assert_allclose(seen.features, features / positions, atol=1e-5)


def test_what_the_memory_does_not_hold_is_told_with_the_key(tmp_path, monkeypatch):
    trained = model_file.load(toy_file.write(tmp_path / "toy.safetensors"))
    monkeypatch.setattr("csst_jax.evaluation.memory.room_bytes", lambda: 2**10)
    with pytest.raises(CsstError, match="image of 64 x 64 px takes .* in windows, of label.window_px=1024"):
        Looker(trained)(photo(size=(40, 50)))
    with pytest.raises(CsstError, match="give less than label.window_px=48"):
        Looker(trained, Averaging(window_px=48))(photo(size=(40, 50)))


def test_an_earlier_suggestions_copies_are_removed_and_masks_beside_them_are_not(tiny_data, tmp_path):
    pool = Data(str(tiny_data), "train", "val", "", "", "").training(DataSet.open(tiny_data))
    looker = Looker(model_file.load(toy_file.write(tmp_path / "toy.safetensors", classes=TINY_CLASSES)))
    both = pools.suggest(pool, looker, None, 2)
    written.write(tmp_path, pool, looker, both, "a")
    (tmp_path / "images" / f"{both[0].id}_mask.png").touch()
    written.write(tmp_path, pool, looker, both[1:], "a")
    names = {path.name for path in (tmp_path / "images").iterdir()}
    assert names == {f"{both[0].id}_mask.png", f"{both[1].id}.png"}
    assert both[0].id not in written.table(both[1:]) and "–" in written.table(both[1:])


def test_a_mask_under_the_name_of_a_copy_is_neither_removed_nor_replaced(tiny_data, tmp_path):
    pool = Data(str(tiny_data), "train", "val", "", "", "").training(DataSet.open(tiny_data))
    looker = Looker(model_file.load(toy_file.write(tmp_path / "toy.safetensors", classes=TINY_CLASSES)))
    both = pools.suggest(pool, looker, None, 2)
    mask = tmp_path / "images" / f"{both[0].id}.png"
    assert written.write(tmp_path, pool, looker, both, "a") == []
    mask.write_bytes(b"a mask")
    for again in (both, both[1:], both):
        assert written.write(tmp_path, pool, looker, again, "a") == [mask]
        assert mask.read_bytes() == b"a mask"


def test_where_masks_are_to_be_drawn_is_told_of_images_that_were_made_smaller(tmp_path):
    assert "photos" not in written.places(tmp_path, 0) and str(tmp_path / "suggested.txt") in written.places(
        tmp_path, 0
    )
    assert "at most 1024 px. Draw the masks on the photos" in written.places(tmp_path, 1024)


def test_without_unlabelled_images_there_is_nothing_to_suggest(tiny_data):
    pool = Data(str(tiny_data), "val", "val", "", "", "").training(DataSet.open(tiny_data))
    with pytest.raises(CsstError, match="all 3 images of split 'val' .* have a mask"):
        pools.suggest(pool, None, None, 2)


@pytest.mark.slow
@pytest.mark.essential("what to label next")
def test_the_command_needs_a_workdir_alone(workdir, tiny_data):
    program = toy_file.WITH_TOY + 'runpy.run_module("csst_jax.suggest", run_name="__main__", alter_sys=True)'
    command = [sys.executable, "-c", program, f"--workdir={workdir}", "--count=3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    data_set = DataSet.open(tiny_data)
    unlabelled = set(data_set.ids("train")) - set(data_set.labelled_ids("train"))
    ids = (workdir / "suggested" / "suggested.txt").read_text().split()
    assert len(ids) == 3 and set(ids) < unlabelled
    details = json.loads((workdir / "suggested" / "suggested.json").read_text())
    assert [entry["id"] for entry in details["suggested"]] == ids
    assert all(0 < entry["uncertainty"] < 1 and 0 < entry["disagreement"] < 1 for entry in details["suggested"])
    assert details["weights_sha256"] == files.describe(workdir).weights_sha256
    for image_id in ids:
        record = data_set.ids("train").index(image_id)
        copied = workdir / "suggested" / "images" / f"{image_id}.png"
        assert copied.read_bytes() == data_set.reader("train").image_bytes(record)
    with Image.open(workdir / "suggested" / "contact_sheet.png") as sheet:
        assert sheet.width == 3 * 368 + 8
    assert [line.split()[1] for line in done.stdout.splitlines() if line[:4].strip().isdigit()] == ids
