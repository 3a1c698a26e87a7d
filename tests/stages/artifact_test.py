"""A stage's directory."""

import pytest

from csst_jax.stages import artifact
from csst_jax.stages.artifact import Artifact, StaleArtifactError
from csst_jax.types import CsstError

REQUEST = {"seed": 0, "settings": {"lr": {"base": 0.1}, "scales": (0.5, 1.0)}, "labels_sha256": ["ab"]}


def test_the_same_request_comes_back_to_its_result(tmp_path):
    first = Artifact(tmp_path / "teacher", REQUEST)
    assert not first.done
    first.finish({"steps": 3})
    again = Artifact(tmp_path / "teacher", dict(reversed(REQUEST.items())))
    assert again.done and again.result == {"steps": 3} and again.hash == first.hash


def test_another_request_is_refused_with_both_hashes_and_the_key(tmp_path):
    first = Artifact(tmp_path / "teacher", REQUEST)
    other = REQUEST | {"settings": {"lr": {"base": 0.2}, "scales": (0.5, 1.0)}}
    with pytest.raises(StaleArtifactError) as error:
        Artifact(tmp_path / "teacher", other)
    message = str(error.value)
    assert f"hash {first.hash[:12]} there" in message and artifact.fingerprint(other)[:12] in message
    assert "settings.lr.base: 0.1 there, 0.2 now" in message and "scales" not in message
    assert f"delete {tmp_path / 'teacher'}" in message
    with pytest.raises(StaleArtifactError, match=r"differs in settings.lr.extra: null there, 1 now"):
        Artifact(tmp_path / "teacher", REQUEST | {"settings": {"lr": {"base": 0.1, "extra": 1}, "scales": (0.5, 1.0)}})


def test_damaged_file_is_named(tmp_path):
    first = Artifact(tmp_path / "teacher", REQUEST)
    first.finish({"steps": 3})
    (tmp_path / "teacher" / artifact.DONE_FILE).write_text('{"steps": ')
    with pytest.raises(CsstError, match=r"cannot read .*teacher/DONE: .*Delete its directory"):
        _ = first.result
