"""What is worth a mask: doubt, and distance to what has one."""

import numpy as np

from csst_jax.suggestion import ranking


def test_doubt_is_the_mean_of_both_in_units_of_their_means():
    np.testing.assert_allclose(ranking.doubts(np.array([0.2, 0.4])), [2 / 3, 4 / 3])
    found = ranking.doubts(np.array([0.2, 0.4]), np.array([0.3, 0.1]))
    np.testing.assert_allclose(found, [(2 / 3 + 1.5) / 2, (4 / 3 + 0.5) / 2])
    np.testing.assert_array_equal(ranking.doubts(np.zeros(3)), np.ones(3))


def test_copies_are_not_suggested_twice():
    """Two doubtful images alike, and one that is less so and elsewhere; one like the labelled comes last."""
    features = np.array([[5.0, 0.0], [5.0, 0.01], [0.0, 3.0], [0.0, 0.0]])
    doubt = np.array([1.5, 1.4, 0.6, 1.6])
    chosen = ranking.choose(doubt, features, np.array([[0.0, 0.0]]), 4)
    assert [one.position for one in chosen] == [0, 2, 1, 3]
    assert chosen[0].doubt == 1.5 and chosen[-1].distance == 0
    assert chosen[2].distance < 0.1 < chosen[1].distance


def test_among_equals_in_distance_the_doubtful_come_first_and_the_pool_may_be_small():
    features = np.eye(3)
    chosen = ranking.choose(np.array([0.5, 2.0, 1.0]), features, np.zeros((1, 3)), 20)
    assert [one.position for one in chosen] == [1, 2, 0]
    assert [one.position for one in ranking.choose(np.array([1.0, 2.0]), np.ones((2, 3)), np.zeros((0, 3)), 2)] == [
        1,
        0,
    ]


def test_all_alike_is_no_division_by_zero():
    chosen = ranking.choose(np.array([1.0, 2.0]), np.ones((2, 3)), np.ones((1, 3)), 2)
    assert [one.position for one in chosen] == [1, 0] and all(one.distance == 0 for one in chosen)
