"""Prepared data sets: what is read back, from many threads, and what a user is told when something is wrong."""

import concurrent.futures
import io
import json
import os
import re
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

from csst_jax import __main__ as csst
from csst_jax.data import store
from csst_jax.data.store import DataSet
from csst_jax.data.stored import centroid_index, retried
from csst_jax.types import CsstError, DatasetDescription
from data_prep import builder, folder
from data_prep.raw import RawExample

DESCRIPTION = DatasetDescription("tiny", ("ground", "thing"), ((0, 0, 0), (255, 0, 0)))


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format="PNG")
    return stream.getvalue()


def examples(count, seed=0):
    rng = np.random.default_rng(seed)
    for i in range(count):
        height, width = 20 + i, 30
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        labelled = i % 3 != 2
        label = (
            rng.integers(0, 2, (height, width)).astype(np.uint8) if labelled else np.full((height, width), 255, "u1")
        )
        yield RawExample(f"id{i:03d}", png(image), label, labelled)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A data set of 12 and 3 records; treat as read-only."""
    return builder.prepare(
        DESCRIPTION,
        {"train": examples(12), "val": examples(3, seed=1)},
        tmp_path_factory.mktemp("data"),
        source_sha256="source",
    )


@pytest.fixture
def copy(prepared, tmp_path):
    """A copy that a test may spoil."""
    target = tmp_path / "tiny" / "1.0.0"
    target.mkdir(parents=True)
    for file in prepared.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_reads_back_what_was_stored_undecoded(prepared):
    data = DataSet.open(prepared)
    assert data.description == DESCRIPTION
    assert data.splits == ("train", "val")
    expected = list(examples(12))
    assert data.ids("train") == tuple(example.id for example in expected)
    assert data.labelled_ids("train") == tuple(example.id for example in expected if example.labelled)
    source = data.reader("train")
    assert len(source) == 12
    for record in (11, 0, 5):
        assert source.image_bytes(record) == expected[record].image_bytes
        label = np.asarray(Image.open(io.BytesIO(source.label_bytes(record))))
        np.testing.assert_array_equal(label, expected[record].label)
        assert source.pair_bytes(record) == (source.image_bytes(record), source.label_bytes(record))


def test_many_threads_read_the_right_records(prepared):
    source = DataSet.open(prepared).reader("train")
    alone = [source.pair_bytes(record) for record in range(len(source))]
    fresh = DataSet.open(prepared).reader("train")  # readers are opened by the threads
    order = np.random.default_rng(0).integers(0, len(source), 2000).tolist()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for record, pair in zip(order, pool.map(fresh.pair_bytes, order), strict=True):
            assert pair == alone[record]


def test_index_covers_all_images_and_labelled_ones_alone_have_components(prepared):
    data = DataSet.open(prepared)
    index = data.centroids("train")
    assert index.ids == data.ids("train")
    labelled = {data.ids("train").index(image_id) for image_id in data.labelled_ids("train")}
    assert set(index.record.tolist()) == labelled
    first = np.asarray(Image.open(io.BytesIO(data.reader("train").label_bytes(0))))
    _klass, y, _x, area = centroid_index.components(first, 2)
    np.testing.assert_array_equal(index.area[index.record == 0], area)
    np.testing.assert_array_equal(index.y[index.record == 0], y)


def test_open_finds_the_only_data_set_below(copy):
    root = copy.parent.parent
    for directory in (copy, copy.parent, root):
        assert DataSet.open(directory).directory == copy
    half_done = copy.parent / ".unfinished-1.0.0" / "tiny"
    half_done.mkdir(parents=True)
    (half_done / store.METADATA_FILE).write_text("{}")
    assert DataSet.open(copy.parent).directory == copy
    other = root / "other" / "1.0.0"
    other.mkdir(parents=True)
    (other / store.METADATA_FILE).write_text("{}")
    with pytest.raises(CsstError, match=r"holds 2 prepared data sets; name one of them: .*other.*tiny"):
        DataSet.open(root)


def test_unprepared_directory_names_the_commands(tmp_path):
    with pytest.raises(CsstError, match=r"nowhere does not exist.*csst_jax prepare "):
        DataSet.open(tmp_path / "nowhere")
    (tmp_path / "photo.jpg").touch()
    for raw, reason in ((tmp_path, "holds no prepared data set"), (tmp_path / "photo.jpg", "is a file, no directory")):
        with pytest.raises(CsstError, match=rf"{reason}\. Name what a command of data_prep wrote.*docs/datasets\.md"):
            DataSet.open(raw)


def test_the_commands_for_an_unprepared_directory_lack_no_flag(tmp_path, monkeypatch):
    """It is the images that are not there."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CsstError) as refused:
        DataSet.open(tmp_path / "nowhere")
    _, own = re.findall(r"`python -m csst_jax (prepare [^`]*)`", str(refused.value))
    name, flags = csst.split(shlex.split(own.replace("--classes=…", "--classes=a,b")))
    assert csst.COMMANDS[name] == "data_prep.folder"
    with pytest.raises(CsstError, match="--images=… does not exist"):
        folder.main(flags)


