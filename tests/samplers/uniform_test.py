"""Uniform image sampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csst_jax.samplers.plan import PLAN_DTYPE
from csst_jax.samplers.uniform import UniformImageSampler
from csst_jax.types import CsstError


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(n=st.integers(1, 30), num_samples=st.integers(0, 100), epoch=st.integers(0, 50), seed=st.integers(0, 50))
def test_every_image_once_before_any_comes_again(n, num_samples, epoch, seed):
    images = [(i % 2, i, 10 + i, 300 + i) for i in range(n)]
    plan = UniformImageSampler(images).plan(epoch, seed, num_samples)
    assert plan.dtype == PLAN_DTYPE and len(plan) == num_samples
    for begin in range(0, num_samples, n):
        records = plan["record"][begin : begin + n]
        assert len(set(records)) == len(records)
    assert np.array_equal(plan["origin"], plan["record"] % 2)
    assert (plan["klass"] == -1).all()
    assert ((plan["y"] >= 0) & (plan["y"] <= 9 + plan["record"])).all()
    assert ((plan["x"] >= 0) & (plan["x"] <= 299 + plan["record"])).all()


def test_place_is_uniform_and_changes_with_the_epoch():
    sampler = UniformImageSampler([(0, 0, 101, 201)])
    plan = sampler.plan(0, 0, 4000)
    for points, extent in ((plan["y"], 100), (plan["x"], 200)):
        quarters = np.histogram(points, 4, (0, extent))[0]
        assert np.abs(quarters - 1000).max() < 120
    assert np.array_equal(plan, sampler.plan(0, 0, 4000))
    assert not np.array_equal(plan, sampler.plan(1, 0, 4000))


def test_share_of_real_images():
    images = [(int(i % 6 != 0), i, 10, 10) for i in range(60)]
    plan = UniformImageSampler(images, real_share=0.5).plan(3, 4, 100)
    real = plan["record"][plan["origin"] == 0]
    assert len(real) == 50 and set(np.bincount(real)[::6]) == {5}
    pseudo = plan["record"][plan["origin"] == 1]
    assert len(set(pseudo)) == 50
    assert len(set(plan["origin"][:20])) == 2
    union = UniformImageSampler(images).plan(3, 4, 60)
    assert sorted(union["record"]) == list(range(60))


def test_bad_input():
    with pytest.raises(CsstError, match="no image to sample"):
        UniformImageSampler([])
    with pytest.raises(CsstError, match="image 3 of origin 0 has the size 0x5"):
        UniformImageSampler([(0, 3, 0, 5)])
