"""Processes vote often enough for a notice of 15 s, and no more often than that takes."""

import types

import jax
import numpy as np
import pytest

from csst_jax.train import agreement


class Others:
    """A process of several, its clock, and what the others answer."""

    def __init__(self, monkeypatch, answers=(0, 0, 10)):
        self.now, self.answers, self.asked = 0.0, answers, []
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(agreement, "time", types.SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(agreement.multihost_utils, "process_allgather", self.gathered)

    def gathered(self, own):
        self.asked.append(own.tolist())
        return np.stack([own, np.asarray(self.answers, np.int32)])

    def votes(self, seconds_a_step, steps=40, kind=lambda step: "same"):
        """After which steps there was a vote."""
        agree, found = agreement.Agreement(0), []
        for step in range(1, steps + 1):
            self.now += seconds_a_step(step)
            before = len(self.asked)
            agree(step, kind(step), False, False)
            found += [step] * (len(self.asked) > before)
        return found


@pytest.mark.parametrize(
    "seconds,first", [(0.001, [1, 11, 21, 31]), (0.4, [1, 6, 11, 16]), (3.0, [1, 2, 3, 4]), (60.0, [1, 2, 3, 4])]
)
def test_votes_are_two_seconds_apart_and_at_most_ten_steps(monkeypatch, seconds, first):
    assert Others(monkeypatch).votes(lambda step: seconds)[:4] == first


def test_the_slowest_process_says_when(monkeypatch):
    assert Others(monkeypatch, (0, 0, 3)).votes(lambda step: 0.001)[:4] == [1, 4, 7, 10]


def test_the_first_step_which_begins_everything_counts_for_one_vote(monkeypatch):
    assert Others(monkeypatch).votes(lambda step: 90 if step == 1 else 0.01)[:4] == [1, 2, 12, 22]


def test_steps_of_another_kind_are_measured_at_once(monkeypatch):
    """Ten slow ones after a vote on quick ones would take as long as the notice is."""
    quick = range(1, 14)
    found = Others(monkeypatch).votes(lambda s: 0.01 if s in quick else 3, kind=lambda s: s in quick)
    assert found[:5] == [1, 11, 14, 15, 16]


@pytest.mark.parametrize("answers,expected", [((1, 0, 10), (True, False)), ((0, 1, 10), (False, True))])
def test_one_that_asks_is_enough(monkeypatch, answers, expected):
    agree = agreement.Agreement(0)
    Others(monkeypatch, answers)
    assert agree(1, "same", False, False) == expected
    assert agree(2, "same", True, True) == (False, False), "not asked"


def test_alone_there_is_nobody_to_ask():
    agree = agreement.Agreement(0)
    assert [agree(step, "same", step == 2, step == 3) for step in (1, 2, 3)] == [
        (False, False), (True, False), (False, True),
    ]  # fmt: skip


def test_a_process_that_is_gone_is_told_as_in_any_other_collective(monkeypatch):
    def fails(own):
        raise ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer")

    monkeypatch.setattr(agreement.multihost_utils, "process_allgather", fails)
    with pytest.raises(jax.errors.JaxRuntimeError, match="Connection reset"):
        agreement.votes(1)
