"""The comparison of storages: a network's scores on both, subtracted."""

import json

from benchmarks import lossy_storage


def test_differences_are_of_the_same_network_and_class(monkeypatch, capsys):
    scored = {
        "exact": {"teacher": {"miou": 0.5, "iou": {"road": 0.75, "car": 0.25, "bus": None}}},
        "jpeg": {"teacher": {"miou": 0.49, "iou": {"road": 0.75, "car": 0.23, "bus": 0.0}}},
    }
    monkeypatch.setattr(lossy_storage, "scores", lambda config, data_dir, checkpoints: scored[data_dir])
    assert lossy_storage.main(["--data_dirs=exact,jpeg", "--checkpoints=a", "--json"]) == 0
    *_, row, last = capsys.readouterr().out.splitlines()
    assert row == "| teacher | 50.00 | 49.00 | -1.00 | -2.00 (car) |"
    assert json.loads(last) == {"miou_difference": {"teacher": -1.0}}
