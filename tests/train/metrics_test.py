"""The JSON-lines file."""

import json

from csst_jax.runtime.workdir import METRICS_FILE
from csst_jax.train.metrics import JsonLinesWriter, make_writer


def steps(directory):
    return [json.loads(line)["step"] for line in (directory / METRICS_FILE).read_text().splitlines()]


def test_a_resumed_run_drops_what_it_is_about_to_write_again(tmp_path):
    writer = JsonLinesWriter(tmp_path, 0)
    for step in (5, 10, 15):
        writer.write_scalars(step, {"loss": 1 / step})
    writer.close()
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write('{"step": 20, "lo')  # what a killed run leaves
    writer = JsonLinesWriter(tmp_path, resume_step=10)
    writer.write_scalars(15, {"loss": 0.5})
    writer.close()
    assert steps(tmp_path) == [5, 10, 15]
    assert json.loads((tmp_path / METRICS_FILE).read_text().splitlines()[-1]) == {"step": 15, "loss": 0.5}


def test_what_is_not_finite_is_null(tmp_path):
    writer = JsonLinesWriter(tmp_path, 0)
    writer.write_scalars(5, {"loss": float("nan"), "gradient_norm": float("inf"), "skipped": 1})
    writer.close()

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    line = json.loads((tmp_path / METRICS_FILE).read_text(), parse_constant=refuse)
    assert line == {"step": 5, "loss": None, "gradient_norm": None, "skipped": 1.0}


def test_a_run_that_starts_over_drops_all(tmp_path):
    writer = JsonLinesWriter(tmp_path, 0)
    writer.write_scalars(5, {"loss": 1})
    writer.close()
    JsonLinesWriter(tmp_path, 0).close()
    assert steps(tmp_path) == []


def test_other_processes_write_nothing(tmp_path):
    writer = make_writer(tmp_path, 0, write=False)
    writer.write_scalars(1, {"loss": 1.0})
    writer.flush()
    writer.close()
    assert not any(tmp_path.iterdir())