def test_nobody_is_told_to_delete_raw_files(tmp_path):
    """Other people's data sets have a dataset.json, too: nnU-Net's, for example."""
    (tmp_path / store.METADATA_FILE).write_text('{"channel_names": {"0": "T2"}, "labels": {"background": 0}}')
    with pytest.raises(CsstError, match=r"or not written by data_prep\. If data_prep wrote .*, delete it"):
        DataSet.open(tmp_path)


def test_unknown_split_lists_the_known(prepared):
    with pytest.raises(CsstError, match="no split 'test'; there are: train, val"):
        DataSet.open(prepared).reader("test")


def test_index_made_from_other_labels_is_refused(copy):
    data = DataSet.open(copy)
    actual = data.labels_sha256("train")
    assert actual == json.loads((copy / store.METADATA_FILE).read_text())["splits"]["train"]["labels_sha256"]
    other = DataSet.open(copy).labels_sha256("val")
    os.replace(store.index_path(copy, "val"), store.index_path(copy, "train"))
    with pytest.raises(centroid_index.StaleIndexError) as stale:
        data.centroids("train")
    for part in (actual, other, "csst_jax reindex", str(copy)):
        assert part in str(stale.value)
    with pytest.raises(centroid_index.StaleIndexError, match="no centroid index"):
        data.centroids("val")


def test_labels_that_changed_in_this_process_are_noticed(copy, tmp_path):
    data = DataSet.open(copy)
    data.centroids("train")
    again = builder.prepare(DESCRIPTION, {"train": examples(12, seed=5)}, tmp_path / "new", source_sha256="other")
    for file in again.glob("*array_record*"):
        os.replace(file, copy / file.name)
    with pytest.raises(centroid_index.StaleIndexError, match="is stale"):
        DataSet.open(copy).centroids("train")


def test_damaged_directories_say_what_to_do(copy):
    metadata = json.loads((copy / store.METADATA_FILE).read_text())
    metadata["splits"]["train"]["ids"].pop()
    (copy / store.METADATA_FILE).write_text(json.dumps(metadata))
    with pytest.raises(CsstError, match=r"'train' stores 12 records, but dataset.json lists 11 ids.*prepare"):
        DataSet.open(copy).reader("train")
    (record_file,) = copy.glob("*-val.array_record*")
    record_file.write_bytes(record_file.read_bytes()[:100])
    with pytest.raises(CsstError, match=r"cannot read split 'val'.*prepare"):
        DataSet.open(copy).reader("val")
    (copy / store.METADATA_FILE).write_text('{"name": ')
    with pytest.raises(CsstError, match=r"dataset.json: damaged.*prepare"):
        DataSet.open(copy)


@pytest.mark.parametrize("image_id", ["../../.ssh/authorized_keys", "/etc/passwd", "a/../../b", "..\\\\b"])
def test_ids_that_lead_out_of_a_directory_are_refused(copy, image_id):
    metadata = json.loads((copy / store.METADATA_FILE).read_text())
    metadata["splits"]["val"]["ids"][1] = image_id
    (copy / store.METADATA_FILE).write_text(json.dumps(metadata))
    with pytest.raises(CsstError, match="leads out of the directory of its predictions"):
        DataSet.open(copy)


class Flaky:
    """Records of which some reads fail."""

    def __init__(self, failures):
        self.failures, self.reads = failures, 0

    def __len__(self):
        return 5

    def __getitem__(self, record):
        self.reads += 1
        if self.reads <= self.failures:
            raise RuntimeError("Input/output error")
        return {"image": b"image%d" % record, "label": b"label%d" % record}


def test_a_read_that_fails_now_and_then_is_tried_again(monkeypatch, caplog):
    monkeypatch.setattr(retried, "_PAUSES_S", (0.0, 0.01, 0.0))
    source = store.Reader(Flaky(3), [("a/x-00000", 2), ("a/x-00001", 3)], ["u", "v", "w", "x", "y"])
    assert source.pair_bytes(3) == (b"image3", b"label3")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3 and said[1].startswith("a/x-00001, record 3 (x): Input/output error; trying again in 0.01 s")
    source = store.Reader(Flaky(4), [("a/x-00000", 2), ("a/x-00001", 3)], ["u", "v", "w", "x", "y"])
    with pytest.raises(CsstError, match=r"a/x-00000, record 1 \(v\) cannot be read, tried 4 times"):
        source.label_bytes(1)


def test_a_flipped_bit_in_a_record_file_is_noticed_and_named(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(retried, "_PAUSES_S", (0.0,))
    shutil.copytree(tiny_data, tmp_path / "copy")
    (file,) = (tmp_path / "copy").rglob("*train.array_record*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 8
    file.write_bytes(content)
    with pytest.raises(CsstError, match=rf"{re.escape(str(file))}, record \d \(.*hash mismatch"):
        store.DataSet.open(tmp_path / "copy").labels_sha256("train")
