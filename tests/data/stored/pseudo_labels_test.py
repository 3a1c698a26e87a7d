"""Pseudo labels on disk."""

import os

import pytest

from csst_jax.data.stored import pseudo_labels, retried
from csst_jax.data.stored.pseudo_labels import PseudoLabelled, shard_path, write_shard
from csst_jax.types import CsstError


class Images:
    def __len__(self):
        return 10

    def image_bytes(self, record):
        return b"image %d" % record

    def describe(self, record):
        return f"image {record}"


RECORDS = (1, 4, 5, 7, 9)


@pytest.fixture
def directory(tmp_path):
    for shard, labels in enumerate(([b"a", b"b"], [b"c", b"d"], [b"e"])):
        write_shard(shard_path(tmp_path, shard, 3), labels)
    return tmp_path


def test_labels_go_with_the_unlabelled_images_in_order(directory):
    labelled = PseudoLabelled(directory, Images(), RECORDS, shard_size=2)
    assert len(labelled) == 5
    assert [labelled.label_bytes(i) for i in range(5)] == [b"a", b"b", b"c", b"d", b"e"]
    assert [labelled.image_bytes(i) for i in (0, 4)] == [b"image 1", b"image 9"]
    assert not list(directory.glob("*.tmp"))


def test_missing_or_short_shard_is_named(directory):
    write_shard(shard_path(directory, 2, 3), [b"e", b"f"])
    with pytest.raises(
        CsstError, match=r"labels-00002-of-00003.array_record holds 2 label maps, not 1; delete .* again"
    ):
        PseudoLabelled(directory, Images(), RECORDS, shard_size=2)
    os.remove(shard_path(directory, 1, 3))
    with pytest.raises(CsstError, match=r"labels-00001-of-00003.array_record is missing; delete .* label stage again"):
        PseudoLabelled(directory, Images(), RECORDS, shard_size=2)


def test_a_shard_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = shard_path(tmp_path, 0, 1)

    def refuse(*_):
        raise OSError("killed here")

    monkeypatch.setattr(pseudo_labels.os, "replace", refuse)
    with pytest.raises(OSError, match="killed here"):
        write_shard(path, [b"a"])
    assert not path.exists()
    monkeypatch.undo()
    write_shard(path, [b"b"])
    assert PseudoLabelled(tmp_path, Images(), (0,), shard_size=4).label_bytes(0) == b"b"


@pytest.mark.parametrize("soft", [False, True])
def test_a_damaged_record_is_named(tmp_path, monkeypatch, soft):
    monkeypatch.setattr(retried, "_PAUSES_S", (0.0,))
    for kind in {False, soft}:
        write_shard(shard_path(tmp_path, 0, 1, kind), [bytes(range(250)), b"b"])
    path = shard_path(tmp_path, 0, 1, soft)
    data = path.read_bytes()
    at = data.index(bytes(range(200, 240)))
    path.write_bytes(data[:at] + b"x" + data[at + 1 :])
    labelled = PseudoLabelled(tmp_path, Images(), (1, 4), shard_size=2, soft=soft)
    with pytest.raises(CsstError) as error:
        labelled.pair_bytes(0)
    text = str(error.value)
    assert text.startswith(f"{path}, record 0: pseudo label 0 in {tmp_path} of image 1 cannot be read, tried 2 times")
    assert text.endswith(f"If the disk is in order, delete {tmp_path} and run the label stage again.")
    assert labelled.pair_bytes(1) == (b"image 4", b"b")


def test_a_shard_that_cannot_be_opened_is_named(directory, monkeypatch):
    def refuse(*_):
        raise RuntimeError("invalid footer")

    monkeypatch.setattr(pseudo_labels.array_record_module, "ArrayRecordReader", refuse)
    with pytest.raises(CsstError, match=r"00000-of-00003.array_record cannot be read \(invalid footer\); delete"):
        PseudoLabelled(directory, Images(), RECORDS, shard_size=2)
