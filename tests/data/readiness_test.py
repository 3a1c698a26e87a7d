"""The quick check before every run: what index and metadata tell, without reading images."""

import dataclasses

import numpy as np
import pytest

from csst_jax.data import readiness
from csst_jax.data.selection import Selection
from csst_jax.data.stored import centroid_index
from csst_jax.types import CsstError, DatasetDescription

DESCRIPTION = DatasetDescription("ready", ("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))


@dataclasses.dataclass
class Images:
    """Images are one byte, and those that are read are noted."""

    values: list
    read: list = dataclasses.field(default_factory=list)

    def image_bytes(self, record):
        self.read.append(record)
        return bytes([self.values[record]])


class Data:
    """A data set in memory: (id, byte of the image, label row) by split."""

    directory = "somewhere"
    description = DESCRIPTION

    def __init__(self, hashed=False, **splits):
        self.hashed = hashed
        self.splits = splits
        self.sources = {split: Images([value for _, value, _ in rows]) for split, rows in splits.items()}

    def ids(self, split):
        return tuple(image_id for image_id, _, _ in self.splits[split])

    def image_digests(self, split):
        return tuple(f"{value:02x}" if self.hashed else "" for _, value, _ in self.splits[split])

    def reader(self, split):
        return self.sources[split]

    def centroids(self, split):
        builder = centroid_index.IndexBuilder(3)
        for record, (image_id, _, label) in enumerate(self.splits[split]):
            builder.add(record, image_id, np.array([label], np.uint8), b"")
        return builder.finish()


ALL = [0, 1, 2]


def check(train, val, labelled=None, hashed=False):
    data = Data(hashed, train=train, val=val)
    chosen = tuple(range(len(train))) if labelled is None else labelled
    pool = Selection(data, "train", chosen, tuple(set(range(len(train))) - set(chosen)))
    return readiness.findings(pool, Selection(data, "val", tuple(range(len(val))), ())), data


def test_nothing_to_say_about_sound_data_and_no_image_is_read():
    found, data = check([("x", 1, ALL), ("y", 2, [0, 0, 0])], [("z", 3, ALL)])
    assert found == readiness.Findings()
    assert data.sources["train"].read == data.sources["val"].read == []


@pytest.mark.parametrize(
    ("train", "val", "kind", "text"),
    [
        ([0, 1, 255], ALL, "warnings", "no pixel of c, but split 'val' has. The IoU counts as 0 in the mean"),
        ([0, 1, 255], [0, 1, 1], "warnings", "no pixel of c in the labelled images of either split"),
        (ALL, [0, 1, 1], "warnings", "split 'val' has no pixel of c. The IoU counts as 0 in the mean if"),
        ([0, 0, 255], ALL, "errors", "the 1 labelled images of split 'train' show a; there is nothing to tell apart"),
        ([255] * 3, ALL, "errors", "show nothing but void"),
        (ALL, [255] * 3, "errors", "split 'val' has no labelled pixel"),
    ],
)
def test_classes_that_never_occur(train, val, kind, text):
    found, _ = check([("x", 1, train)], [("z", 3, val)])
    assert any(text in told for told in getattr(found, kind)), found


def test_another_choice_of_validation_images_is_named_where_one_can_be_made():
    two, one = ([("x", 1, ALL), ("y", 2, ALL)], [("x", 1, ALL), ("y", 2, [0, 1, 1])])
    for train, told in ((two, True), (one, False)):
        found, _ = check(train, [("z", 3, [0, 1, 1])])
        assert ("--val_list" in found.warnings[0]) == told, "the one image that shows it is to be trained on"
    found, _ = check([("z", 3, [0, 1, 1])], two)
    assert "no pixel of c, but split 'val' has" in found.warnings[0] and "--val_list" in found.warnings[0]


def test_masks_of_0_and_255_are_told_how_to_be_prepared():
    found, _ = check([("x", 1, [0, 0, 255])], [("z", 3, [0, 255, 255])])
    assert any("--classes=FILE" in told and "{name: b, values: [255]}" in told for told in found.errors), found


def test_only_labelled_images_count():
    found, _ = check([("x", 1, [0, 1, 1]), ("y", 2, ALL)], [("z", 3, ALL)], labelled=(0,))
    assert len(found.warnings) == 1 and "the 1 labelled images" in found.warnings[0]


def test_masks_that_are_void_all_over_are_named():
    found, _ = check([("x", 1, ALL), ("y", 2, [255] * 3)], [("z", 3, ALL)])
    assert found.warnings == ["split 'train': 1 masks are void all over, for example y; check them."]


def test_an_image_in_both_splits_is_an_error_and_an_id_in_both_is_none():
    found, data = check([("x", 1, ALL), ("y", 2, ALL), ("u", 5, ALL)], [("x", 1, ALL), ("y", 9, ALL)], labelled=(0,))
    assert len(found.errors) == 1 and "1 images of split 'val' are in split 'train', too: x;" in found.errors[0]
    assert data.sources["train"].read == [0, 1], "images are read for ids that both have, alone"


def test_copies_under_other_names_are_found_without_reading():
    found, data = check([("x", 1, ALL), ("u", 5, ALL)], [("y", 5, ALL), ("z", 6, ALL)], labelled=(0,), hashed=True)
    assert len(found.errors) == 1 and "1 images of split 'val' are in split 'train', too: y = u;" in found.errors[0]
    assert not data.sources["train"].read


def test_a_few_copies_in_a_published_split_are_a_warning():
    val = [(f"{i:03d}", i, ALL) for i in range(200)]
    found, _ = check([("x", 7, ALL), ("y", 250, ALL)], val, hashed=True)
    assert not found.errors and "1 images of split 'val' are in split 'train', too: 007 = x;" in found.warnings[0]
    found, _ = check([(f"x{i}", i, ALL) for i in range(3)], val, hashed=True)
    assert "3 images of split 'val'" in found.errors[0]


def test_one_split_for_both_is_a_warning():
    data = Data(train=[("x", 1, ALL)])
    one = Selection(data, "train", (0,), ())
    found = readiness.findings(one, one)
    assert not found.errors and "trained on and validated on" in found.warnings[0]


def test_an_index_of_other_classes_is_refused():
    data = Data(train=[("x", 1, ALL)])
    data.description = DatasetDescription("ready", ("a", "b"), ((0, 0, 0), (1, 1, 1)))
    with pytest.raises(CsstError, match="index of split 'train' is of 3 classes, the data set of 2"):
        readiness.statistics(data, "train", [0])
