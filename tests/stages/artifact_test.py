"""A stage's directory."""

import contextlib
import dataclasses
import shutil
import time

import jax
import pytest

from csst_jax.runtime.storage import as_path
from csst_jax.runtime.workdir import DONE_FILE, STAGE_FILE
from csst_jax.stages import artifact
from csst_jax.stages.artifact import Artifact, Request, StaleArtifactError
from csst_jax.types import CsstError

ASKED = {"seed": 0, "settings": {"lr": {"base": 0.1}, "scales": (0.5, 1.0)}, "labels_sha256": ["ab"]}
REQUEST = Request(ASKED, {"lr": {"base": 0.1, "power": 0.9}, "flip": True})


def test_the_same_request_comes_back_to_its_result(tmp_path):
    first = Artifact(tmp_path / "teacher", REQUEST)
    assert not first.done
    first.finish({"steps": 3})
    again = Artifact(tmp_path / "teacher", Request(dict(reversed(ASKED.items())), REQUEST.settings))
    assert again.done and again.result == {"steps": 3} and again.hash == first.hash


@pytest.mark.parametrize("work", ["DONE", "model.safetensors", "checkpoints/20", "parts/00000.json", "thresholds.json"])
def test_a_directory_without_work_is_anybodys_and_one_with_work_is_not(tmp_path, work):
    Artifact(tmp_path / "teacher", REQUEST)
    (tmp_path / "teacher" / "checkpoints").mkdir()
    (tmp_path / "teacher" / "metrics.jsonl").touch()
    other = Request(ASKED | {"seed": 1})
    taken = Artifact(tmp_path / "teacher", other)
    assert Artifact(tmp_path / "teacher", other).hash == taken.hash
    (tmp_path / "teacher" / work).parent.mkdir(exist_ok=True)
    (tmp_path / "teacher" / work).touch()
    with pytest.raises(StaleArtifactError, match=r"seed: 1 there, 0 now"):
        Artifact(tmp_path / "teacher", REQUEST)


def test_time_adds_up_over_processes_that_ended_tidily(tmp_path):
    for _ in range(2):
        found = Artifact(tmp_path / "teacher", REQUEST)
        (found.directory / "model.safetensors").touch()
        with contextlib.suppress(KeyboardInterrupt), found.clock():
            time.sleep(0.05)
            raise KeyboardInterrupt
    with found.clock() as elapsed:
        assert 0.1 <= elapsed() < 10
        found.finish({"steps": 3})
    assert not (tmp_path / "teacher" / artifact.ELAPSED_FILE).exists()


def test_other_processes_do_not_ask_for_the_time_that_the_first_one_removes(tmp_path, monkeypatch):
    found = Artifact(tmp_path / "teacher", REQUEST)
    (tmp_path / "teacher" / artifact.ELAPSED_FILE).write_text('{"seconds": 1000.0}')
    with found.clock() as elapsed:
        assert elapsed() >= 1000
    (tmp_path / "teacher" / artifact.ELAPSED_FILE).write_text("{")  # going
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with found.clock() as elapsed:
        assert elapsed() < 1000


def test_in_a_bucket_too(bucket):
    found = Artifact(as_path("gs://bucket/run/teacher"), REQUEST)
    with contextlib.suppress(KeyboardInterrupt), found.clock():
        raise KeyboardInterrupt
    assert any(name.endswith(artifact.ELAPSED_FILE) for name in bucket.names())
    with found.clock():
        found.finish({"steps": 3})
    assert found.done and not any(name.endswith(artifact.ELAPSED_FILE) for name in bucket.names())


def test_a_cut_off_request_is_written_anew_where_there_is_no_work(tmp_path):
    Artifact(tmp_path / "teacher", REQUEST)
    (tmp_path / "teacher" / STAGE_FILE).write_text("{")
    Artifact(tmp_path / "teacher", REQUEST).finish({"steps": 3})
    (tmp_path / "teacher" / STAGE_FILE).write_text("{")
    with pytest.raises(CsstError, match=r"teacher/stage.json: .*Delete this file .* if the settings are still those"):
        Artifact(tmp_path / "teacher", REQUEST)


def test_another_request_is_refused_with_the_key(tmp_path):
    first = Artifact(tmp_path / "teacher", REQUEST)
    first.finish({"steps": 3})
    other = ASKED | {"settings": {"lr": {"base": 0.2}, "scales": (0.5, 1.0)}}
    with pytest.raises(StaleArtifactError) as error:
        Artifact(tmp_path / "teacher", Request(other))
    message = str(error.value)
    assert "settings.lr.base: 0.1 there, 0.2 now" in message and "scales" not in message
    assert f"delete {tmp_path / 'teacher'}" in message and "set the values that are there to continue" in message
    with pytest.raises(StaleArtifactError, match=r"What differs: settings.lr.extra: null there, 1 now"):
        Artifact(
            tmp_path / "teacher", Request(ASKED | {"settings": {"lr": {"base": 0.1, "extra": 1}, "scales": (0.5, 1.0)}})
        )


def test_damaged_file_is_named(tmp_path):
    first = Artifact(tmp_path / "teacher", REQUEST)
    first.finish({"steps": 3})
    (tmp_path / "teacher" / DONE_FILE).write_text('{"steps": ')
    with pytest.raises(
        CsstError, match=r"cannot read .*teacher/DONE: .*Delete this file and run the same command again"
    ):
        _ = first.result


def test_a_key_that_a_new_version_adds_or_drops_leaves_the_directory_as_it_is(tmp_path):
    Artifact(tmp_path / "teacher", REQUEST).finish({"steps": 3})
    newer = Request(
        ASKED, {"lr": {"base": 0.1, "power": 0.9, "warmup_steps": 0}, "flip": True, "method": {"name": "x"}}
    )
    assert Artifact(tmp_path / "teacher", newer).done
    older = Request(ASKED, {"lr": {"base": 0.1}})
    assert Artifact(tmp_path / "teacher", older).done


def test_a_default_that_a_new_version_changed_is_told(tmp_path):
    Artifact(tmp_path / "teacher", REQUEST).finish({"steps": 3})
    changed = Request(ASKED, {"lr": {"base": 0.1, "power": 1.0}, "flip": True})
    with pytest.raises(
        StaleArtifactError, match=r"with other defaults \(lr.power: 0.9 there, 1.0 now\). Set these keys"
    ):
        Artifact(tmp_path / "teacher", changed)


def test_images_are_compared_where_both_are_known(tmp_path):
    def asked(images):
        return Artifact(tmp_path / "teacher", dataclasses.replace(REQUEST, files_sha256=images))

    asked("").finish({"steps": 3})
    assert asked("a").done, "a workdir of an earlier version"
    shutil.rmtree(tmp_path / "teacher")
    asked("a").finish({"steps": 3})
    assert asked("a").done and asked("").done
    with pytest.raises(StaleArtifactError, match="images that have changed since"):
        asked("b")
