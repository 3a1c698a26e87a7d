"""Silence is broken after a moment, and only then."""

import logging
import time

import pytest

from csst_jax.runtime import patience
from csst_jax.runtime.patience import told


def test_what_is_over_at_once_says_nothing():
    said = []
    with told("reading", said.append, first_s=5.0):
        pass
    assert said == []


def test_long_work_is_told_again_and_again_until_it_is_over():
    said, count = [], 0
    with told(lambda: f"image {count} of 9", said.append, first_s=0.02, every_s=0.02):
        give_up = time.monotonic() + 10
        while len(said) < 3 and time.monotonic() < give_up:
            count += 1
            time.sleep(0.01)
    lines = len(said)
    assert lines >= 3 and said[0].startswith("image ") and said[0] != said[-1]
    time.sleep(0.1)
    assert len(said) == lines


def test_it_ends_with_what_the_block_raises():
    said = []
    with pytest.raises(ValueError), told("reading", said.append, first_s=0.01, every_s=0.01):
        raise ValueError
    time.sleep(0.05)
    assert said == []


def test_a_line_reaches_a_pipe_at_once(capsys):
    patience.print_line("importing JAX …")
    assert capsys.readouterr().out == "importing JAX …\n"


def test_a_loop_says_now_and_then_which_item_it_is_at(caplog):
    caplog.set_level(logging.INFO)
    assert list(patience.told_each("abc", "image {} of 3".format, every_s=0.0)) == ["a", "b", "c"]
    assert caplog.messages == ["image 1 of 3", "image 2 of 3", "image 3 of 3"]
    caplog.clear()
    assert list(patience.told_each("abc", "image {} of 3".format, every_s=60.0)) == ["a", "b", "c"]
    assert caplog.messages == []
