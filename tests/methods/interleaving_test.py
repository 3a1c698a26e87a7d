"""Crops of several kinds as one batch."""

import numpy as np

from csst_jax.methods.interleaving import interleaved, taken


def test_batches_are_taken_apart_as_they_were_put_together():
    arrays = [np.arange(6.0).reshape(3, 2), 100 + np.arange(12.0).reshape(6, 2)]
    whole = interleaved(arrays, [1, 2])
    assert whole[:, 0].tolist() == [0, 100, 102, 2, 104, 106, 4, 108, 110]
    for number, array in enumerate(arrays):
        np.testing.assert_array_equal(taken(whole, [1, 2], number), array)
