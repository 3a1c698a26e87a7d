"""Which images are labelled, and which form the pool."""

import pytest

from csst_jax.data.selection import select
from csst_jax.data.stored.store import DataSet
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
    with pytest.raises(CsstError, match=r"data.labelled_ids=.*ids.txt: cannot be read \(No such file"):
        select(data, "train", str(ids))
    ids.write_text("# nothing\n\n")
    with pytest.raises(CsstError, match=r"ids.txt holds no id; write one id a line"):
        select(data, "train", str(ids))
    ids.write_text("image00\nimage05\nimage99\n")  # 05 has no mask, 99 is no image
    with pytest.raises(
        CsstError, match=r"ids.txt: 2 ids are no labelled images of split 'train' in .*image05, image99\."
    ):
        select(data, "train", str(ids))
