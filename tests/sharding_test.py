"""The comparison of steps over devices finds a difference, and its table says what did not end."""

import json

import pytest

from csst_jax.models import convolution, zoo
from tests import sharding


@pytest.mark.slow
def test_a_small_networks_step_is_compared(monkeypatch, capsys):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    monkeypatch.setattr(convolution, "_cpu_form", convolution._cpu_form)  # restored afterwards
    assert sharding.main(["--here", "--networks=toy"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [(f["spatial"], f["seed"]) for f in found] == [
        (m, seed) for m in sharding.SPATIAL for seed in sharding.SEEDS
    ]
    assert all(0 <= max(f["metrics"], f["statistics"], f["gradient"]) < 1e-5 for f in found), found


def test_the_table_has_each_networks_differences_and_says_what_stopped(monkeypatch, tmp_path):
    def compared(name):
        for seed in sharding.SEEDS:
            yield {"network": name, "spatial": 1, "seed": seed, "metrics": 2e-7, "statistics": 3e-7, "gradient": 4e-6}
        if name == "two":
            yield {"network": name, "stopped": -6}

    monkeypatch.setattr(sharding, "compared", compared)
    log, table = tmp_path / "logs" / "sharding.jsonl", tmp_path / "sharding.md"
    status = sharding.main(["--networks=one,two", f"--log={log}", f"--table={table}"])
    assert status == 1
    assert "| two | 3e-07; 4e-06, 4e-06 | stopped by XLA | stopped by XLA |" in table.read_text()
    assert "([log](logs/sharding.jsonl))" in table.read_text()
    assert len(log.read_text().splitlines()) == 5
