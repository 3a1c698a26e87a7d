"""Pools made of an index, and the slices that processes take of a plan."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csst_jax.samplers import plan as plans
from csst_jax.samplers.centroid import CentroidSampler
from csst_jax.types import CsstError


@dataclasses.dataclass
class Index:
    record: np.ndarray
    klass: np.ndarray
    y: np.ndarray
    x: np.ndarray
    area: np.ndarray


def make_index():
    return Index(
        record=np.array([0, 0, 1, 2, 2], np.int32),
        klass=np.array([0, 1, 1, 0, 2], np.int32),
        y=np.array([1.5, 2, 3, 4, 5], np.float32),
        x=np.array([10, 20, 30, 40, 50], np.float32),
        area=np.array([100, 5, 50, 49, 500], np.int32),
    )


def test_pool_from_index():
    pool = plans.pool_from_index(make_index(), 1)
    assert pool.dtype == plans.PLAN_DTYPE
    assert pool.tolist() == [(1, 0, 1.5, 10, 0), (1, 0, 2, 20, 1), (1, 1, 3, 30, 1), (1, 2, 4, 40, 0), (1, 2, 5, 50, 2)]
    kept = plans.pool_from_index(make_index(), 0, keep_records=iter([0, 2]), min_area_px=50)
    assert kept.tolist() == [(0, 0, 1.5, 10, 0), (0, 2, 5, 50, 2)]
    by_class = plans.pool_from_index(make_index(), 0, min_area_px=np.array([100, 6, 501]))
    assert by_class.tolist() == [(0, 0, 1.5, 10, 0), (0, 1, 3, 30, 1)]
    assert len(plans.pool_from_index(make_index(), 0, keep_records=[])) == 0
    assert plans.concatenate([kept, pool])["origin"].tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert plans.concatenate([]).dtype == plans.PLAN_DTYPE


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(per_process=st.integers(1, 4), steps=st.integers(1, 5), epoch=st.integers(0, 9), seed=st.integers(0, 9))
def test_one_process_and_four_see_the_same_samples_in_the_same_batches(per_process, steps, epoch, seed):
    pool = plans.concatenate([plans.pool_from_index(make_index(), source) for source in (0, 1)])
    batch = 4 * per_process

    def batches(process_index, process_count):
        # Each process computes the plan on its own.
        plan = CentroidSampler(pool, ["a", "b", "c"]).plan(epoch, seed, steps * batch)
        return [plans.process_slice(b, process_index, process_count) for b in plan.reshape(steps, batch)]

    alone = batches(0, 1)
    four = [batches(i, 4) for i in range(4)]
    for step in range(steps):
        parts = [four[i][step] for i in range(4)]
        assert [len(p) for p in parts] == [per_process] * 4
        assert np.array_equal(np.concatenate(parts), alone[step])


def test_process_slice_bad_input():
    with pytest.raises(CsstError, match="global batch of 6 is not divisible by 4 processes"):
        plans.process_slice(np.zeros(6), 0, 4)
    with pytest.raises(CsstError, match="process 4 is outside the 4 processes"):
        plans.process_slice(np.zeros(8), 4, 4)


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(size=st.integers(1, 20), count=st.integers(0, 70))
def test_repeated_permutations(size, count):
    draws = plans.repeated_permutations(plans.generator(0, 0), size, count)
    assert draws.shape == (count,)
    for begin in range(0, count, size):
        one_pass = draws[begin : begin + size].tolist()
        assert len(set(one_pass)) == len(one_pass) and set(one_pass) <= set(range(size))


def test_a_share_of_few_draws_is_exact_on_average():
    """A class of one crop an epoch has a real one in every other epoch, and not in none."""
    rng = plans.generator(0, 0)
    for real_share, count in ((0.5, 1), (0.3, 2)):
        drawn = [plans.shared_permutations(rng, 10, 4, count, real_share) for _ in range(2000)]
        assert (np.concatenate(drawn) < 4).mean() == pytest.approx(real_share, abs=0.04)


def test_passes_differ():
    draws = plans.repeated_permutations(plans.generator(0, 0), 50, 100)
    assert not np.array_equal(draws[:50], draws[50:])
