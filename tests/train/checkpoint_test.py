"""Checkpoints: exact, few, and never lost to a failed write."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from csst_jax.runtime import storage
from csst_jax.train import checkpoint
from csst_jax.train.checkpoint import CheckpointError, Checkpoints
from csst_jax.train.sharding import make_mesh, replicated
from csst_jax.train_state import TrainState, abstract_state


def state_at(step, size=1000):
    values = np.random.default_rng(step).normal(size=(size,)).astype(np.float32)
    values[:3] = np.float32(1e-42), -0.0, np.nextafter(np.float32(1), np.float32(2))  # a subnormal among them
    return TrainState(
        jnp.int32(step),
        {"a.kernel": jnp.asarray(values), "b.0.bias": jnp.asarray(values[:2])},
        {"a.mean": jnp.asarray(values[::-1].copy())},
        ((), {"a.kernel": jnp.asarray(2 * values)}),
    )


@pytest.fixture
def everywhere():
    return replicated(make_mesh(jax.devices()[:8], 1))


def test_round_trip_is_exact_to_the_bit_and_laid_out_as_asked(tmp_path, everywhere):
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.latest_step() is None
    state = state_at(7)
    checkpoints.save(state)
    checkpoints.close()
    again = Checkpoints(tmp_path, keep=2)
    assert again.latest_step() == 7
    restored = again.restore_newest(abstract_state(state, everywhere))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for ours, theirs in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert ours.dtype == theirs.dtype and ours.sharding == everywhere
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


def test_the_newest_checkpoint_is_hashed_once(tmp_path, everywhere, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    checkpoints.save(state_at(7))
    checkpoints.wait()
    hashed, of_files = [], checkpoint._sha256_of_files

    def counted(directory):
        hashed.append(directory.name)
        return of_files(directory)

    monkeypatch.setattr(checkpoint, "_sha256_of_files", counted)
    assert int(checkpoints.restore_newest(abstract_state(state_at(0), everywhere)).step) == 7
    assert hashed == ["7"]


@pytest.mark.slow
def test_saving_the_largest_network_delays_a_step_by_less_than_a_twentieth_of_the_interval(tmp_path):
    """DeepLabV3+ with WideResNet38: 137 million parameters, and their momentum."""
    interval_s = base.get_config().checkpoint.every_s
    noise = jax.random.normal(jax.random.key(0), (137 * 10**6 // 16,))  # what cannot be compressed
    params = {f"{i}.kernel": noise + i for i in range(16)}
    state = TrainState(jnp.int32(1), params, {}, ((), jax.tree.map(jnp.copy, params)))
    jax.block_until_ready(state)
    checkpoints = Checkpoints(tmp_path, keep=1)
    began = time.monotonic()
    checkpoints.save(state)
    held_up_s = time.monotonic() - began
    checkpoints.wait()
    written_s = time.monotonic() - began
    checkpoints.close()
    print(f"held up for {held_up_s:.1f} s, written after {written_s:.1f} s")
    assert held_up_s < 0.05 * interval_s
    assert held_up_s < written_s / 4, "it is not written in the background"
    assert written_s < interval_s, "the next save would wait for this one"


def test_keeps_the_newest_few(tmp_path, everywhere):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 5, 9):
        checkpoints.save(state_at(step))
        checkpoints.save(state_at(step))  # the same step again is no error
    checkpoints.wait()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["5", "9"]
    assert int(checkpoints.restore(abstract_state(state_at(0), everywhere), 5).step) == 5


def test_another_structure_or_shape_is_refused_with_the_fix(tmp_path, everywhere):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(state_at(3))
    checkpoints.wait()
    for other in (state_at(3, size=500), dataclasses.replace(state_at(3), params={"c": jnp.zeros(3)})):
        with pytest.raises(CheckpointError, match="could not read the checkpoint of step 3 in") as error:
            checkpoints.restore(abstract_state(other, everywhere), 3)
        assert f"Delete {tmp_path}/3" in str(error.value)


_FULL_DISK = """
import resource, sys
import numpy as np, jax.numpy as jnp
from csst_jax.train.checkpoint import CheckpointError, Checkpoints
from csst_jax.train_state import TrainState

def state(step, size):
    values = jnp.asarray(np.random.default_rng(step).normal(size=size).astype(np.float32))
    return TrainState(jnp.int32(step), {"a": values}, {}, ())

checkpoints = Checkpoints(sys.argv[1], keep=1)
checkpoints.save(state(4, 1000))
checkpoints.wait()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))  # as a full disk: writes fail
try:
    checkpoints.save(state(8, 1_000_000))
    checkpoints.wait()
except CheckpointError as error:
    print(error)
else:
    sys.exit("saving did not fail")
