"""Pseudo labels on disk."""

import os

import pytest

from csst_jax.data.stored import pseudo_labels
from csst_jax.data.stored.pseudo_labels import PseudoLabelled, shard_path, write_shard
from csst_jax.types import CsstError


class Images:
    def __len__(self):
        return 10

    def image_bytes(self, record):
        return b"image %d" % record


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
