"""Methods and averages from streams to scores."""

import numpy as np
import pytest

from csst_jax import pipeline
from csst_jax.models.weights import files
from csst_jax.settings import resolve
from tests.pipeline.outcomes import evaluated, stored


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


def test_any_stage_can_predict_with_an_average_of_its_weights(config, tmp_path):
    config.stages = "teacher"
    config.teacher.average_decay = 0.9
    pipeline.run(resolve.run(config), tmp_path)
    arrays, _ = files.read(tmp_path / "teacher")
    state = stored(tmp_path / "teacher")
    for name, value in state["method"]["average"]["params"].items():
        np.testing.assert_array_equal(arrays[name], value, err_msg=name)
    assert any(not np.array_equal(arrays[name], value) for name, value in state["params"].items())
