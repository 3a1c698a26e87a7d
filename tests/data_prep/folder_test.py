"""A user's own images: pairing, splitting, class lists, and what is said about mistakes."""

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.store import DataSet
from csst_jax.types import CsstError
from data_prep import folder


@pytest.fixture
def own(tmp_path):
    """Eight images of several sizes and kinds, five of them with masks."""
    rng = np.random.default_rng(0)
    (tmp_path / "images" / "b").mkdir(parents=True)
    (tmp_path / "masks" / "b").mkdir(parents=True)
    for i in range(8):
        name, suffix = f"{'b/' if i % 2 else ''}photo {i}", ".jpg" if i < 4 else ".png"
        size = (20 + i, 30)
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / "images" / (name + suffix))
        if i < 5:
            Image.fromarray(rng.integers(0, 3, size).astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


def run(own, *more, classes="ground,thing,sky"):
    directories = [f"--images_dir={own / 'images'}", f"--masks_dir={own / 'masks'}", f"--data_dir={own / 'data'}"]
    folder.main([*directories, f"--classes={classes}", "--name=mine", "--num_workers=1", *more])
    return DataSet.open(own / "data" / "mine")


def test_images_without_masks_are_the_unlabelled_pool(own):
    data_set = run(own, "--val_fraction=0.4")
    labelled = {"photo 0", "b/photo 1", "photo 2", "b/photo 3", "photo 4"}
    assert set(data_set.labelled_ids("train")) | set(data_set.labelled_ids("val")) == labelled
    assert set(data_set.ids("train")) - set(data_set.labelled_ids("train")) == {"b/photo 5", "photo 6", "b/photo 7"}
    assert len(data_set.ids("val")) == 2 and data_set.ids("val") == data_set.labelled_ids("val")
    assert not set(data_set.ids("val")) & set(data_set.ids("train"))
    record = data_set.ids("train").index("b/photo 7")
    assert data_set.source("train").image_bytes(record) == (own / "images" / "b" / "photo 7.png").read_bytes()
    assert len(data_set.centroids("val")) > 0


def test_val_list_and_void(own):
    (own / "val.txt").write_text("photo 2.jpg\nb/photo 3\n")
    assert run(own, f"--val_list={own / 'val.txt'}").ids("val") == ("b/photo 3", "photo 2")
    with pytest.raises(CsstError, match=r"label value 2 \(\d+ pixels\) outside the 2 classes"):
        run(own, "--overwrite", classes="a,b")
    index = run(own, "--overwrite", "--void", "2", "7", classes="a,b").centroids("train")
    assert set(index.klass.tolist()) == {0, 1}
    (own / "val.txt").write_text("photo 6\n")
    with pytest.raises(CsstError, match="'photo 6' has no mask"):
        run(own, f"--val_list={own / 'val.txt'}")


def test_val_is_drawn_by_seed_and_leaves_something_to_train_on():
    ids = [f"{i:02d}" for i in range(20)]
    assert folder.draw_val(ids, 0.25, 1) == folder.draw_val(ids[::-1][::-1], 0.25, 1)
    assert len(folder.draw_val(ids, 0.25, 1)) == 5
    assert folder.draw_val(ids, 0.25, 1) != folder.draw_val(ids, 0.25, 2)
    assert len(folder.draw_val(ids, 0.01, 0)) == 1
    assert len(folder.draw_val(ids, 0.99, 0)) == 19
    with pytest.raises(CsstError, match="1 labelled images; at least 2"):
        folder.draw_val(["a"], 0.5, 0)
    with pytest.raises(CsstError, match="--val_fraction=1.5"):
        folder.draw_val(ids, 1.5, 0)


def test_class_files(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("# name r g b\nroad 128 64 128\ntraffic light 1 2 3\n")
    assert folder.read_classes(str(path)) == (("road", "traffic light"), ((128, 64, 128), (1, 2, 3)))
    path.write_text("road\ntraffic light\n")
    names, palette = folder.read_classes(str(path))
    assert names == ("road", "traffic light") and len(set(palette)) == 2
    for text, complaint in (
        ("road 1 2 3\ncar\n", "line 'car' has no colour"),
        ("road 1 2 300\ncar 1 2 3\n", r"colour \(1, 2, 300\) of class 'road' is outside"),
        ("road\nroad\n", "must be unique.*'road'"),
    ):
        path.write_text(text)
        with pytest.raises(CsstError, match=complaint):
            folder.read_classes(str(path))
    with pytest.raises(CsstError, match="neither a file nor a list"):
        folder.read_classes("nowhere.txt")


def test_generated_colours_are_far_apart():
    for count in (2, 19, 40):
        colours = np.array(folder.distinct_palette(count))
        assert colours.shape == (count, 3) and colours.min() >= 0 and colours.max() <= 255
        distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + 1e3 * np.eye(count)
        assert distances.min() > 15, count


def test_mistakes_in_the_directories(own):
    (own / "masks" / "stray.png").write_bytes((own / "masks" / "photo 0.png").read_bytes())
    (own / "images" / "photo 0.png").write_bytes(b"")
    with pytest.raises(CsstError) as error:
        run(own)
    assert "stray.png: mask without an image" in str(error.value)
    assert "duplicate id 'photo 0'" in str(error.value)
    with pytest.raises(CsstError, match="--name=My-Set must be lower-case"):
        run(own, "--name=My-Set")
    with pytest.raises(CsstError, match="--masks_dir=.*nowhere is not a directory"):
        run(own, f"--masks_dir={own / 'nowhere'}")
    (own / "empty").mkdir()
    with pytest.raises(CsstError, match="--masks_dir=.*empty holds no .png file"):
        run(own, f"--masks_dir={own / 'empty'}")
