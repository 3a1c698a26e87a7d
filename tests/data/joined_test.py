"""Joined data sets: whose images and labels are where, what is refused, and that a run trains on them."""

import dataclasses

import numpy as np
import pytest

from csst_jax.data import readiness
from csst_jax.data.joined import join
from csst_jax.data.selection import select
from csst_jax.data.store import DataSet
from csst_jax.data.stored import encoded
from csst_jax.settings import resolve
from csst_jax.types import CsstError, DatasetDescription
from data_prep import builder
from tests.conftest import TINY_CLASSES, tiny_examples

COLOURS = ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3))


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """A data set of the same classes (3 images, 2 labelled) and one of others (2 labelled images)."""
    directory = tmp_path_factory.mktemp("others")
    builder.prepare(
        DatasetDescription("same", TINY_CLASSES, COLOURS),
        {"train": tiny_examples(50, 3, labelled=2)},
        directory,
        source_sha256="joined_test",
    )
    builder.prepare(
        DatasetDescription("foreign", ("a", "b", "c", "d"), COLOURS),
        {"pool": tiny_examples(70, 2, labelled=2)},
        directory,
        source_sha256="joined_test",
    )
    return directory


@pytest.fixture
def selection(tiny_data, tiny_config, others):
    def select(**keys):
        config = tiny_config(tiny_data)
        config.data.update(keys)
        return resolve.data(config).training(resolve.data(config).open())

    return select


def test_images_and_labels_of_all_parts(selection, others, tiny_data, tmp_path):
    (tmp_path / "ids.txt").write_text("image02\n")
    joined = selection(
        labelled_ids=str(tmp_path / "ids.txt"),
        more_labelled=f"{others / 'same'}:train",
        more_unlabelled=f"{others / 'foreign'}:pool",
    )
    assert joined.ids(joined.labelled) == ("image02", "same/train/image00", "same/train/image01")
    own = ("image00", "image01", *(f"image{i:02d}" for i in range(3, 8)))
    assert joined.ids(joined.unlabelled) == (*own, "same/train/image02", "foreign/pool/image00", "foreign/pool/image01")
    assert len(joined.reader) == len(joined.dataset.ids("train")) == 8 + 3 + 2
    assert joined.dataset.description.name == "tiny"
    seeds = [*range(8), 50, 51, 52, 70, 71]
    for record, seed in enumerate(seeds):
        (example,) = tiny_examples(seed, 1, labelled=1)
        image, label = joined.reader.pair_bytes(record)
        assert image == joined.reader.image_bytes(record) == example.image_bytes, record
        assert label == joined.reader.label_bytes(record)
        if record in joined.labelled:
            np.testing.assert_array_equal(encoded.decode_label(label), example.label)
    assert joined.reader.describe(9).startswith(
        f"{others / 'same'}"
    ) and "record 1 (image01)" in joined.reader.describe(9)
    with pytest.raises(IndexError):
        joined.reader.image_bytes(13)


def test_centroids_are_those_of_the_labelled_parts(selection, others):
    joined = selection(more_labelled=f"{others / 'same'}:train", more_unlabelled=f"{others / 'foreign'}:pool")
    index = joined.dataset.centroids("train")
    own, same = selection().dataset.centroids("train"), DataSet.open(others / "same").centroids("train")
    assert index.ids == joined.dataset.ids("train")
    np.testing.assert_array_equal(index.record, np.concatenate([own.record, 8 + same.record]))
    np.testing.assert_array_equal(index.area, np.concatenate([own.area, same.area]))
    # The hash tells which labels there are, and not which images joined without.
    assert index.labels_sha256 != selection(more_labelled=f"{others / 'same'}:train").dataset.centroids("train")
    assert index.labels_sha256 != own.labels_sha256


