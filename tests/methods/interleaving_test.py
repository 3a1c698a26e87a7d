"""Crops of several kinds as one batch."""

import numpy as np

from csst_jax.methods.interleaving import interleaved, taken, taken_outputs


def test_batches_are_taken_apart_as_they_were_put_together():
    arrays = [np.arange(6.0).reshape(3, 2), 100 + np.arange(12.0).reshape(6, 2)]
    whole = interleaved(arrays, [1, 2])
    assert whole[:, 0].tolist() == [0, 100, 102, 2, 104, 106, 4, 108, 110]
    for number, array in enumerate(arrays):
        np.testing.assert_array_equal(taken(whole, [1, 2], number), array)


def test_outputs_that_have_losses_are_taken_apart_and_others_are_left_out():
    one, other = (np.full((2, 4, 5, 3), value, np.float32) for value in (1, 2))
    whole = interleaved([one, other], [1, 1])
    outputs = {"logits": whole, "aux": {"early": 2 * whole}, "presence": whole[:, 0, 0], "features": {"x": whole}}
    found = taken_outputs(outputs, [1, 1], 1)
    assert found.keys() == {"logits", "aux", "presence"}
    np.testing.assert_array_equal(found["logits"], other)
    np.testing.assert_array_equal(found["aux"]["early"], 2 * other)
    np.testing.assert_array_equal(found["presence"], np.full((2, 3), 2))
    del outputs["presence"]
    assert taken_outputs(outputs, [1, 1], 0).keys() == {"logits", "aux"}
