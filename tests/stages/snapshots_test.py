"""Networks of earlier epochs."""

from csst_jax.stages.snapshots import DIRECTORY, Snapshots
from csst_jax.types import Phase


def test_those_of_an_attempt_with_another_timetable_are_removed(tmp_path):
    kept = Snapshots(tmp_path, None, [Phase(64, 8, steps=10)] * 6, 2, None)
    (tmp_path / DIRECTORY).mkdir()
    for step in (*kept.steps, 7):
        (tmp_path / DIRECTORY / f"{step:08d}.safetensors").touch()
    kept.begin(0)
    assert {int(path.stem) for path in (tmp_path / DIRECTORY).iterdir()} == set(kept.steps)
