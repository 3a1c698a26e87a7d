"""Points of classes in tiles, against a slow definition."""

import io

import numpy as np
import pytest
from PIL import Image

from csst_jax.data import tile_centroids
from csst_jax.types import CsstError


def slow(label, tile_px):
    """(klass, y, x, area) by definition, a pixel list each; VPLR's grid of whole tiles."""
    found = []
    height, width = min(tile_px, label.shape[0]), min(tile_px, label.shape[1])
    for row in range(label.shape[0] // height):
        for column in range(label.shape[1] // width):
            tile = np.full(label.shape, 255, np.uint8)
            where = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
            tile[where] = label[where]
            for c in range(3):
                y, x = np.nonzero(tile == c)
                if len(y):
                    found.append((c, y.mean(), x.mean(), len(y)))
    return np.array(found)


@pytest.mark.parametrize("size", [(8, 16), (11, 21), (5, 7), (3, 40), (40, 3), (1, 1)])
def test_agrees_with_the_definition(size):
    rng = np.random.default_rng(0)
    label = rng.choice(np.array([0, 1, 2, 255], np.uint8), size)
    label[0, 0] = 1
    columns = tile_centroids.tile_centroids(label, 3, tile_px=8)
    assert [column.dtype for column in columns] == [np.int32, np.float32, np.float32, np.int32]
    np.testing.assert_allclose(np.stack(columns, axis=1), slow(label, 8), rtol=1e-6)


def test_a_point_may_lie_off_the_class():
    """What centroids of components improve on: the mean of two objects is on neither."""
    label = np.zeros((4, 9), np.uint8)
    label[1, 1] = label[1, 7] = 1
    klass, y, x, area = tile_centroids.tile_centroids(label, 2, tile_px=100)
    assert (y[klass == 1], x[klass == 1], area[klass == 1]) == (1, 4, 2) and label[1, 4] == 0


def test_a_void_label_has_no_point():
    assert [len(c) for c in tile_centroids.tile_centroids(np.full((4, 4), 255, np.uint8), 2, 4)] == [0] * 4


class Labels:
    def __init__(self, labels):
        self.labels = labels

    def label_bytes(self, record):
        stream = io.BytesIO()
        Image.fromarray(self.labels[record]).save(stream, "PNG")
        return stream.getvalue()

    def describe(self, record):
        return f"labels, record {record}"


def test_reads_the_records_asked_for_in_order():
    source = Labels([np.full((4, 4 + 2 * i), i, np.uint8) for i in range(3)])
    found = tile_centroids.read(source, [2, 0], num_classes=3, tile_px=4)
    assert found.record.tolist() == [2, 2, 0] and found.klass.tolist() == [2, 2, 0]
    assert found.x.tolist() == [1.5, 5.5, 1.5] and found.area.tolist() == [16, 16, 16]
    with pytest.raises(CsstError, match=r"labels, record 2: label value 2 \(16 pixels\) is outside the 2 classes"):
        tile_centroids.read(source, [0, 2], num_classes=2, tile_px=4)
