"""What a run is, for people: of the start that its work is of."""

import json
import types

from csst_jax.runtime.workdir import RUN_FILE
from csst_jax.stages import record


def test_it_is_of_the_start_whose_work_is_there(tmp_path, monkeypatch):
    this = types.SimpleNamespace(workdir=tmp_path)

    def start(name):
        monkeypatch.setattr(record, "_record", lambda this: {"data": name})
        record.begin(this)
        return json.loads((tmp_path / RUN_FILE).read_text())["data"]

    assert start("a") == "a"
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "stage.json").write_text("{}")
    assert start("b") == "b", "stopped before it had made anything"
    (tmp_path / "teacher" / "checkpoints" / "20").mkdir(parents=True)
    assert start("c") == "b"
