"""What a network says of crops without labels."""

import jax.numpy as jnp
import numpy as np

from csst_jax.methods.answers import pseudo_labels
from tests.methods.mean_teacher_test import softmax


def test_pseudo_labels_are_the_most_probable_class_where_it_is_probable_enough():
    logits = np.random.default_rng(1).normal(0, 3, (2, 4, 5, 6)).astype(np.float32)
    labels, confident = pseudo_labels(jnp.asarray(logits), 0.6)
    probability = softmax(logits.astype(np.float64))
    np.testing.assert_array_equal(labels, probability.argmax(-1))
    np.testing.assert_array_equal(confident, probability.max(-1) >= 0.6)
    assert 0.2 < np.mean(confident) < 0.9
