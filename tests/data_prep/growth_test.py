"""A folder that is prepared again with more images and masks: nothing moves or is lost, and what is new is told."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.store import DataSet
from csst_jax.types import CsstError
from data_prep import folder, growth, held_out
from tests.data_prep import replicas


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with five masks for eight images, prepared once; read-only."""
    own = tmp_path_factory.mktemp("own")
    replicas.folder(own)
    prepare(own)
    return own


@pytest.fixture
def own(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "own")


def prepare(own, *more, name="mine"):
    flags = [f"--images={own / 'images'}", f"--masks={own / 'masks'}", f"--data_dir={own / 'data'}"]
    folder.main([*flags, "--classes=ground,thing,sky", "--name=mine", "--num_workers=1", "--val_fraction=0.4", *more])
    return splits_of(own, name)


def splits_of(own, name="mine"):
    data_set = DataSet.open(own / "data" / name)
    return {image_id: split for split in data_set.splits for image_id in data_set.ids(split)}


def draw_mask(own, name, size, seed=0):
    mask = np.random.default_rng(seed).integers(0, 3, size).astype(np.uint8)
    Image.fromarray(mask).save(own / "masks" / f"{name}.png")


def test_more_masks_and_images_move_nothing_and_are_told(own, capsys):
    before = splits_of(own)
    draw_mask(own, "b/photo 5", (25, 30))  # of the pool
    draw_mask(own, "photo 0", (20, 30), seed=9)  # corrected
    for i in range(6):
        Image.fromarray(np.full((20, 20, 3), i, np.uint8)).save(own / "images" / f"new {i}.png")
        draw_mask(own, f"new {i}", (20, 20), seed=i)
    after = prepare(own)
    assert {image_id: after[image_id] for image_id in before} == before
    assert after["b/photo 5"] == "train"
    validate = {image_id for image_id in after if image_id.startswith("new") and after[image_id] == "val"}
    assert validate == {f"new {i}" for i in range(6) if held_out.place(f"new {i}", 0) < 0.4}
    assert 0 < len(validate) < 6, "the test is blind: all new images go one way"
    said = capsys.readouterr().out
    assert "every image of the existing data set keeps its split" in said
    assert (
        f"new: 7 masks ({7 - len(validate)} to train, {len(validate)} to validate), 6 images; removed: 0 masks, "
        "0 images; changed: 1 mask (photo 0), 0 images" in said
    )
    assert prepare(own) == after
    said = capsys.readouterr().out
    assert "nothing to do" in said and "since the last preparation" not in said


def test_a_data_set_that_an_earlier_version_divided_keeps_its_split(own):
    """By drawing: any division is kept, whatever the hashes say."""
    (own / "val.txt").write_text("photo 0\nb/photo 1\n")
    before = prepare(own, f"--val_list={own / 'val.txt'}")
    assert {i for i in before if before[i] == "val"} == {"photo 0", "b/photo 1"}
    draw_mask(own, "photo 6", (26, 30))
    after = prepare(own, "--seed=7")
    assert after == before


def test_a_list_that_moves_images_is_told(own, capsys):
    before = splits_of(own)
    train = sorted(i for i in ("photo 0", "b/photo 1", "photo 2") if before[i] == "train")[0]
    (own / "val.txt").write_text(f"{train}\n")
    prepare(own, f"--val_list={own / 'val.txt'}")
    said = capsys.readouterr().out
    assert "images change their split, so scores cannot be compared: 2 images are now in train" in said
    assert f"1 image is now in val: {train}" in said


def test_nothing_is_taken_away_without_overwrite(own, capsys):
    before = splits_of(own)
    (own / "masks" / "photo 0.png").unlink()
    (own / "images" / "photo 6.png").unlink()
    with pytest.raises(CsstError, match=r"1 image is gone: photo 6; 1 mask is gone: photo 0.*--overwrite"):
        prepare(own)
    assert splits_of(own) == before
    with pytest.raises(CsstError, match="its classes are ground, thing, sky, and now a, b, c"):
        prepare(own, "--classes=a,b,c")
    capsys.readouterr()
    prepare(own, "--overwrite")
    assert "removed: 1 mask, 1 image" in capsys.readouterr().out


def test_other_images_under_the_name_of_a_data_set_are_told_as_such(own, tmp_path):
    before = splits_of(own)
    other = tmp_path / "other"
    for directory in ("images", "masks"):
        (other / directory).mkdir(parents=True)
    for i, name in enumerate(("photo 0", "another")):
        Image.new("RGB", (20, 20), (i, 0, 0)).save(other / "images" / f"{name}.png")
        draw_mask(other, name, (20, 20), seed=i)
    given = [f"--images={other / 'images'}", f"--masks={other / 'masks'}"]
    with pytest.raises(
        CsstError, match=r"mine/1.0.0 holds 8 images, and 7 of them are neither in --images nor"
    ) as told:
        prepare(own, *given)
    assert "If you give other images, give them another --name" in str(told.value) and splits_of(own) == before
    assert set(prepare(own, *given, "--name=other", name="other")) == {"photo 0", "another"}
    assert set(prepare(own, *given, "--overwrite")) == {"photo 0", "another"}


