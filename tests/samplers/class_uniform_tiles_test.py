"""Class-uniform tile sampling: how many crops each class and the whole images get."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csst_jax.samplers.centroid import CentroidSampler
from csst_jax.samplers.class_uniform_tiles import ClassUniformTilesSampler
from csst_jax.samplers.plan import PLAN_DTYPE
from csst_jax.samplers.uniform import UniformImageSampler
from csst_jax.types import CsstError


def make_sampler(sizes, num_images, share):
    """`sizes[c]` points of class c, whose y is -1 - their number, so that points and images are told apart."""
    pool = np.zeros(sum(sizes), PLAN_DTYPE)
    pool["klass"] = np.repeat(np.arange(len(sizes)), sizes)
    pool["record"] = np.arange(len(pool)) % num_images
    pool["y"] = -1 - np.arange(len(pool))
    points = CentroidSampler(pool, [f"class{c}" for c in range(len(sizes))])
    images = UniformImageSampler([(0, record, 10, 10) for record in range(num_images)])
    return ClassUniformTilesSampler(points, images, len(sizes), share)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any),
    num_images=st.integers(1, 20),
    share=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    num_samples=st.integers(0, 150),
    epoch=st.integers(0, 9),
)
def test_counts(sizes, num_images, share, num_samples, epoch):
    plan = make_sampler(sizes, num_images, share).plan(epoch, 3, num_samples)
    assert plan.dtype == PLAN_DTYPE and plan.shape == (num_samples,)
    per_class = int(num_samples * share / len(sizes))
    for c, size in enumerate(sizes):
        chosen = plan["y"][plan["klass"] == c]
        assert len(chosen) == (per_class if size else 0)
        if size:
            uses = np.unique(chosen, return_counts=True)[1]
            assert len(chosen) == 0 or uses.max() <= -(-per_class // size), "a point came again before all had come"
    whole = plan[plan["klass"] == -1]
    assert len(whole) == num_samples - per_class * np.count_nonzero(sizes), "absent classes' share is whole images'"
    assert (whole["y"] >= 0).all()
    if len(whole):
        assert np.bincount(whole["record"], minlength=num_images).max() <= -(-len(whole) // num_images)


def test_vplr_numbers():
    """Cityscapes: 2975 images, 19 classes, half of the epoch: 78 points a class and 1493 images."""
    plan = make_sampler([3000] * 19, 2975, 0.5).plan(0, 0, 2975)
    assert np.bincount(plan["klass"] + 1).tolist() == [1493] + [78] * 19


def test_points_and_images_are_mixed_and_depend_on_epoch_and_seed():
    sampler = make_sampler([50, 50], 100, 0.5)
    plan = sampler.plan(4, 1, 100)
    assert {-1, 0, 1} == set(plan["klass"][:20]) == set(plan["klass"][-20:])
    assert np.array_equal(plan, make_sampler([50, 50], 100, 0.5).plan(4, 1, 100))
    assert not np.array_equal(plan, sampler.plan(5, 1, 100)) and not np.array_equal(plan, sampler.plan(4, 2, 100))


def test_points_are_drawn_independently_of_images():
    """As many points of a class as images, drawn from one stream twice, would be the same images."""
    same = []
    for epoch in range(40):
        plan = make_sampler([100], 100, 0.5).plan(epoch, 0, 60)
        points, images = (set(plan["record"][plan["klass"] == klass]) for klass in (0, -1))
        same.append(len(points & images))
    assert abs(np.mean(same) - 9) < 2  # 30 of 100, twice: 9 in common; the same ones: 30


def test_bad_share():
    with pytest.raises(CsstError, match="share is 1.5; give a share between 0 and 1"):
        ClassUniformTilesSampler.Settings(tile_px=8, share=1.5)
