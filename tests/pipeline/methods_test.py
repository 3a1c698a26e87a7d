"""Methods and averages from streams to scores."""

import json

import numpy as np
import pytest

from csst_jax import pipeline
from csst_jax.models.weights import files
from csst_jax.settings import resolve
from tests.pipeline.outcomes import evaluated, stored

OWN_MODULES = {
    "cps": {"second"},
    "cct": {"cct"},
    "u2pl": {"u2pl"},
    "pseudoseg": {"pseudoseg"},
    "hlcon": {"hlcon"},
    "corrmatch": {"corrmatch"},
}
"""Prefixes of what a method trains beside the network."""
SMALL = {
    "dst_cbc": {"unlabelled_parts": 1},
    "u2pl": {"bank": 64, "new_keys": 16},
    "hlcon": {"discriminator_channels": 4},
    "cct": {"drop": 1, "cutout": 1, "feature_drop": 1, "feature_noise": 1},
}
"""Settings that make a short run of a method short."""


@pytest.mark.slow
@pytest.mark.essential("a method of two views and an average")
def test_a_student_of_the_mean_teacher_needs_no_teacher_and_is_its_average(config, tmp_path):
    """The whole way: streams, state, checkpoint, model file, scores, hash."""
    config.stages = "student,evaluate"
    config.student.update({"batch_size": 16, "samples_per_epoch": 64})
    config.student.method.name = "mean_teacher"
    config.student.method.mean_teacher.confidence_threshold = 0.0
    results = pipeline.run(resolve.run(config), tmp_path)
    assert set(results) == {"student", "data", "compilations", "wall_s"} and results["student"]["steps"] == 8
    assert not (tmp_path / "teacher").exists() and not (tmp_path / "pseudo_labels").exists()
    arrays, description = files.read(tmp_path / "student")
    state = stored(tmp_path / "student")
    average = state["method"]["average"]
    for name, value in arrays.items():
        part = "params" if name in average["params"] else "batch_stats"
        np.testing.assert_array_equal(value, average[part][name], err_msg=name)
    assert any(not np.array_equal(arrays[name], value) for name, value in state["params"].items())
    assert description.method == "mean_teacher"
    assert description.weights_sha256 == results["student"]["weights_sha256"] == files.weights_sha256(arrays)
    online = tmp_path / "online.safetensors"
    files.write(online, {**state["params"], **state["batch_stats"]}, description)
    config.student.method.name = "supervised"
    average_scores = evaluated(config, [tmp_path / "student"], tmp_path / "a")["student"]
    online_scores = evaluated(config, [online], tmp_path / "b")["online"]
    assert average_scores["confusion"] != online_scores["confusion"], "this test sees no difference"
    assert average_scores["miou"] == results["student"]["miou"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "consistency",
        "freematch",
        pytest.param("unimatch", marks=pytest.mark.essential("a method of three views and perturbed features")),
        "unimatch_v2",
        "cps",
        "cct",
        "u2pl",
        "pseudoseg",
        "hlcon",
        "dst_cbc",
        "corrmatch",
    ],
)
def test_a_method_of_one_stage_keeps_the_network_that_predicts_and_nothing_else(name, config, tmp_path):
    config.stages = "teacher,evaluate"
    config.teacher.update({"batch_size": 16, "samples_per_epoch": 64})
    config.teacher.method.name = name
    config.teacher.precise_bn_steps = 2  # over the crops of all streams
    if "confidence_threshold" in config.teacher.method[name]:
        config.teacher.method[name].confidence_threshold = 0.0
    if name in SMALL:
        config.teacher.method[name].update(SMALL[name])
    results = pipeline.run(resolve.run(config), tmp_path)
    assert results["teacher"]["steps"] == 8 and np.isfinite(results["teacher"]["miou"])
    arrays, description = files.read(tmp_path / "teacher")
    state = stored(tmp_path / "teacher")
    predicting = state["method"].get("average", state) if name != "hlcon" else state
    for array, value in arrays.items():
        part = "params" if array in predicting["params"] else "batch_stats"
        assert np.array_equal(value, predicting[part][array]) == (part == "params"), array
    assert not any(array.partition(".")[0] in set().union(*OWN_MODULES.values()) for array in arrays)
    more = {array for array in {**state["params"], **state["batch_stats"]} if array not in arrays}
    assert {array.partition(".")[0] for array in more} == OWN_MODULES.get(name, set())
    assert name != "cps" or {f"second.{array}" for array in arrays} == more
    assert description.method == name
    losses = {
        "consistency": {"unlabelled"},
        "freematch": {"unlabelled"},
        "unimatch": {"strong", "strong_2", "feature"},
        "unimatch_v2": {"strong", "strong_2"},
        "cps": {"cross", "second_main", "second_early", "second_cross"},
        "cct": {"consistency"},
        "u2pl": {"unlabelled", "contrast"},
        "pseudoseg": {"attention", "presence", "unlabelled"},
        "hlcon": {"matching", "unlabelled", "presence", "agreement"},
        "dst_cbc": {"unlabelled"},
        "corrmatch": {"correlated", "strong", "soft", "feature", "correlated_strong", "correlated_weak"},
    }
    rows = [json.loads(line) for line in (tmp_path / "teacher" / "metrics.jsonl").read_text().splitlines()]
    told = {key.removeprefix("loss_") for row in rows for key in row if key.startswith("loss_")}
    assert told == {"main", "early"} | losses[name]


def test_any_stage_can_predict_with_an_average_of_its_weights(config, tmp_path):
    config.stages = "teacher"
    config.teacher.average_decay = 0.9
    pipeline.run(resolve.run(config), tmp_path)
    arrays, _ = files.read(tmp_path / "teacher")
    state = stored(tmp_path / "teacher")
    for name, value in state["method"]["average"]["params"].items():
        np.testing.assert_array_equal(arrays[name], value, err_msg=name)
    assert any(not np.array_equal(arrays[name], value) for name, value in state["params"].items())