def test_an_image_that_moves_out_of_the_pools_folder_is_the_same_image(own, capsys):
    (own / "more").mkdir()
    Image.new("RGB", (30, 20)).save(own / "more" / "extra.png")
    more = f"--unlabelled={own / 'more'}"
    assert prepare(own, more)["unlabelled/extra"] == "train"
    shutil.move(own / "more" / "extra.png", own / "images" / "extra.png")
    Image.new("RGB", (31, 20)).save(own / "more" / "other.png")
    draw_mask(own, "extra", (20, 30))
    assert prepare(own, more)["extra"] == "train"
    assert "new: 1 mask (1 to train, 0 to validate), 1 image; removed: 0 masks, 0 images" in capsys.readouterr().out


def test_another_name_can_keep_the_split(own):
    (own / "val.txt").write_text("photo 0\nb/photo 1\n")
    before = prepare(own, f"--val_list={own / 'val.txt'}")
    after = prepare(own, "--name=other", f"--split_of={own / 'data' / 'mine'}", name="other")
    assert after == before != prepare(own, "--name=third", name="third")


def test_test_images_of_another_name_are_neither_trained_on_nor_validate(own, capsys):
    metadata = DataSet.open(own / "data" / "mine").directory / "dataset.json"
    content = json.loads(metadata.read_text())
    before = splits_of(own)
    test, _ = content["splits"]["val"]["ids"]
    content["splits"]["test"] = {"ids": [test], "labelled_ids": [test]}
    content["splits"]["val"]["ids"].remove(test)
    metadata.write_text(json.dumps(content))
    after = prepare(own, "--name=other", f"--split_of={own / 'data' / 'mine'}", name="other")
    assert after == {image_id: split for image_id, split in before.items() if image_id != test}
    said = capsys.readouterr().out
    assert f"1 image is left out, as it is of the test split of --split_of: {test}" in said
    assert prepare(own, "--name=other", f"--split_of={own / 'data' / 'mine'}", name="other") == after


def test_new_images_of_test_scenes_are_left_out_too(capsys):
    groups = {"a1": "a", "a2": "a", "a3": "a", "b1": "b"}
    assert growth.of_test_scenes(groups, {"a1": "test", "a2": "train", "b1": "val"}) == {"a1", "a3"}
    assert growth.of_test_scenes(groups, {"a1": "train"}) == set()


def test_a_damaged_data_set_is_replaced_on_request_alone(own, capsys):
    directory = DataSet.open(own / "data" / "mine").directory
    before = splits_of(own)
    for damaged in (directory / "dataset.json", next(directory.glob("mine-train.*"))):
        damaged.write_bytes(b"{")
        with pytest.raises(CsstError, match="To make it again, give --overwrite"):
            prepare(own)
        assert prepare(own, "--overwrite") == before, "the hash divides as it did"
        assert "the split of the existing data set is lost" in capsys.readouterr().err


def test_one_split_cannot_be_prepared_alone(own):
    with pytest.raises(SystemExit):
        prepare(own, "--splits=train")
    assert set(splits_of(own).values()) == {"train", "val"}


def test_buckets_are_refused(own, capsys):
    with pytest.raises(SystemExit):
        prepare(own, "--data_dir=gs://bucket/data")
    assert "--data_dir: gs://bucket/data: give a path on this machine" in capsys.readouterr().err


def test_without_any_validation_image_left_a_list_is_asked_for():
    with pytest.raises(
        CsstError, match="--val_list=FILE. If these are the images of another data set, give it another"
    ):
        held_out.draw_val(["a", "b"], 0.5, 0, {"a": "train", "b": "train", "c": "val"})
    assert held_out.draw_val(["a", "b", "c"], 1e-9, 0, {"a": "train", "b": "train"}) == {"c"}


def test_hashes_are_spread_evenly():
    places = [held_out.place(f"photo {i}", 0) for i in range(2000)]
    np.testing.assert_allclose(np.histogram(places, 4, (0, 1))[0], 500, atol=80)


def test_what_is_there_is_read_whole(prepared):
    found = growth.read(DataSet.open(prepared / "data" / "mine").directory)
    assert set(found.labels) == {"photo 0", "b/photo 1", "photo 2", "b/photo 3", "photo 4"}
    assert len(set(found.labels.values())) == 5 and len(found.splits) == 8
    assert found.source == json.loads((found.directory / "dataset.json").read_text())["source_sha256"]


def test_a_data_set_whose_replacement_was_killed_keeps_its_split(own):
    before = splits_of(own)
    unfinished = own / "data" / "mine" / ".unfinished-1.0.0"
    unfinished.mkdir(exist_ok=True)
    DataSet.open(own / "data" / "mine").directory.rename(unfinished / "replaced")
    assert prepare(own, "--seed=7") == before
