"""What a compilation took is known the next time."""

import jax
import pytest

from csst_jax.runtime import durations


@pytest.fixture
def cache(tmp_path):
    """A cache of compiled programs, of this test alone."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def test_the_last_time_counts(cache):
    name = durations.key("train", 1176278, 224, 8)
    assert durations.last(name) is None and durations.words(name) == ""
    durations.note(name, 66.04)
    durations.note(name, 41.26)
    durations.note(durations.key("train", 1176278, 128, 24), 3.0)
    assert durations.last(name) == 41.3
    assert durations.words(name) == " (it took 41 s the last time)"


def test_a_damaged_file_or_none_is_no_matter(cache):
    (cache / "csst_jax_seconds.json").write_text('{"a": 1')
    assert durations.last("a") is None
    durations.note("a", 2.0)
    assert durations.last("a") == 2.0
    (cache / "csst_jax_seconds.json").write_text("[1]")
    assert durations.last("a") is None
    jax.config.update("jax_compilation_cache_dir", None)
    durations.note("a", 2.0)
    assert durations.last("a") is None


def test_the_oldest_are_dropped(cache, monkeypatch):
    monkeypatch.setattr(durations, "_MOST", 2)
    for number in range(3):
        durations.note(str(number), 1.0)
    assert durations.last("0") is None and durations.last("2") == 1.0
