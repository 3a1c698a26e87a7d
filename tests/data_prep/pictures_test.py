"""Pictures of data: masks over images, the choice of images, marks and bars."""

import numpy as np
from PIL import Image

from csst_jax.data.store import DataSet
from csst_jax.data.stored import centroid_index
from csst_jax.data.stored.encoded import encode_label
from csst_jax.types import DatasetDescription
from data_prep import builder, pictures
from data_prep.raw import RawExample
from tests.data_prep.breaking import file, photo


def test_overlay_keeps_the_image_and_darkens_void():
    image = np.full((1, 3, 3), 100, np.uint8)
    mixed = pictures.overlay(image, np.array([[0, 1, 255]], np.uint8), ((200, 0, 0), (0, 200, 0)))
    assert mixed.tolist() == [[[160, 40, 40], [40, 160, 40], [40, 40, 40]]]


def index_of(labels, num_classes):
    builder = centroid_index.IndexBuilder(num_classes)
    for record, label in enumerate(labels):
        builder.add(record, str(record), np.array([label], np.uint8), b"")
    return builder.finish()


def test_chosen_images_show_every_class():
    labels = [[0, 0, 0]] * 20
    labels[7], labels[9], labels[13] = [0, 1, 1], [0, 0, 1], [2, 0, 0]
    index = index_of(labels, 4)
    assert pictures.choose(index, range(20), 2) == [7, 13]
    assert pictures.choose(index, range(20), 1) == [7, 13], "more where it takes more"
    assert pictures.choose(index, [9, 13, 15], 1) == [9, 13], "the others do not count"
    chosen = pictures.choose(index, range(20), 6)
    assert {7, 13} < set(chosen) and len(chosen) == 6 and chosen[0] == 0 and chosen[-1] == 19
    assert pictures.choose(index, range(20), 100) == list(range(20))


def test_an_object_of_a_few_pixels_in_a_large_image_leaves_a_trace_on_the_sheet():
    label = np.zeros((1600, 1600), np.uint8)
    label[801:804, 801:804] = 1
    image, mask = pictures._small(
        file(np.full((1600, 1600, 3), 90, np.uint8)), encode_label(label), ((0, 0, 0), (255, 255, 255))
    )
    assert image.shape == mask.shape == (320, 320, 3)
    assert mask[160, 160, 0] > mask[0, 0, 0] + 30


def test_mark_rings_the_point_and_leaves_its_middle():
    image = np.full((80, 80, 3), 100, np.uint8)
    marked = pictures.mark(image, 20, 60)
    assert (image == 100).all(), "the image itself was drawn on"
    assert (marked[20, 60] == 100).all() and (marked[20, 67:50:-1] == 255).all(-1).any()
    far = np.add.outer((np.arange(80) - 20) ** 2, (np.arange(80) - 60) ** 2) > 144
    assert (marked[far] == 100).all()


def test_bars_are_as_long_as_their_values():
    chart = pictures.bars("title", ["a", "b"], {"one": np.array([1, 0.5]), "two": np.array([0, 0.25])}, width_px=600)
    assert chart.dtype == np.uint8 and chart.shape[1:] == (600, 3)
    blue, orange = ((chart == ink).all(-1)[70:].sum(1).max() for ink in ((0, 114, 178), (230, 159, 0)))
    rows = np.unique((chart[70:] == (0, 114, 178)).all(-1).sum(1))
    assert rows[-1] == blue and abs(rows[-2] * 2 - blue) <= 2 and abs(orange * 4 - blue) <= 4
    assert pictures.bars("nothing", ["a"], {"one": np.zeros(1)}).shape[2] == 3


def test_sheet_of_many_classes_and_tall_images_stays_small(tmp_path):
    """100 classes of which no image shows more than one, in strips of 16 x 2048 pixels."""
    size, classes = (2048, 16), 100
    description = DatasetDescription("strips", tuple(f"c{i}" for i in range(classes)), ((1, 2, 3),) * classes)
    examples = []
    for i in range(classes):
        label = np.full(size, i, np.uint8)
        examples.append(RawExample(f"{i:03d}", file(photo(i, size)), label, True))
    directory = builder.prepare(
        description, {"train": examples, "val": examples[:1]}, tmp_path, source_sha256="x", num_workers=1
    )
    data_set = DataSet.open(directory)
    pictures.draw_sheet(tmp_path / "sheet.png", data_set, {"train": range(classes), "val": [0]})
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 4 * 328 + 8 and sheet.height < 13 * (480 + 30) + 400
