"""Every strategy with images of any size, through the batches that a network sees."""

import io

import numpy as np
import pytest
from PIL import Image

from csst_jax import registry
from csst_jax.data.batches import batches
from csst_jax.data.crop_plan import batch_specs
from csst_jax.data.sampling import Images, WithoutLabels, readers, require_crop_fits, samplers
from csst_jax.data.stored import centroid_index
from csst_jax.methods.mean_teacher import MeanTeacher
from csst_jax.samplers import SAMPLERS
from csst_jax.streams import LABELLED, PSEUDO, REAL, UNLABELLED, Stream
from csst_jax.types import CsstError, Phase

CLASSES = ("even", "odd", "speck")
SIZES = [(20, 30), (64, 64), (150, 40), (1, 1), (33, 200)]
"""Smaller and larger than the crop of 64, in either direction and in both."""


class Pictures:
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


ALL = range(len(SIZES))


def given(min_area_px=0, records=ALL):
    images, builder = Pictures(), centroid_index.IndexBuilder(len(CLASSES))
    for record in range(len(SIZES)):
        builder.add(record, f"{record}", images.label(record), images.label_bytes(record))
    return Images(images, records, builder.finish(), min_area_px)


def sampler(name, images, streams=(LABELLED,), real_share=None):
    """Of the first stream."""
    settings = registry.settings("sampler", SAMPLERS, name, SETTINGS.get(name, {}))
    kind = registry.resolve("sampler", SAMPLERS, name)
    return samplers(streams, images, CLASSES, real_share, lambda candidates: kind.make(settings, candidates))


SETTINGS = {"class_uniform_tiles": {"tile_px": 32, "share": 0.5}}


@pytest.mark.parametrize("name", SAMPLERS)
def test_images_smaller_than_the_crop_and_of_varying_size(name):
    images = {REAL: given(), PSEUDO: given()}
    specs = list(batch_specs([LABELLED], sampler(name, images), [Phase(64, 12, 3)], 7, (0.5, 2.0), 0))
    seen = set()
    read = batches(iter(specs), [LABELLED], readers(images), parallel_batches=1, prefetch=1)
    for spec, step in zip(specs, read, strict=True):
        batch = step["labelled"]
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
        plan = sampler(name, {REAL: given(min_area_px)})["labelled"].plan(0, 0, 60)
        return set(plan["klass"].tolist())

    assert 2 in classes(1) and 2 not in classes(2)


def test_tiles_of_the_records_that_may_be_used_alone():
    images = {REAL: given(), PSEUDO: given(records=[1, 2])}
    plan = sampler("class_uniform_tiles", images)["labelled"].plan(0, 0, 400)
    assert set(plan["record"][plan["origin"] == 1]) == {1, 2}
    assert set(plan["record"][plan["origin"] == 0]) == set(range(len(SIZES)))


@pytest.mark.parametrize("name", ["centroid", "class_uniform_tiles"])
@pytest.mark.parametrize(
    "origins,message",
    [
        ((REAL,), "no centroid to sample: the masks have no pixel of any class, .* or lower sampler.min_area_px.$"),
        ((PSEUDO,), "no centroid to sample: the pseudo labels are void .* Lower label.confidence_threshold or"),
        (
            (REAL, PSEUDO),
            "no centroid to sample: the masks .* the pseudo labels .* or raise label.class_portion if it is set.$",
        ),
    ],
)
def test_labels_without_a_centroid_are_named_with_the_fix(name, origins, message):
    with pytest.raises(CsstError, match=message):
        sampler(name, {origin: given(min_area_px=10**6) for origin in origins})


class Readable(Pictures):
    def image_bytes(self, record):
        return self.pair_bytes(record)[0]


def test_streams_are_drawn_apart_and_padding_is_told_where_there_is_no_label():
    images = {REAL: given(), UNLABELLED: Images(WithoutLabels(Readable()), [0, 4])}
    streams = MeanTeacher.streams
    chosen = sampler("centroid", images, streams)
    specs = list(batch_specs(streams, chosen, [Phase(64, 12, 3)], 7, (1.0, 1.0), 0))
    read = list(batches(iter(specs), streams, readers(images), parallel_batches=1, prefetch=1))
    assert len(read) == 3
    for spec, step in zip(specs, read, strict=True):
        labelled, unlabelled = step["labelled"], step["unlabelled"]
        assert labelled.keys() == {"image", "label", "sample"} and unlabelled.keys() == {"image", "padding", "sample"}
        assert len(labelled["image"]) == len(unlabelled["image"]) == 6 and spec.counts == {
            "labelled": 6,
            "unlabelled": 6,
        }
        assert set(unlabelled["padding"].ravel().tolist()) <= {0, 255}
        for row, image, padding in zip(spec.rows[6:], unlabelled["image"], unlabelled["padding"], strict=True):
            assert row["origin"] == 1 and row["record"] in (0, 4) and row["klass"] == -1
            assert (image[padding == 0] == 10 + row["record"]).all() and (padding == 0).any()
            if row["record"] == 0:  # 20 x 30 pixels in a crop of 64
                assert (padding == 0).sum() == 20 * 30
    resumed = list(batch_specs(streams, chosen, [Phase(64, 12, 3)], 7, (1.0, 1.0), 2))
    assert [spec.rows.tobytes() for spec in resumed] == [specs[2].rows.tobytes()]
    halves = [next(batch_specs(streams, chosen, [Phase(64, 12, 3)], 7, (1.0, 1.0), 0, i, 2)) for i in (0, 1)]
    for name, at in (("labelled", slice(0, 3)), ("unlabelled", slice(3, 6))):
        first = 0 if name == "labelled" else 6
        joined = np.concatenate([half.rows[at] for half in halves])
        np.testing.assert_array_equal(joined, specs[0].rows[first : first + 6])


def test_bad_input():
    for name, changes, message in (
        ("random", {}, "unknown sampler 'random'; known are: centroid, class_uniform_tiles, uniform"),
        ("class_uniform_tiles", {"tile_px": 0, "share": 0.5}, "tile_px is 0"),
        ("class_uniform_tiles", {"tile_px": 1, "share": -0.1}, "share is -0.1"),
        ("class_uniform_tiles", {"tile_px": 1}, "settings of the sampler 'class_uniform_tiles': share is missing"),
    ):
        with pytest.raises(CsstError, match=message):
            registry.settings("sampler", SAMPLERS, name, changes)
    with pytest.raises(CsstError, match="the method's stream 'unlabelled' needs unlabelled images, and there are none"):
        sampler("centroid", {REAL: given()}, MeanTeacher.streams)
    with pytest.raises(CsstError, match="stream 'pseudo' needs pseudo images, and there are none. Only a student has"):
        sampler("centroid", {REAL: given()}, (Stream(PSEUDO, (PSEUDO,)),))
    require_crop_fits(200, SIZES)
    with pytest.raises(CsstError, match=r"crop_px=201 is larger than every training image .*set crop_px to 192"):
        require_crop_fits(201, SIZES)
