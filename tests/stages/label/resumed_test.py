"""The label stage goes on where it stopped, and opens what it has finished."""

import pytest

from csst_jax.data.stored import centroid_index
from csst_jax.data.stored.pseudo_labels import shard_path
from csst_jax.stages import label
from csst_jax.types import CsstError
from tests.stages.label.parts import files


def test_interrupted_soft_labels_go_on_after_the_last_whole_shard(run_soft, tmp_path, monkeypatch):
    run_soft("whole")
    original, calls = label.write_shard, []

    def fail_at_the_fourth(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 4:  # the second shard's soft labels
            raise KeyboardInterrupt
        return original(*arguments, **more)

    monkeypatch.setattr(label, "write_shard", fail_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        run_soft("stopped")
    monkeypatch.setattr(label, "write_shard", original)
    first = shard_path(tmp_path / "stopped", 0, 2, soft=True).stat().st_mtime_ns
    run_soft("stopped")
    assert shard_path(tmp_path / "stopped", 0, 2, soft=True).stat().st_mtime_ns == first, "it was made again"
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


@pytest.mark.parametrize("function", ["write_shard", "write_json", "_draw_sheet"])
def test_interrupted_labelling_goes_on_after_the_last_whole_shard(run, function, tmp_path, monkeypatch):
    run("whole")
    original, calls = getattr(label, function), []

    def fail_at_the_second(*arguments):
        calls.append(arguments)
        if len(calls) == 2 or function == "_draw_sheet":
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(label, function, fail_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run("stopped")
    assert not (tmp_path / "stopped" / "DONE").exists()
    first = shard_path(tmp_path / "stopped", 0, 2)
    written = first.stat().st_mtime_ns
    monkeypatch.setattr(label, function, original)
    run("stopped")
    assert first.stat().st_mtime_ns == written, "the first shard was made again"
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


def test_sigterm_keeps_whole_shards(run, tmp_path, monkeypatch):
    import os
    import signal

    from csst_jax.runtime.signals import Preempted

    run("whole")
    original = label.write_shard

    def write_and_signal(path, encoded):
        original(path, encoded)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(label, "write_shard", write_and_signal)
    with pytest.raises(Preempted, match="stopped: SIGTERM; 1 of 2 shards are kept"):
        run("stopped")
    monkeypatch.setattr(label, "write_shard", original)
    run("stopped")
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


def test_finished_labels_are_opened_not_made(run, monkeypatch):
    _, first = run()

    def no_predictor(*_, **__):
        raise AssertionError("labelled again")

    monkeypatch.setattr(label.build, "predictor", no_predictor)
    _, again = run()
    assert again.labels_sha256 == first.labels_sha256


def test_lost_or_changed_shards_are_refused(run, tmp_path):
    run()
    second = shard_path(tmp_path / "pseudo_labels", 1, 2)
    whole = second.read_bytes()
    second.write_bytes(shard_path(tmp_path / "pseudo_labels", 0, 2).read_bytes())
    with pytest.raises(
        centroid_index.StaleIndexError, match=r"is stale.*delete .*pseudo_labels and run the label stage again"
    ):
        run()
    second.unlink()
    with pytest.raises(CsstError, match=r"labels-00001-of-00002.array_record is missing; delete .*pseudo_labels"):
        run()
    second.write_bytes(whole)
    (tmp_path / "pseudo_labels" / label.INDEX_FILE).unlink()
    with pytest.raises(
        centroid_index.StaleIndexError, match="no centroid index for the labels.*run the label stage again"
    ):
        run()
