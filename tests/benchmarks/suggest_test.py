"""The comparison of suggested and random masks: what it runs, what it notes, and its page."""

import argparse
import json
import pathlib
import random

import pytest

from benchmarks import suggest
from csst_jax.data.store import DataSet
from csst_jax.settings import ranges
from csst_jax.types import CsstError

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """The commands that would have run; each leaves what the next one needs."""
    found = []

    def call(words):
        found.append(words)
        workdir = pathlib.Path(next(word for word in words if word.startswith("--workdir=")).partition("=")[2])
        (workdir / "suggested").mkdir(parents=True, exist_ok=True)
        if "csst_jax.suggest" in words:
            (workdir / "suggested" / "suggested.txt").write_text("image03\nimage01\n")
        else:
            scores = {"miou": 0.5 + len(found) / 100, "iou": {"ground": 0.5, "box": None}}
            (workdir / "results.json").write_text(json.dumps({"teacher": scores}))

    monkeypatch.setattr(suggest, "_call", call)
    return found


def test_every_arm_adds_as_many_masks_and_takes_as_many_steps(commands, tiny_data, tmp_path):
    (tmp_path / "start.txt").write_text("image00\n")
    options = argparse.Namespace(
        data_dir=str(tiny_data), start=tmp_path / "start.txt", steps=500, seed=0, count=2, draws=2,
        pretrained="imagenet", workdir=tmp_path / "runs", logs=tmp_path / "logs",
    )  # fmt: skip
    suggest.compare(options)
    assert len(commands) == 5
    keys, lengths = ranges.known_keys(), set()
    for words in commands:
        flags = dict(word[9:].split("=", 1) for word in words if word.startswith("--config."))
        assert flags.keys() <= keys.keys()
        lengths |= {flags.get("teacher.epochs")}
    assert lengths == {"10", None}
    log = json.loads((tmp_path / "logs" / "suggest-500-0.json").read_text())
    assert list(log["arms"]) == ["start", "suggested", "random-1", "random-2"]
    rest = sorted(set(DataSet.open(tiny_data).labelled_ids("train")) - {"image00"})
    assert log["arms"]["random-2"]["more"] == random.Random(2).sample(rest, 2)
    assert (tmp_path / "runs" / "suggested.txt").read_text().split() == ["image00", "image01", "image03"]
    suggest.compare(options)
    assert len(commands) == 5, "finished runs are run again"
    text = suggest.write(tmp_path / "logs").read_text()
    assert "| 1 and 2 suggested | 53.0 | 50.0 | 0.0 |" in text and "| 1 and 2 random, draw 2 | 55.0 |" in text
    assert "mean 54.5 of 2 draws, from 54.0 to 55.0. The suggested masks are -1.5 points" in text
    assert "not above every draw" in text


def test_without_logs_there_is_no_page(tmp_path):
    with pytest.raises(CsstError, match="suggest-STEPS-SEED.json"):
        suggest.write(tmp_path)


def test_the_page_is_what_its_command_writes():
    results = ROOT / "docs" / "results"
    logs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("logs/suggest-*-*.json"))]
    notes = (results / "logs" / "suggest-notes.txt").read_text(encoding="utf-8")
    assert (results / "suggest.md").read_text(encoding="utf-8") == suggest.page(logs, notes)
