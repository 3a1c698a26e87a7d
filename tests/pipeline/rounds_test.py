"""Rounds of self-training: where they lie, what they take over, and what a run says of them."""

import json
import shutil

import numpy as np
import pytest

from csst_jax import pipeline
from csst_jax.data.stored.encoded import decode_label
from csst_jax.models.weights import files
from csst_jax.settings import resolve
from csst_jax.stages import label, snapshots
from csst_jax.stages.artifact import StaleArtifactError
from csst_jax.types import CsstError

STAGES = ("rounds/1/pseudo_labels", "rounds/1/student", "pseudo_labels", "student")


def in_two_rounds(config):
    config.rounds = 2
    config.label.class_portion, config.label.class_portion_growth = 0.5, 0.2
    return config


def st_plus_plus(config):
    config.rounds, config.teacher.snapshots, config.teacher.epochs = 2, 2, 3
    config.label.reliable_share = 0.5
    config.student.method.name = "real_and_pseudo"
    config.student.update({"batch_size": 16, "samples_per_epoch": 32})
    return config


def request(workdir, stage):
    return json.loads((workdir / stage / "stage.json").read_text())["request"]


def maps(config, directory):
    pool = resolve.data(config).training(resolve.data(config).open())
    labelled, _ = label.read(directory, pool, config.label.shard_size)
    return [decode_label(labelled.label_bytes(i)) for i in range(len(labelled))]


@pytest.mark.slow
@pytest.mark.essential("two rounds of self-training")
def test_the_student_is_the_next_teacher_and_both_rounds_are_kept_and_compared(config, tmp_path, caplog):
    caplog.set_level("INFO")
    results = pipeline.run(resolve.run(in_two_rounds(config)), tmp_path)
    hashes = [files.describe(tmp_path / name).weights_sha256 for name in ("teacher", "rounds/1/student", "student")]
    assert len(set(hashes)) == 3 and results["student"]["weights_sha256"] == hashes[2]
    assert [request(tmp_path, stage)["teacher_sha256"] for stage in STAGES] == [hashes[0]] * 2 + [hashes[1]] * 2
    portions = [
        request(tmp_path, f"{prefix}pseudo_labels")["settings"]["class_portion"] for prefix in ("rounds/1/", "")
    ]
    assert portions == [0.5, 0.7], "the portion grows"
    assert [request(tmp_path, stage)["seed"] for stage in STAGES if "student" in stage] == [1, 2]
    first, second = results["rounds"]
    assert (first["round"], second["round"]) == (1, 2) and "change" not in first
    before, now = (maps(config, tmp_path / stage) for stage in STAGES if "labels" in stage)
    changed = np.mean([(a != b).mean() for a, b in zip(before, now, strict=True)])
    assert second["change"]["changed"] == pytest.approx(changed) and second["change"]["images"] == 4
    assert f"pseudo_labels: {100 * changed:.1f} % of the pixels have another label than in round 1" in caplog.text
    assert second["student"]["miou"] == results["student"]["miou"]
    assert set(first["student"]["iou"]) == {"ground", "box", "post", "sign"}
    assert {"rounds/1/student", "rounds/1/pseudo_labels"} <= set(results["wall_s"])
    assert "round 2" in (tmp_path / "report.html").read_text()
    again = pipeline.run(resolve.run(config), tmp_path)
    assert again == results, "it is skipped when it is finished"


@pytest.mark.slow
def test_st_plus_plus_trains_on_the_reliable_half_and_then_on_all(config, tmp_path):
    results = pipeline.run(resolve.run(st_plus_plus(config)), tmp_path)
    kept = snapshots.read(tmp_path / "teacher", 2)
    assert [network.steps for network in kept] == [2, 4], "two steps an epoch, three epochs"
    with pytest.raises(CsstError, match="has 2 networks of earlier epochs, and 3 belong there"):
        snapshots.read(tmp_path / "teacher", 3)
    ranked = json.loads((tmp_path / "rounds/1/pseudo_labels/reliability.json").read_text())
    assert sorted(ranked) == ["image04", "image05", "image06", "image07"]
    assert list(ranked.values()) == sorted(ranked.values(), reverse=True)
    plans = [json.loads((tmp_path / stage / "plan.json").read_text()) for stage in STAGES if "student" in stage]
    assert [plan["images"]["pseudo"] for plan in plans] == [2, 4]
    before, now = (maps(config, tmp_path / stage) for stage in STAGES if "labels" in stage)
    reliable = sorted(int(image_id[-1]) - 4 for image_id in list(ranked)[:2])
    for position in range(4):
        same = np.array_equal(before[position], now[position])
        assert same == (position in reliable), "the student labels the others anew"
    assert results["rounds"][0]["mean_reliability"] == pytest.approx(np.mean(list(ranked.values())))
    assert "reliability.json" not in {path.name for path in (tmp_path / "pseudo_labels").iterdir()}


@pytest.mark.slow
def test_a_run_of_one_round_can_go_on_with_a_second_one(copy, config, no_training):
    config.rounds = 2
    with pytest.raises(CsstError, match=r"holds a run of fewer rounds than rounds=2.*move its .* to .*rounds/1"):
        pipeline.run(resolve.run(config), copy)
    (copy / "rounds/1").mkdir(parents=True)
    for stage in ("pseudo_labels", "student"):
        shutil.move(copy / stage, copy / "rounds/1" / stage)
    with pytest.raises(AssertionError, match="a stage was trained"):
        pipeline.run(resolve.run(config), copy)
    assert (copy / "pseudo_labels" / "DONE").exists(), "the first round's student has labelled the pool"


@pytest.mark.slow
def test_fewer_rounds_than_there_are_are_refused(copy, config, no_training):
    config.rounds = 1
    config.label.class_portion_growth, config.label.class_portion = 0.1, 0.3
    with pytest.raises(StaleArtifactError, match="pseudo_labels holds the work of other settings"):
        pipeline.run(resolve.run(config), copy)
