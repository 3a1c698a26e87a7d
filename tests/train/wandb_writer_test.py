"""The log in Weights & Biases: what its library is told, by a stand-in, and by itself without a network."""

import importlib.util
import sys
import types

import numpy as np
import pytest

from csst_jax.train.metric_groups import grouped
from csst_jax.train.metrics import make_writer
from csst_jax.types import CsstError


class StandIn(types.ModuleType):
    """As much of wandb as the writer uses."""

    class Error(Exception):
        pass

    def __init__(self):
        super().__init__("wandb")
        self.calls = []
        self.Image = lambda array: array.shape
        self.config = types.SimpleNamespace(update=lambda *a, **k: self.calls.append(("config", a, k)))

    def init(self, **options):
        if options["project"] == "refused":
            raise self.Error("no API key")
        self.calls.append(("init", options))
        return self

    def log(self, values, step):
        self.calls.append(("log", step, values))

    def finish(self):
        self.calls.append(("finish",))


@pytest.fixture
def wandb(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", module := StandIn())
    return module


def test_it_gets_what_tensorboard_gets(tmp_path, wandb):
    stage = tmp_path / "mine" / "teacher"
    stage.mkdir(parents=True)
    for step in (0, 5):
        writer = make_writer(stage, step, write=True, wandb_project="streets")
        writer.write_scalars(5, {"loss": 1, "score_miou": np.float32(0.5)})
        writer.write_images(5, {"confusion_matrix": np.zeros((1, 4, 4, 3), np.uint8)})
        writer.write_hparams({"lr.base": 0.1})
        writer.write_texts(5, {"config": "…"})
        writer.close()
    first, second = (call[1] for call in wandb.calls if call[0] == "init")
    assert first == second and first["project"] == "streets" and first["name"] == "mine/teacher"
    assert ("log", 5, {"loss/loss": 1.0, "score/miou": 0.5}) in wandb.calls
    assert ("log", 5, {"confusion_matrix": [(4, 4, 3)]}) in wandb.calls and ("finish",) in wandb.calls


def test_a_stage_that_begins_anew_in_the_same_place_is_another_run(tmp_path, wandb):
    """W&B would drop its steps as those that it has."""
    for step in (0, 5, 0, 5):
        make_writer(tmp_path, step, write=True, wandb_project="streets").close()
    (tmp_path / "wandb.json").unlink()  # with the directory, or begun by a version that kept none
    make_writer(tmp_path, 5, write=True, wandb_project="streets").close()
    first, then, anew, later, lost = (call[1]["id"] for call in wandb.calls if call[0] == "init")
    assert first == then and anew == later and len({first, anew, lost}) == 3


def test_a_damaged_id_is_an_error_that_names_the_file(tmp_path, wandb):
    (tmp_path / "wandb.json").write_text("{")
    with pytest.raises(CsstError, match="wandb.json: .*Delete it: W&B then shows the rest"):
        make_writer(tmp_path, 5, write=True, wandb_project="streets")


def test_refusals_say_what_to_do(tmp_path, wandb, monkeypatch):
    with pytest.raises(CsstError, match="wandb.project=refused: no API key.*WANDB_MODE=offline"):
        make_writer(tmp_path, 0, write=True, wandb_project="refused")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(CsstError, match="requirements-wandb.txt"):
        make_writer(tmp_path, 0, write=True, wandb_project="streets")


@pytest.mark.slow
def test_the_library_itself_offline(tmp_path, monkeypatch):
    if importlib.util.find_spec("wandb") is None:
        pytest.skip("needs wandb (requirements-wandb.txt)")
    monkeypatch.setenv("WANDB_MODE", "offline")
    writer = make_writer(tmp_path, 0, write=True, wandb_project="streets")
    writer.write_scalars(1, {"loss": 1.0})
    writer.write_images(1, {"confusion_matrix": np.zeros((1, 4, 4, 3), np.uint8)})
    writer.write_hparams({"lr.base": 0.1})
    writer.close()
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_groups():
    names = ("loss", "loss_main", "pseudo_kept", "epoch", "left_s", "score_iou_traffic light", "gradient_norm")
    assert list(grouped(dict.fromkeys(names, 0))) == [
        "loss/loss",
        "loss/main",
        "loss/pseudo_kept",
        "rate/epoch",
        "speed/left_s",
        "score/iou/traffic light",
        "step/gradient_norm",
    ]
