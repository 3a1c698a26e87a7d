"""Centroid sampling: counts, exhaustion, order and shares, as properties of any pool."""

import logging
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csst_jax.samplers.centroid import CentroidSampler
from csst_jax.samplers.plan import PLAN_DTYPE
from csst_jax.types import CsstError

SMALL = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def make_pool(real, pseudo=None):
    """A pool whose record number is unique; real[c] and pseudo[c] components of class c."""
    counts = [real] if pseudo is None else [real, pseudo]
    rows = [(s, c) for s, sizes in enumerate(counts) for c, n in enumerate(sizes) for _ in range(n)]
    pool = np.zeros(len(rows), PLAN_DTYPE)
    if rows:
        pool["origin"], pool["klass"] = np.array(rows).T
    pool["record"] = np.arange(len(rows))
    pool["y"] = pool["record"] + 0.5
    # The index comes in the order of the images, not of the classes.
    return np.random.default_rng(0).permutation(pool)


def make_sampler(real, pseudo=None, **kwargs):
    return CentroidSampler(make_pool(real, pseudo), [f"class{c}" for c in range(len(real))], **kwargs)


sizes = st.lists(st.integers(0, 20), min_size=1, max_size=8).filter(any)


@SMALL
@given(sizes=sizes, num_samples=st.integers(0, 200), epoch=st.integers(0, 1000), seed=st.integers(0, 2**63))
def test_counts_repetition_and_order(sizes, num_samples, epoch, seed):
    plan = make_sampler(sizes).plan(epoch, seed, num_samples)
    assert plan.dtype == PLAN_DTYPE and plan.shape == (num_samples,)
    present = np.flatnonzero(sizes)
    counts = np.bincount(plan["klass"], minlength=len(sizes))
    assert counts.sum() == num_samples
    assert not np.delete(counts, present).any()
    assert counts[present].max() - counts[present].min() <= 1
    for c in present:
        records = plan["record"][plan["klass"] == c]
        for begin in range(0, len(records), sizes[c]):
            one_pass = records[begin : begin + sizes[c]]
            assert len(set(one_pass)) == len(one_pass), "a component came again before its class was exhausted"
    for begin in range(0, num_samples - len(present) + 1, len(present)):
        assert set(plan["klass"][begin : begin + len(present)]) == set(present), "a round misses a class"
    assert np.array_equal(plan["y"], plan["record"] + np.float32(0.5)), "the fields of a component were mixed"


@SMALL
@given(
    real=st.lists(st.integers(0, 9), min_size=4, max_size=4),
    pseudo=st.lists(st.integers(0, 30), min_size=4, max_size=4),
    share=st.floats(0, 1),
    num_samples=st.integers(1, 200),
    seed=st.integers(0, 99),
)
def test_real_share(real, pseudo, share, num_samples, seed):
    if not any(real + pseudo):
        return
    plan = make_sampler(real, pseudo, real_share=share).plan(3, seed, num_samples)
    assert len(plan) == num_samples
    for c in range(4):
        drawn = plan[plan["klass"] == c]
        if real[c] and pseudo[c]:
            assert abs((drawn["origin"] == 0).sum() - share * len(drawn)) < 1.0001
        for source, size in ((0, real[c]), (1, pseudo[c])):
            records = drawn["record"][drawn["origin"] == source]
            if size:
                uses = np.unique(records, return_counts=True)[1]
                assert len(records) == 0 or uses.max() <= -(-len(records) // size)


def test_plan_is_a_function_of_its_arguments():
    one, two = make_sampler([5, 50, 500]), make_sampler([5, 50, 500])
    expected = one.plan(7, 1, 300)
    two.plan(0, 1, 10)  # no history
    assert np.array_equal(expected, two.plan(7, 1, 300))
    assert not np.array_equal(expected, one.plan(8, 1, 300))
    assert not np.array_equal(expected, one.plan(7, 2, 300))
    assert not np.array_equal(one.plan(1, 2, 300), one.plan(2, 1, 300))


def test_remainder_favours_no_class():
    sampler = make_sampler([30] * 5)
    counts = sum(np.bincount(sampler.plan(epoch, 0, 11)["klass"], minlength=5) for epoch in range(400))
    # 400 * 11/5 = 880 each; a class that always got the sample over would have 1200, one that never got it 800.
    assert np.abs(counts - 880).max() < 60


def test_union_draws_in_proportion_when_no_share_is_given():
    plan = make_sampler([100, 1], [900, 9]).plan(0, 0, 400)
    share = (plan["origin"][plan["klass"] == 0] == 0).mean()
    assert 0.02 < share < 0.2


def test_missing_classes_are_named_once_and_their_share_goes_to_the_others(caplog):
    with caplog.at_level(logging.WARNING):
        sampler = make_sampler([4, 0, 4, 0])
        plans = [sampler.plan(epoch, 0, 10) for epoch in range(3)]
    assert len(caplog.records) == 1
    assert "masks: no centroid of class1, class3. Other crops take their share." in caplog.text
    for plan in plans:
        assert np.bincount(plan["klass"], minlength=4).tolist() == [5, 0, 5, 0]


def test_large_pool_takes_no_loop_over_samples():
    rng = np.random.default_rng(0)
    pool = np.zeros(1_000_000, PLAN_DTYPE)
    pool["klass"] = rng.choice(19, len(pool), p=np.r_[[1e-6] * 2, [(1 - 2e-6) / 17] * 17])
    pool["klass"][:2] = 0, 1
    pool["record"] = np.arange(len(pool))
    sampler = CentroidSampler(pool, [str(c) for c in range(19)])
    begin = time.process_time()
    assert len(sampler.plan(0, 0, 43_000)) == 43_000
    assert time.process_time() - begin < 2  # takes 0.05 s; a Python loop over the components about 1 s a million steps


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (make_pool([0, 0]), "no centroid to sample"),
        (make_pool([1, 1, 1]), "1 components of class 2, outside 0..1"),
    ],
)
def test_bad_input(pool, message):
    with pytest.raises(CsstError, match=message):
        CentroidSampler(pool, ["a", "b"])
