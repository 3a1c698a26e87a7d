"""Scores while a stage trains: when, of what, and that training does not notice."""

import json
import shutil
import types

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from csst_jax import pipeline
from csst_jax.evaluation.whole_image import Averaging
from csst_jax.models import zoo
from csst_jax.settings import resolve
from csst_jax.stages import while_training
from csst_jax.types import Phase
from tests.conftest import tiny_label
from tests.toy_network import train_toys

SETTINGS = types.SimpleNamespace(every_epochs=-1, images_while_training=8, batch_size=4, averaging=Averaging())


def planned(steps=100, epochs=20, images=30, **changes):
    """The plan of a stage of 8 crops of 96 px a step, and of images of 96 x 128 px."""
    from csst_jax.data.stored.encoded import encode_label

    label = encode_label(tiny_label(0))
    selection = types.SimpleNamespace(
        labelled=tuple(range(images)), reader=types.SimpleNamespace(label_bytes=lambda record: label)
    )
    settings = types.SimpleNamespace(**{**vars(SETTINGS), **changes})
    return while_training.plan(settings, selection, [Phase(96, 8, steps // epochs)] * epochs)


def test_five_times_a_stage_as_far_as_it_costs_little():
    plan = planned()
    assert plan.steps == (20, 40, 60, 80, 100) and len(plan.records) == 8 and plan.size == (96, 128)
    assert plan.records[0] == 0 and plan.records[-1] == 29, "evenly from all of them"
    assert planned(images=3).records == (0, 1, 2)
    for more in ({}, {"averaging": Averaging(scales=(0.5, 1.0, 2.0), flip=True)}, {"batch_size": 1}, {"steps": 40}):
        plan = planned(**more)
        trained = more.get("steps", 100) * 8 * 96**2
        batch = more.get("batch_size", 4)
        predicted = len(plan.steps) * -(-len(plan.records) // batch) * batch * 96 * 128
        cost = sum(s**2 for s in more["averaging"].scales) * 2 if "averaging" in more else 1
        assert predicted * cost <= 0.1 * trained, more
    costly = Averaging(scales=(0.5, 1.0, 2.0), flip=True)
    assert planned(steps=20, averaging=costly) is None, "not even one batch of images is cheap enough"


def test_as_often_as_asked_for():
    assert planned(every_epochs=0) is None
    assert planned(every_epochs=8).steps == (40, 80, 100), "the end is among them"
    assert planned(steps=20, every_epochs=20, images_while_training=1).records == (0,)


def test_images_are_all_of_the_commonest_size():
    """So there is one program, and no more."""
    from csst_jax.data.stored.encoded import encode_label

    labels = [tiny_label(0)[: 60 if record % 3 == 1 else 96] for record in range(9)]
    selection = types.SimpleNamespace(
        labelled=tuple(range(9)), reader=types.SimpleNamespace(label_bytes=lambda record: encode_label(labels[record]))
    )
    plan = while_training.plan(SETTINGS, selection, [Phase(96, 8, 50)])
    assert plan.records == (0, 2, 3, 5, 6, 8) and plan.size == (96, 128)


@pytest.fixture
def config(tiny_config, tiny_data, monkeypatch):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    made = train_toys(tiny_config(tiny_data))
    made.stages = "teacher"
    made.teacher.epochs = 3
    return made


def scores(workdir):
    return json.loads((workdir / "teacher" / "while_training" / "scores.json").read_text())


def lines(workdir):
    return [json.loads(line) for line in (workdir / "teacher" / "metrics.jsonl").read_text().splitlines()]


def sha256(workdir):
    return json.loads((workdir / "teacher" / "DONE").read_text())["weights_sha256"]


@pytest.mark.slow
@pytest.mark.essential("scores while a stage trains")
def test_scores_change_no_bit_and_come_once_each_after_a_stop(config, tmp_path, monkeypatch):
    pipeline.run(resolve.run(config), tmp_path / "without")
    assert not (tmp_path / "without" / "teacher" / "while_training").exists()
    config.evaluate.every_epochs = 1
    pipeline.run(resolve.run(config), tmp_path / "with")
    assert sha256(tmp_path / "with") == sha256(tmp_path / "without")
    found = scores(tmp_path / "with")
    assert [score["step"] for score in found["scores"]] == [2, 4, 6] and len(found["images"]) == 3
    assert [line["step"] for line in lines(tmp_path / "with") if "score_miou" in line] == [2, 4, 6]

    # Stopped as the second score begins: it is given up, and the run goes on with it.
    look = while_training.ScoresWhileTraining._count

    def stopped(self, weights, counted, shown, given_up):
        return look(self, weights, counted, shown, lambda: self._found and self._asked)

    monkeypatch.setattr(while_training.ScoresWhileTraining, "_count", stopped)
    monkeypatch.setattr(while_training.ScoresWhileTraining, "_asked", True, raising=False)
    pipeline.run(resolve.run(config), tmp_path / "given up")
    assert [score["step"] for score in scores(tmp_path / "given up")["scores"]] == [2]
    assert sha256(tmp_path / "given up") == sha256(tmp_path / "without")
    monkeypatch.setattr(while_training.ScoresWhileTraining, "_asked", False)
    # From the checkpoint of step 4, whose score is missing.
    again = tmp_path / "again"
    config.checkpoint.every_s = 0.0
    config.checkpoint.keep = 9
    pipeline.run(resolve.run(config), again)
    for step in ("5", "6"):
        shutil.rmtree(again / "teacher" / "checkpoints" / step)
        (again / "teacher" / "checkpoints.sha256" / f"{step}.json").unlink()
    (again / "teacher" / "DONE").unlink()
    (again / "teacher" / "model.safetensors").unlink()
    kept = scores(again)
    kept["scores"] = [score for score in kept["scores"] if score["step"] != 4]
    (again / "teacher" / "while_training" / "scores.json").write_text(json.dumps(kept))
    pipeline.run(resolve.run(config), again)
    assert sorted(score["step"] for score in scores(again)["scores"]) == [2, 4, 6]
    assert sha256(again) == sha256(tmp_path / "without")
    assert [s["miou"] for s in sorted(scores(again)["scores"], key=lambda s: s["step"])] == [
        s["miou"] for s in found["scores"]
    ]


@pytest.mark.slow
def test_what_tensorboard_gets(config, tmp_path):
    config.evaluate.every_epochs = 1
    config.profile.steps = (3, 4)
    pipeline.run(resolve.run(config), tmp_path)
    events = EventAccumulator(str(tmp_path / "teacher"), {"images": 0, "scalars": 0, "tensors": 0}).Reload()
    tags = set(events.Tags()["tensors"])
    assert {"loss/loss", "loss/main", "rate/learning_rate", "speed/images_per_s", "score/miou", "score/iou/box"} <= tags
    assert {"config", "confusion_matrix", "image_mask_prediction/0"} <= tags
    assert any("hparams" in tag for tag in events.summary_metadata), "hyper-parameters"
    assert list((tmp_path / "teacher" / "profile").rglob("*.xplane.pb"))
    assert (tmp_path / "report.html").stat().st_size, "the report is there after the first stage"


def test_the_picture_of_a_strip_is_a_pixel_high():
    assert while_training._small(np.zeros((2, 4000, 3), np.uint8)).shape[0] == 1


@pytest.mark.slow
def test_what_fails_turns_scores_off_and_training_goes_on(config, tmp_path, monkeypatch, caplog):
    def fail(*_):
        import jax

        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(while_training.ScoresWhileTraining, "_count", fail)
    config.evaluate.every_epochs = 1
    pipeline.run(resolve.run(config), tmp_path)
    assert "no more scores while training (RESOURCE_EXHAUSTED: out of memory)" in caplog.text
    assert caplog.text.count("no more scores") == 1 and (tmp_path / "teacher" / "DONE").exists()
