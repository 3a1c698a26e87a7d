"""JSON files that are whole or not there."""

import json

import pytest

from csst_jax.runtime import json_files, storage


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    json_files.write_json(path, {"a": 1})

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr(storage.os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        json_files.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
