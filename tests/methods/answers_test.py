"""What a network says of crops without labels."""

import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods.answers import (
    answers,
    pseudo_labels,
    require_below_one,
    require_not_negative,
    require_positive,
    two_strong_views,
)
from csst_jax.methods.mixing import mix_boxes, pasted
from csst_jax.streams import STRONG, STRONG_2, WEAK
from csst_jax.types import CsstError
from tests.methods.mean_teacher_test import softmax
from tests.methods.online_test import drawn


def test_pseudo_labels_are_the_most_probable_class_where_it_is_probable_enough():
    logits = np.random.default_rng(1).normal(0, 3, (2, 4, 5, 6)).astype(np.float32)
    labels, confident = pseudo_labels(jnp.asarray(logits), 0.6)
    probability = softmax(logits.astype(np.float64))
    np.testing.assert_array_equal(labels, probability.argmax(-1))
    np.testing.assert_array_equal(confident, probability.max(-1) >= 0.6)
    assert 0.2 < np.mean(confident) < 0.9


def test_a_threshold_may_follow_the_training_as_a_scalar_or_by_class():
    logits = jnp.asarray(np.random.default_rng(1).normal(0, 3, (2, 4, 5, 6)), jnp.float32)
    labels, confident = pseudo_labels(logits, 0.6)
    np.testing.assert_array_equal(pseudo_labels(logits, jnp.float32(0.6))[1], confident)
    by_class = jnp.where(jnp.arange(6) == 2, 0.0, 0.6)
    np.testing.assert_array_equal(pseudo_labels(logits, by_class)[1], confident | (labels == 2))


def test_strong_views_are_mixed_by_boxes_of_their_own():
    crops = drawn()["unlabelled"]
    made = answers(crops.images[WEAK], 0.0, crops.valid)
    views = two_strong_views(crops, made, 0.7)
    assert list(views) == [STRONG, STRONG_2]
    inside = [mix_boxes(crops, 0.7, second=second) for second in (False, True)]
    assert (inside[0] != inside[1]).any()
    for boxes, (view, (images, learned)) in zip(inside, views.items(), strict=True):
        np.testing.assert_array_equal(images, pasted(boxes, crops.images[view]))
        np.testing.assert_array_equal(learned.labels, pasted(boxes, made.labels))
    for view, (images, learned) in two_strong_views(crops, made, 0.0).items():
        assert images is crops.images[view] and learned is made


def test_a_setting_out_of_range_is_refused_by_its_name():
    with pytest.raises(CsstError, match=r"drop_rate is 1.0; give a number from 0 to below 1\."):
        require_below_one(momentum=0.0, drop_rate=1.0)
    with pytest.raises(CsstError, match=r"low_rank is -1; give 0 or more\."):
        require_not_negative(weight=0.0, low_rank=-1)
    with pytest.raises(CsstError, match=r"temperature is 0.0; give a number above 0\."):
        require_positive(channels=1, temperature=0.0)
