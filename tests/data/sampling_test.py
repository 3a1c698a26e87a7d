"""Every strategy with images of any size, through the batches that a network sees."""

import io

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.batches import batch_specs, batches
from csst_jax.data.sampling import STRATEGIES, LabelledSource, Strategy, make_sampler, require_crop_fits
from csst_jax.data.stored import centroid_index
from csst_jax.types import CsstError, Phase

CLASSES = ("even", "odd", "speck")
SIZES = [(20, 30), (64, 64), (150, 40), (1, 1), (33, 200)]
"""Smaller and larger than the crop of 64, in either direction and in both."""


class Images:
    """Images whose red channel tells the record, and labels in two halves with a speck in the larger ones."""

    def __len__(self):
        return len(SIZES)

    def label(self, record):
        height, width = SIZES[record]
        label = np.zeros((height, width), np.uint8)
        label[:, width // 2 :] = 1
        if min(height, width) > 10:
            label[3, 4] = 2
        return label

    def label_bytes(self, record):
        return png(self.label(record))

    def pair_bytes(self, record):
        return png(np.full((*SIZES[record], 3), 10 + record, np.uint8)), self.label_bytes(record)

    def describe(self, record):
        return f"record {record}"


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def source(min_area_px=0):
    images, builder = Images(), centroid_index.IndexBuilder(len(CLASSES))
    for record in range(len(SIZES)):
        builder.add(record, f"{record}", images.label(record), images.label_bytes(record))
    return LabelledSource(images, range(len(SIZES)), builder.finish(), min_area_px)


def strategy(name, **changes):
    return Strategy(**{"name": name, "real_share": None, "tile_px": 32, "class_uniform_share": 0.5} | changes)


@pytest.mark.parametrize("name", STRATEGIES)
def test_images_smaller_than_the_crop_and_of_varying_size(name):
    sources = [source(), source()]
    sampler = make_sampler(strategy(name), sources, CLASSES)
    specs = list(batch_specs(sampler, [Phase(64, 12, 3)], 7, (0.5, 2.0), 0))
    readers = [labelled.source for labelled in sources]
    seen = set()
    for spec, batch in zip(specs, batches(iter(specs), readers, parallel_batches=1, prefetch=1), strict=True):
        assert batch["image"].shape == (12, 64, 64, 3) and batch["label"].shape == (12, 64, 64)
        for row, image, label in zip(spec.rows, batch["image"], batch["label"], strict=True):
            inside = label != 255
            assert inside.any(), "a crop without a pixel of the image"
            assert (image[inside] == 10 + row["record"]).all(), "image and label come from different places"
            if row["klass"] in (0, 1) and name == "centroid":
                assert (label == row["klass"]).any(), "the crop misses the component that it was drawn for"
            seen.add(int(row["record"]))
    assert seen == set(range(len(SIZES)))


@pytest.mark.parametrize("name", ["centroid", "class_uniform_tiles"])
def test_minimum_area_keeps_specks_from_being_centres(name):
    def classes(min_area_px):
        return set(make_sampler(strategy(name), [source(min_area_px)], CLASSES).plan(0, 0, 60)["klass"].tolist())

    assert 2 in classes(1) and 2 not in classes(2)


def test_tiles_of_the_records_that_may_be_used_alone():
    labelled = source()
    chosen = LabelledSource(labelled.source, [1, 2], labelled.index, 0)
    plan = make_sampler(strategy("class_uniform_tiles"), [labelled, chosen], CLASSES).plan(0, 0, 400)
    assert set(plan["record"][plan["source"] == 1]) == {1, 2}
    assert set(plan["record"][plan["source"] == 0]) == set(range(len(SIZES)))


def test_bad_input():
    for changes, message in (
        ({"name": "random"}, "unknown sampler 'random'; known are: centroid, class_uniform_tiles, uniform"),
        ({"tile_px": 0}, "tile_px is 0"),
        ({"real_share": 2.0}, "real_share is 2.0"),
        ({"class_uniform_share": -0.1}, "class_uniform_share is -0.1"),
    ):
        with pytest.raises(CsstError, match=message):
            strategy(**{"name": "uniform"} | changes)
    require_crop_fits(200, SIZES)
    with pytest.raises(CsstError, match=r"crop_px=201 is larger than every training image .*set crop_px to 192"):
        require_crop_fits(201, SIZES)
