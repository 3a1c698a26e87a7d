"""The table of steps over devices; tests/models/every_network_test.py compares some."""

from tests import sharding


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
    assert "| two | 3e-07; 4e-06, 4e-06 | did not end | did not end |" in table.read_text()
    assert "([log](logs/sharding.jsonl))" in table.read_text()
    assert len(log.read_text().splitlines()) == 5
    sharding.main(["--networks=one", f"--log={log}", f"--table={table}"])
    assert len(log.read_text().splitlines()) == 5 and "| two | 3e-07" in table.read_text()
