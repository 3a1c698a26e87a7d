"""The centroid index against a brute-force reference, its file, and its errors."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from benchmarks.centroid_index import load
from csst_jax.data.stored import centroid_index, index_records
from csst_jax.types import CsstError


def reference(label, num_classes):
    """Sorted (class, y, x, area), by a loop over classes and components."""
    rows = []
    for klass in range(num_classes):
        component, count = scipy.ndimage.label(label == klass, structure=np.ones((3, 3)))
        for k in range(1, count + 1):
            y, x = np.nonzero(component == k)
            rows.append((klass, y.mean(), x.mean(), len(y)))
    return sorted(rows)


def blobs(seed, height, width, num_classes):
    """A random map with large and small components of every class and some void."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, num_classes + 1, size=(height // 4 + 1, width // 4 + 1))
    label = np.kron(coarse, np.ones((4, 4), int))[:height, :width]
    noise = rng.random((height, width)) < 0.1
    label[noise] = rng.integers(0, num_classes + 1, size=noise.sum())
    return np.where(label == num_classes, 255, label).astype(np.uint8)


def build(labels, num_classes):
    builder = centroid_index.IndexBuilder(num_classes)
    for record, label in enumerate(labels):
        builder.add(record, f"image{record}", label, label.tobytes())
    return builder.finish()


@pytest.mark.parametrize(
    "seed,height,width,num_classes", [(0, 37, 53, 5), (1, 64, 48, 19), (2, 1, 30, 3), (3, 30, 1, 2), (4, 40, 40, 254)]
)
def test_components_agree_with_brute_force(seed, height, width, num_classes):
    label = blobs(seed, height, width, num_classes)
    klass, y, x, area = centroid_index.components(label, num_classes)
    assert [array.dtype for array in (klass, y, x, area)] == [np.int32, np.float32, np.float32, np.int32]
    found = sorted(zip(klass.tolist(), y.tolist(), x.tolist(), area.tolist(), strict=True))
    expected = reference(label, num_classes)
    assert len(found) == len(expected)
    np.testing.assert_allclose(np.array(found), np.array(expected), rtol=1e-6, atol=1e-6)
    assert area.sum() == (label != 255).sum()


def test_diagonal_neighbours_are_one_component_and_void_is_none():
    label = np.array([[1, 255, 0], [255, 1, 0], [255, 255, 1]], np.uint8)
    klass, y, x, area = centroid_index.components(label, 2)
    assert sorted(zip(klass, area, y, x, strict=True)) == [(0, 2, 0.5, 2.0), (1, 3, 1.0, 1.0)]
    assert [len(column) for column in centroid_index.components(np.full((4, 4), 255, np.uint8), 2)] == [0] * 4


def test_value_outside_the_classes_is_named_with_its_count():
    label = np.zeros((4, 5), np.uint8)
    label[0, :3] = 7
    builder = centroid_index.IndexBuilder(3)
    with pytest.raises(CsstError, match=r"frame_9: label value 7 \(3 pixels\) is outside the 3 classes 0\.\.2"):
        builder.add(0, "frame_9", label, b"")


def test_round_trip_keeps_images_without_components(tmp_path):
    labels = [blobs(seed, 30, 40, 4) for seed in range(3)]
    labels.insert(1, np.full((5, 5), 255, np.uint8))
    index = build([*labels, np.full((2, 2), 255, np.uint8)], 4)
    path = tmp_path / "centroids-train.tfrecord"
    centroid_index.write(path, index)
    again = centroid_index.read(path, expected_sha256=index.labels_sha256)
    assert again.ids == index.ids == tuple(f"image{i}" for i in range(5))
    assert (again.num_classes, again.labels_sha256) == (4, index.labels_sha256)
    for name in ("record", "klass", "y", "x", "area"):
        assert getattr(again, name).dtype == getattr(index, name).dtype
        np.testing.assert_array_equal(getattr(again, name), getattr(index, name))
    assert set(index.record.tolist()) == {0, 2, 3}
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "an unfinished file was left"


