"""Forms of storage: what is kept, what is lost, and that the number of processes changes nothing."""

import io

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.stored import encoded, store, tiles
from csst_jax.data.stored.store import DataSet
from csst_jax.types import DatasetDescription
from data_prep import builder, reindex
from data_prep.raw import RawExample

DESCRIPTION = DatasetDescription("tiny", ("ground", "thing", "rare"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))
SIZE = (150, 200)


def saved(image, kind, **settings):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **settings)
    return stream.getvalue()


def picture(number, size=SIZE):
    y, x = np.mgrid[: size[0], : size[1]]
    smooth = np.stack([100 + 50 * np.sin(y / 17 + number + k) + 40 * np.cos(x / 23) for k in range(3)], -1)
    noise = np.random.default_rng(number).normal(0, 3, (*size, 3))
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def examples(count=4, kind="PNG", size=SIZE):
    for number in range(count):
        label = np.random.default_rng(number).integers(0, 3, size).astype(np.uint8)
        label[:9] = 255
        yield RawExample(f"{number:02d}", saved(picture(number, size), kind), label, labelled=True)


def prepare(directory, images=None, **settings):
    return builder.prepare(DESCRIPTION, {"train": images or examples()}, directory, source_sha256="s", **settings)


def test_tiles_are_the_default_and_lose_nothing(tmp_path):
    source = DataSet.open(prepare(tmp_path)).reader("train")
    for record, example in enumerate(examples()):
        image, label = source.pair_bytes(record)
        assert image[:4] == label[:4] == tiles.MAGIC
        np.testing.assert_array_equal(encoded.decode_rgb(image), picture(record))
        np.testing.assert_array_equal(encoded.decode_label(label), example.label)


def test_originals_are_kept_byte_by_byte_on_demand(tmp_path):
    source = DataSet.open(prepare(tmp_path, storage="original")).reader("train")
    assert [source.image_bytes(record) for record in range(4)] == [example.image_bytes for example in examples()]


def test_jpeg95_is_near_and_smaller_and_its_labels_are_exact(tmp_path):
    lossless = DataSet.open(prepare(tmp_path / "tiles")).reader("train")
    source = DataSet.open(prepare(tmp_path / "jpeg95", storage="jpeg95")).reader("train")
    for record, example in enumerate(examples()):
        image, label = source.pair_bytes(record)
        error = np.abs(encoded.decode_rgb(image).astype(int) - picture(record))
        assert 0 < error.mean() < 3 and len(image) < 0.8 * len(lossless.image_bytes(record))
        np.testing.assert_array_equal(encoded.decode_label(label), example.label)


@pytest.mark.parametrize("kind,size", [("JPEG", SIZE), ("PNG", (100, 128))])
def test_jpegs_and_small_images_stay_as_they_are(tmp_path, kind, size):
    for storage in ("tiles", "jpeg95"):
        directory = prepare(tmp_path / storage, examples(kind=kind, size=size), storage=storage)
        source = DataSet.open(directory).reader("train")
        for record, example in enumerate(examples(kind=kind, size=size)):
            assert source.image_bytes(record) == example.image_bytes


def test_any_number_of_processes_stores_and_indexes_the_same(tmp_path):
    directories = [prepare(tmp_path / str(number), num_workers=number) for number in (1, 2)]
    index = [store.index_path(directory, "train") for directory in directories]
    sources = [DataSet.open(directory).reader("train") for directory in directories]
    assert index[0].read_bytes() == index[1].read_bytes()
    assert [sources[0].pair_bytes(i) for i in range(4)] == [sources[1].pair_bytes(i) for i in range(4)]
    made = index[0].read_bytes()
    for num_workers in (1, 2):
        index[0].unlink()
        reindex.main([f"--data_dir={directories[0]}", f"--num_workers={num_workers}"])
        assert index[0].read_bytes() == made


def test_a_record_is_named_by_file_number_and_id(tmp_path):
    directory = prepare(tmp_path)
    (file,) = directory.glob("*train.array_record*")
    assert DataSet.open(directory).reader("train").describe(2) == f"{file}, record 2 (02)"