def test_other_splits_are_the_first_data_sets(selection, others, tiny_data):
    joined, alone = selection(more_unlabelled=f"{others / 'foreign'}:pool").dataset, DataSet.open(tiny_data)
    assert joined.ids("val") == alone.ids("val") and joined.splits == alone.splits
    assert joined.reader("val").pair_bytes(1) == alone.reader("val").pair_bytes(1)
    assert joined.centroids("val").labels_sha256 == alone.centroids("val").labels_sha256


def test_another_split_of_the_same_data_set_can_join(selection, tiny_data):
    joined = selection(more_labelled=f"{tiny_data}:val")
    assert joined.ids(joined.labelled)[4:] == ("tiny/val/image00", "tiny/val/image01", "tiny/val/image02")


def test_validation_images_among_the_joined_ones_are_found(selection, tiny_data):
    judged = select(DataSet.open(tiny_data), "val", "")
    assert not readiness.findings(selection(), judged).errors
    (error,) = readiness.findings(selection(more_unlabelled=f"{tiny_data}:val"), judged).errors
    assert "3 images of split 'val' are in split 'train', too: image00" in error


def test_a_part_of_a_split_joins_the_pool(selection, others):
    joined = selection(more_unlabelled=f"{others / 'same'}:train:2,{others / 'foreign'}:pool")
    assert joined.ids(joined.unlabelled)[-4:] == (
        *("same/train/image00", "same/train/image01"),
        *("foreign/pool/image00", "foreign/pool/image01"),
    )
    assert len(joined.unlabelled) == len(selection().unlabelled) + 4
    with pytest.raises(CsstError, match="train:4' asks for 4 images, and there are 3. Give at most 3"):
        selection(more_unlabelled=f"{others / 'same'}:train:4")
    with pytest.raises(CsstError, match="train:2' is not DIR:SPLIT, like"):
        selection(more_labelled=f"{others / 'same'}:train:2")


def test_what_cannot_join(selection, others, tiny_data):
    foreign, same = f"{others / 'foreign'}:pool", f"{others / 'same'}:train"
    with pytest.raises(CsstError, match="foreign.* has other classes than .*more_unlabelled"):
        selection(more_labelled=foreign)
    for twice in ({"more_unlabelled": f"{same},{same}"}, {"more_labelled": same, "more_unlabelled": same}):
        with pytest.raises(CsstError, match="split 'train' is joined twice"):
            selection(**twice)
    with pytest.raises(CsstError, match="split 'train' is joined twice"):
        selection(more_labelled=f"{tiny_data}:train")
    with pytest.raises(CsstError, match="data.more_unlabelled=data/x: 'data/x' is not DIR:SPLIT"):
        selection(more_unlabelled="data/x")
    with pytest.raises(CsstError, match="no split 'test'"):
        selection(more_unlabelled=f"{others / 'same'}:test")


def test_data_sets_of_one_name_have_ids_of_their_own(selection, others, tmp_path):
    builder.prepare(
        DatasetDescription("same", TINY_CLASSES, COLOURS),
        {"train": tiny_examples(90, 2, labelled=1)},
        tmp_path,
        source_sha256="joined_test",
    )
    joined = selection(more_unlabelled=f"{others / 'same'}:train,{tmp_path / 'same'}:train")
    ids = joined.dataset.ids("train")
    assert ids[-3:] == ("same/train/image02", "same-2/train/image00", "same-2/train/image01")
    assert len(set(ids)) == len(ids) == len(joined.dataset.centroids("train").ids)


def test_an_id_that_two_images_would_get_is_refused(others, tmp_path):
    (example,) = tiny_examples(0, 1, labelled=1)
    builder.prepare(
        DatasetDescription("own", TINY_CLASSES, COLOURS),
        {"train": [dataclasses.replace(example, id="same/train/image00")]},
        tmp_path,
        source_sha256="joined_test",
    )
    parts = [select(DataSet.open(where), "train", "") for where in (tmp_path / "own", others / "same")]
    with pytest.raises(CsstError, match="have the id 'same/train/image00' in common. Prepare one of"):
        join(parts)