def test_hash_depends_on_ids_bytes_and_order_and_matches_the_builder():
    pairs = [("image0", b"ab"), ("image1", b"c")]
    digest = centroid_index.labels_sha256(pairs)
    assert digest != centroid_index.labels_sha256([("image0", b"a"), ("image1", b"bc")])
    assert digest != centroid_index.labels_sha256(pairs[::-1])
    assert digest != centroid_index.labels_sha256([("image0a", b"b"), ("image1", b"c")])
    label = np.zeros((3, 3), np.uint8)
    assert build([label], 2).labels_sha256 == centroid_index.labels_sha256([("image0", label.tobytes())])


def test_stale_missing_and_damaged_files_say_how_to_rebuild(tmp_path):
    index = build([blobs(0, 30, 40, 4)], 4)
    path = tmp_path / "centroids-train.tfrecord"
    with pytest.raises(centroid_index.StaleIndexError, match="no centroid index for the labels with hash abc"):
        centroid_index.read(path, expected_sha256="abc")
    centroid_index.write(path, index)
    with pytest.raises(centroid_index.StaleIndexError) as stale:
        centroid_index.read(path, expected_sha256="abc")
    for part in (str(path), index.labels_sha256, "hash abc", f"python -m csst_jax reindex --data_dir={tmp_path}"):
        assert part in str(stale.value)
    with pytest.raises(centroid_index.StaleIndexError, match="delete /runs/x"):
        centroid_index.read(path, expected_sha256="abc", rebuild_command="delete /runs/x")
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(CsstError, match="damaged.*reindex"):
        centroid_index.read(path)
    path.write_bytes(b"")
    with pytest.raises(CsstError, match=r"damaged \(it is empty\).*reindex"):
        centroid_index.read(path)


def test_a_failed_write_keeps_the_old_index(tmp_path, monkeypatch):
    path = tmp_path / "centroids-train.tfrecord"
    centroid_index.write(path, build([blobs(0, 30, 40, 4)], 4))
    before = path.read_bytes()

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr(centroid_index.os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        centroid_index.write(path, build([blobs(1, 30, 40, 4)], 4))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_any_changed_byte_of_the_columns_is_noticed(tmp_path):
    index = build([blobs(seed, 30, 40, 4) for seed in range(3)], 4)
    path = tmp_path / "centroids-train.tfrecord"
    centroid_index.write(path, index)
    whole = path.read_bytes()
    for position in np.random.default_rng(0).integers(len(whole) // 2, len(whole) - 4, 30).tolist():
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :])
        with pytest.raises(CsstError, match="damaged.*reindex"):
            centroid_index.read(path)


def test_it_is_a_tfrecord_file_of_examples_with_right_checksums(tmp_path):
    index = build([blobs(seed, 30, 40, 4) for seed in range(3)], 4)
    path = tmp_path / "centroids-train.tfrecord"
    centroid_index.write(path, index)
    header, *records = (tf.train.Example.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path)))
    assert header.features.feature["num_components"].int64_list.value[0] == len(index)
    columns = [np.frombuffer(r.features.feature["area"].bytes_list.value[0], "<i4") for r in records]
    np.testing.assert_array_equal(np.concatenate(columns), index.area)


def test_older_format_says_how_to_rebuild(tmp_path):
    path = tmp_path / "centroids-train.tfrecord"
    old = tf.train.Example()
    old.features.feature["format_version"].int64_list.value.append(1)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(old.SerializeToString())
    with pytest.raises(CsstError, match=r"centroid index of format \[1\], expected \[3\]. Rebuild it: python -m"):
        centroid_index.read(path)


def test_many_images_span_records(tmp_path):
    count = 2500
    columns = {name: np.arange(2 * count).astype(kind) for name, kind in index_records.COLUMNS.items()}
    ids, record = tuple(map(str, range(count))), np.repeat(np.arange(count, dtype=np.int32), 2)
    index = centroid_index.CentroidIndex(ids, 3, "hash", record, **columns)
    path = tmp_path / "centroids-train.tfrecord"
    centroid_index.write(path, index)
    again = centroid_index.read(path)
    assert again.ids == ids
    for name in ("record", *columns):
        np.testing.assert_array_equal(getattr(again, name), getattr(index, name))


@pytest.mark.slow
def test_index_of_43000_images_loads_in_5_s_and_200_mb():
    found = load(43_000)
    assert found["index_load_s"] < 5 and found["index_load_mib"] < 200 / 1.048576
