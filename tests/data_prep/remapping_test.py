"""Several values or colours of masks that are one class, by the file of `--classes`."""

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.store import DataSet
from csst_jax.data.stored.encoded import decode_label
from csst_jax.types import CsstError
from data_prep import classes, folder

COLOURS = np.array([(128, 64, 128), (107, 142, 35), (152, 251, 152), (0, 0, 0)], np.uint8)
BY_COLOUR = """
classes:
  - {name: road, color: [128, 64, 128]}
  - {name: plant, colors: [[107, 142, 35], [152, 251, 152]]}
void: {colors: [[0, 0, 0]]}
"""
BY_VALUE = """
classes: [{name: road, values: [7]}, {name: plant, values: [21, 22]}]
void: {values: [0]}
"""


@pytest.mark.parametrize("text", [BY_COLOUR, BY_VALUE], ids=["colours", "values"])
def test_merged_classes_are_stored(tmp_path, text):
    kinds = np.random.default_rng(0).integers(0, 4, (3, 20, 30))
    for i, kind in enumerate(kinds):
        mask = COLOURS[kind] if text == BY_COLOUR else np.array([7, 21, 22, 0], np.uint8)[kind]
        for directory, pixels in (("images", np.full((20, 30, 3), 9 * i, np.uint8)), ("masks", mask)):
            (tmp_path / directory).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / directory / f"{i}.png")
    (tmp_path / "classes.yaml").write_text(text)
    flags = [f"--{name}={tmp_path / name}" for name in ("images", "masks")]
    folder.main(
        [*flags, f"--classes={tmp_path / 'classes.yaml'}", f"--data_dir={tmp_path}", "--name=mine", "--num_workers=1"]
    )
    data_set = DataSet.open(tmp_path / "mine")
    assert data_set.description.classes == ("road", "plant")
    if text == BY_COLOUR:
        assert data_set.description.palette == ((128, 64, 128), (107, 142, 35)), "pictures show the first colour"
    for split in data_set.splits:
        for record, image_id in enumerate(data_set.ids(split)):
            stored = decode_label(data_set.reader(split).label_bytes(record))
            np.testing.assert_array_equal(stored, np.array([0, 1, 1, 255])[kinds[int(image_id)]])


@pytest.mark.parametrize(
    "text,complaint",
    [
        ("[{name: a, color: [1, 2, 3], colors: [[4, 5, 6]]}, b]", "class 'a' has `color` and `colors`"),
        ("[{name: a, colors: []}, {name: b, color: [1, 2, 3]}]", "class 'a': colors is empty"),
        ("[{name: a, colors: [1, 2, 3]}, {name: b, color: [1, 2, 3]}]", "colour 1 must be three numbers"),
        ("[{name: a, colors: [[1, 2, 3], [4, 5, 6]]}, {name: b, color: [4, 5, 6]}]", r"given once.*\(4, 5, 6\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, complaint):
    (tmp_path / "classes.yaml").write_text(text)
    with pytest.raises(CsstError, match=complaint):
        classes.read(str(tmp_path / "classes.yaml"), "mine")
