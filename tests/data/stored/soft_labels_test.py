"""Soft labels as they are stored: probabilities add up to 1, near their values; sure pixels take no space."""

import numpy as np
import pytest

from csst_jax.data.stored import encoded, soft_labels, tiles

SIZE = (150, 140)


def ranked(k=3, classes=6, seed=0):
    """The k most probable classes of each pixel and their probabilities, some of them tiny."""
    rng = np.random.default_rng(seed)
    p = np.exp(rng.normal(0, 1, (classes, *SIZE)) * rng.uniform(0, 9, SIZE))
    p = (p / p.sum(0)).astype(np.float32)
    order = np.argsort(-p, 0)[:k]
    return order.astype(np.uint8), np.take_along_axis(p, order, 0)


@pytest.mark.parametrize("k,bits", [(2, 8), (3, 8), (3, 4), (5, 2)])
def test_probabilities_add_up_to_one_and_are_near_their_values(k, bits):
    _, probabilities = ranked(k)
    shares = soft_labels.quantised(probabilities, bits)
    assert shares.dtype == np.uint8 and shares.shape == (k - 1, *SIZE)
    step = 255 // (2**bits - 1)
    assert not (shares % step).any() and len(np.unique(shares)) <= 2**bits
    first = 255 - shares.astype(int).sum(0)
    exact = 255 * probabilities / probabilities.sum(0)
    assert (first >= 0).all() and np.abs(first - exact[0]).max() <= step / 2 + 1e-3
    assert np.abs(shares - exact[1:]).max() < step + 1e-3


def test_a_window_has_the_labels_classes_and_probabilities_of_its_pixels():
    classes, probabilities = ranked()
    label = classes[0].copy()
    label[20:30] = 255
    data = soft_labels.encode(label, classes, probabilities, 8)
    assert encoded.size(data) == SIZE
    maps = encoded.decode_label(data, tiles.Window(15, 100, 130, 39))
    assert maps.shape == (5, 130, 39)
    shares = soft_labels.quantised(probabilities, 8)
    shares[:, 20:30] = 0
    expected = np.stack([label, *np.where(shares, classes[1:], 0), *shares])
    np.testing.assert_array_equal(maps, expected[:, 15:145, 100:139])


def test_where_the_teacher_is_sure_a_soft_label_takes_next_to_no_space():
    label = np.zeros((256, 256), np.uint8)
    label[100:] = 3
    classes = np.stack([label, (label + 1) % 4, (label + 2) % 4])
    noise = np.random.default_rng(0).uniform(0, 5e-4, (2, 256, 256)).astype(np.float32)
    probabilities = np.stack([1 - noise.sum(0), *noise])
    assert len(soft_labels.encode(label, classes, probabilities, 8)) < 256 * 256 / 100