checkpoints.close()  # does not raise it again
"""


def test_failed_save_leaves_the_previous_checkpoint_and_names_it(tmp_path, everywhere):
    script = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" + textwrap.dedent(_FULL_DISK)
    done = subprocess.run(
        [sys.executable, "-c", script, os.fspath(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"could not save the checkpoint of step 8 in {tmp_path}" in done.stdout
    assert "the checkpoint of step 4 is intact" in done.stdout
    after = Checkpoints(tmp_path, keep=1)
    assert after.latest_step() == 4
    like = TrainState(jnp.int32(0), {"a": jnp.zeros(1000)}, {}, ())
    restored = after.restore_newest(abstract_state(like, everywhere))
    np.testing.assert_array_equal(restored.params["a"], np.random.default_rng(4).normal(size=1000).astype(np.float32))
    big = TrainState(jnp.int32(8), {"a": jnp.ones(1_000_000)}, {}, ())
    after.save(big)  # the same step, now that there is room
    after.wait()
    assert after.latest_step() == 8
    np.testing.assert_array_equal(after.restore(abstract_state(big, everywhere), 8).params["a"], np.ones(1_000_000))


def damaged_file(directory, step):
    """A file of a checkpoint with arrays in it."""
    return max((path for path in (directory / str(step)).rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("damage", [flip_a_bit, cut_off, lambda path: path.unlink()], ids=["bit", "cut", "missing"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_is_taken(tmp_path, everywhere, caplog, damage):
    directory = tmp_path / "checkpoints"
    checkpoints = Checkpoints(directory, keep=2)
    for step in (4, 8):
        checkpoints.save(state_at(step))
    checkpoints.close()
    damage(damaged_file(directory, 8))
    again = Checkpoints(directory, keep=2)
    like = abstract_state(state_at(0), everywhere)
    with pytest.raises(CheckpointError, match="step 8 .*not as it was written"):
        again.restore(like, 8)
    restored = again.restore_newest(like)
    assert int(restored.step) == 4
    np.testing.assert_array_equal(restored.params["a.kernel"], state_at(4).params["a.kernel"])
    assert "step 8 is damaged (not as it was written: " in caplog.text and "continues from step 4" in caplog.text
    kept = {path.suffix: path for path in (tmp_path / "damaged_checkpoints").iterdir()}
    assert kept.keys() == {"", ".json"} and all(path.name.startswith("8-") for path in kept.values())
    assert "not as it was written: " in json.loads(kept[".json"].read_text())["damage"]
    again.save(state_at(8))  # training comes to that step again
    again.wait()
    assert int(again.restore_newest(like).step) == 8


@pytest.mark.slow
def test_in_a_bucket_a_damaged_checkpoint_is_set_aside_too(bucket, everywhere, caplog):
    directory = storage.as_path("gs://bucket/stage/checkpoints")
    checkpoints = Checkpoints(directory, keep=2)
    for step in (2, 4, 8):
        checkpoints.save(state_at(step))
    checkpoints.close()
    assert not bucket.names("stage/checkpoints/2/") and bucket.names("stage/checkpoints/8/commit_success.txt")
    largest = max(bucket.names("stage/checkpoints/8/default/d/"), key=lambda name: len(bucket.content(name)))
    bucket.put(largest, bucket.content(largest)[:-1] + b"?")
    again = Checkpoints(directory, keep=2)
    like = abstract_state(state_at(0), everywhere)
    restored = again.restore_newest(like)
    assert int(restored.step) == 4 and "continues from step 4" in caplog.text
    np.testing.assert_array_equal(restored.params["a.kernel"], state_at(4).params["a.kernel"])
    assert not bucket.names("stage/checkpoints/8/") and bucket.names("stage/damaged_checkpoints/8-")
    again.save(state_at(8))  # training comes to that step again
    again.wait()
    assert int(again.restore_newest(like).step) == 8


@pytest.mark.slow
def test_in_a_bucket_a_checkpoint_without_its_mark_is_none(bucket, everywhere):
    checkpoints = Checkpoints(storage.as_path("gs://bucket/stage/checkpoints"), keep=2)
    for step in (4, 8):
        checkpoints.save(state_at(step))
    checkpoints.close()
    del bucket.objects["stage/checkpoints/8/commit_success.txt"]  # as a kill leaves it
    again = Checkpoints(storage.as_path("gs://bucket/stage/checkpoints"), keep=2)
    assert again.latest_step() == 4
    assert int(again.restore_newest(abstract_state(state_at(0), everywhere)).step) == 4


def test_when_all_checkpoints_are_damaged_the_stage_begins_again_after_saying_so(tmp_path, everywhere):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    checkpoints.save(state_at(4))
    checkpoints.close()
    flip_a_bit(damaged_file(tmp_path / "checkpoints", 4))
    again = Checkpoints(tmp_path / "checkpoints", keep=2)
    like = abstract_state(state_at(0), everywhere)
    with pytest.raises(CheckpointError, match=r"every checkpoint in .* was damaged.*from its beginning"):
        again.restore_newest(like)
    assert again.restore_newest(like) is None


def test_what_is_saved_is_the_state_at_that_moment_though_training_reuses_its_memory(tmp_path, everywhere):
    checkpoints = Checkpoints(tmp_path, keep=1)
    step = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    state = jax.tree.map(jnp.copy, state_at(0, size=4_000_000))
    expected = np.asarray(state.params["a.kernel"]).copy()
    checkpoints.save(state)
    for _ in range(20):
        state = step(state)
    jax.block_until_ready(state)
    checkpoints.wait()
    saved = checkpoints.restore(abstract_state(state, everywhere), 0)
    np.testing.assert_array_equal(np.asarray(saved.params["a.kernel"]), expected)
