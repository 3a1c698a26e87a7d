"""The count of classes in crops: its log, its page and its chart."""

import json
import pathlib

import pytest

from benchmarks import sampling, sampling_page
from csst_jax.data.chosen import Data
from csst_jax.types import CsstError

LOGS = pathlib.Path(sampling.LOGS)


def test_the_page_is_what_its_logs_give(tmp_path):
    for path in LOGS.glob("sampling-*.json"):
        (tmp_path / "logs").mkdir(exist_ok=True)
        (tmp_path / "logs" / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    assert sampling.main(["page", f"--logs={tmp_path / 'logs'}"]) == 0
    for name in ("sampling.md", "sampling.svg"):
        assert (tmp_path / name).read_text(encoding="utf-8") == (LOGS.parent / name).read_text(encoding="utf-8")


def test_factors_pair_the_samplers_at_each_size():
    def row(sampler, share, area, *pixels):
        return {"sampler": sampler, "height_share": share, "min_area_px": area, "pixels": pixels}

    log = {
        "rows": [
            row("uniform", 0.5, -1, 0.8, 0.2, 0.0),
            row("centroid", 0.5, -1, 0.4, 0.6, 0.0),
            row("centroid", 0.5, 64, 0.1, 0.9, 0.0),
        ]
    }
    assert sampling_page.factors(log) == {0.5: [0.5, pytest.approx(3.0), 0.0]}


def test_counts_of_a_data_set(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "HEIGHTS", (0.25, 0.5))
    monkeypatch.setattr(sampling, "AREAS_PX", (0,))
    words = ["run", f"--data_dir={tiny_data}", "--crops=20", "--name=tiny", f"--logs={tmp_path}"]
    assert sampling.main(words) == 0
    log = json.loads((tmp_path / "sampling-tiny.json").read_text(encoding="utf-8"))
    given = [(row["sampler"], row["crop_px"], row["min_area_px"]) for row in log["rows"]]
    assert given == [
        ("uniform", 24, -1), ("centroid", 24, -1), ("uniform", 48, -1), ("centroid", 48, -1), ("centroid", 48, 0)
    ]  # fmt: skip
    assert all(sum(row["pixels"]) == pytest.approx(1, abs=1e-4) for row in [*log["rows"], {"pixels": log["of_masks"]}])
    opened = Data(str(tiny_data), "train", "val", "", "", "")
    assert log["masks"] == len(opened.training(opened.open()).labelled) == 4


def test_what_is_wrong_is_one_line(tmp_path, capsys):
    assert sampling.main(["page", f"--logs={tmp_path}"]) == 2
    assert sampling.main(["run", "--data_dir=none", "--name=x", f"--logs={tmp_path}"]) == 2
    assert sampling.main(["run", "--data_dir=none", "--name=x", "--crops=0"]) == 2
    assert capsys.readouterr().err.count("error: ") == 3
    with pytest.raises(CsstError, match="benchmarks.sampling run"):
        sampling_page.write(tmp_path)
