"""Which images are labelled, and which form the pool."""

import pytest

from csst_jax.data.selection import select
from csst_jax.data.store import DataSet
from csst_jax.types import CsstError


@pytest.fixture(scope="module")
def data(tiny_data):
    return DataSet.open(tiny_data)


def test_without_a_list_masks_decide(data):
    selection = select(data, "train", "")
    assert (selection.labelled, selection.unlabelled) == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert selection.ids(selection.unlabelled) == ("image04", "image05", "image06", "image07")


def test_a_list_chooses_among_the_masks_and_the_rest_is_the_pool(data, tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_text("# drawn by hand\nimage03\n\nimage01\n")
    selection = select(data, "train", str(ids))
    assert (selection.labelled, selection.unlabelled) == ((1, 3), (0, 2, 4, 5, 6, 7))


def test_published_lists_of_paths(data, tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_text("JPEGImages/image03.jpg SegmentationClass/image03.png\nx/image01_leftImg8bit.png y/image01.png\n")
    assert select(data, "train", str(ids)).labelled == (1, 3)


def test_bad_lists_say_what_is_wrong(data, tmp_path):
    ids = tmp_path / "ids.txt"
    with pytest.raises(CsstError, match=r"ids.txt: cannot be read \(No such file.*data.labelled_ids"):
        select(data, "train", str(ids))
    ids.write_text("# nothing\n\n")
    with pytest.raises(CsstError, match=r"ids.txt holds no id; write one id per line"):
        select(data, "train", str(ids))
    ids.write_text("image00\nimage05\nimage06\n")  # without masks
    with pytest.raises(
        CsstError, match=r"ids.txt: 2 ids are not labelled images of split 'train' in .*image05, image06\."
    ):
        select(data, "train", str(ids))
    ids.write_text("image00\nimage99\nanother\n")
    with pytest.raises(CsstError, match=r"ids.txt: 2 lines mean no image of the data set.*: image99, another\."):
        select(data, "train", str(ids))
    ids.write_text("image00\nval07\n")
    only_val = DataSet(data.directory, data.description, {
        "train": {"ids": ("image00", "im07"), "labelled_ids": ("image00", "im07")},
        "val": {"ids": ("val07", "site/im07"), "labelled_ids": ("val07", "site/im07")},
    })  # fmt: skip
    with pytest.raises(CsstError, match=r"1 ids are not labelled .*: val07 \(some are in split 'val'\)\. Correct"):
        select(only_val, "train", str(ids))
    ids.write_text("site/im07.png\n")  # a namesake in another split is not meant
    with pytest.raises(CsstError, match=r": site/im07 \(some are in split 'val'\)"):
        select(only_val, "train", str(ids))


def test_lists_of_other_systems(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "ids.txt").write_bytes("image03\r\nimage01.png\r\n".encode(encoding))
        assert select(data, "train", "~/ids.txt").labelled == (1, 3)
    (tmp_path / "ids.txt").write_bytes(b"image03\ncaf\xe9\n")
    with pytest.raises(CsstError, match=r"byte 0xe9 in line 2 is not UTF-8. Save the file as UTF-8"):
        select(data, "train", "~/ids.txt")
