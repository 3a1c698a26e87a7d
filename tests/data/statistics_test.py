"""Counts by class from the index, and the minimum area that leaves out specks alone."""

import numpy as np
import pytest

from csst_jax.data.statistics import SPECKS_SHARE, class_statistics
from csst_jax.data.stored import centroid_index


def index_of(labels, num_classes=3):
    builder = centroid_index.IndexBuilder(num_classes)
    for record, label in enumerate(labels):
        builder.add(record, str(record), np.array(label, np.uint8), b"")
    return builder.finish()


LABELS = [[[0, 0, 1, 0]], [[255, 255, 255, 255]], [[1, 1, 1, 0]], [[1, 255, 1, 1]]]


def test_counts():
    found = class_statistics(index_of(LABELS), range(4))
    assert found.pixels.tolist() == [4, 7, 0] and found.pixels.dtype == np.int64
    assert found.images.tolist() == [2, 3, 0]
    assert found.components.tolist() == [3, 4, 0]
    assert found.median_area_px.tolist() == [1, 1.5, 0]
    assert found.largest_area_px.tolist() == [2, 3, 0]
    assert found.present.tolist() == [True, True, False]
    assert found.empty_records == (1,)


def test_only_the_records_that_are_asked_for_count():
    found = class_statistics(index_of(LABELS), {0, 1})
    assert found.pixels.tolist() == [3, 1, 0] and found.images.tolist() == [1, 1, 0]
    nothing = class_statistics(index_of(LABELS), ())
    assert not nothing.present.any() and nothing.suggested_min_area_px == 0 and nothing.empty_records == ()


def row(*areas):
    """A label of one row: components of class 0 of these areas, void between them."""
    return [[value for area in areas for value in [0] * area + [255]]]


@pytest.mark.parametrize(
    ("areas", "suggested"),
    [
        ([100], 100),
        ([1, 99], 99),  # the speck holds exactly 1 %
        ([1, 98], 1),  # and here more
        ([1, 1, 1, 397], 397),
        ([1, 1, 1, 2, 400], 2),
        ([5] * 10, 5),
    ],
)
def test_specks_hold_no_more_than_their_share(areas, suggested):
    found = class_statistics(index_of([row(*areas)]), [0])
    assert found.speck_area_px[0] == suggested
    dropped = sum(area for area in areas if area < suggested)
    assert dropped <= SPECKS_SHARE * sum(areas)
    larger = min((area for area in areas if area > suggested), default=None)
    if larger is not None:
        assert sum(area for area in areas if area < larger) > SPECKS_SHARE * sum(areas), "a larger minimum would do"


def test_the_suggestion_for_all_is_that_of_the_smallest_class():
    label = np.full((20, 20), 255)
    label[:10, :10], label[15, 15:18] = 0, 1
    found = class_statistics(index_of([label]), [0])
    assert found.speck_area_px.tolist() == [100, 3, 0] and found.suggested_min_area_px == 3
