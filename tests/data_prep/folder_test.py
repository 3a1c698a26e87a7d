"""A user's own images: pairing, splitting, class lists, and what is said about mistakes."""

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.descriptions import distinct_palette
from csst_jax.data.store import DataSet
from csst_jax.data.stored import encoded
from csst_jax.types import CsstError
from data_prep import classes, folder, held_out
from tests.data_prep import replicas


@pytest.fixture
def own(tmp_path):
    replicas.folder(tmp_path)
    return tmp_path


def run(own, *more, names="ground,thing,sky"):
    directories = [f"--images={own / 'images'}", f"--masks={own / 'masks'}", f"--data_dir={own / 'data'}"]
    folder.main([*directories, f"--classes={names}", "--name=mine", "--num_workers=1", *more])
    return DataSet.open(own / "data" / "mine")


def test_images_without_masks_are_the_unlabelled_pool(own):
    data_set = run(own, "--val_fraction=0.4")
    labelled = {"photo 0", "b/photo 1", "photo 2", "b/photo 3", "photo 4"}
    assert set(data_set.labelled_ids("train")) | set(data_set.labelled_ids("val")) == labelled
    assert set(data_set.ids("train")) - set(data_set.labelled_ids("train")) == {"b/photo 5", "photo 6", "b/photo 7"}
    assert len(data_set.ids("val")) == 2 and data_set.ids("val") == data_set.labelled_ids("val")
    assert not set(data_set.ids("val")) & set(data_set.ids("train"))
    record = data_set.ids("train").index("b/photo 7")
    assert data_set.reader("train").image_bytes(record) == (own / "images" / "b" / "photo 7.png").read_bytes()
    assert len(data_set.centroids("val")) > 0


def test_val_list_and_void(own):
    assert run(own, f"--val_list={own / 'val.txt'}").ids("val") == ("b/photo 3", "photo 2")
    with pytest.raises(CsstError, match=r"label value 2 \(\d+ pixels\) stands for none of the 2 classes"):
        run(own, "--overwrite", names="a,b")
    index = run(own, "--overwrite", "--void=2,7", names="a,b").centroids("train")
    assert set(index.klass.tolist()) == {0, 1}
    (own / "val.txt").write_text("photo 6\n")
    with pytest.raises(CsstError, match="'photo 6' has no mask; a validation image needs one"):
        run(own, f"--val_list={own / 'val.txt'}")


def test_val_is_drawn_by_seed_and_leaves_something_to_train_on():
    ids = [f"{i:02d}" for i in range(20)]
    assert held_out.draw_val(ids, 0.25, 1) == held_out.draw_val(ids[::-1][::-1], 0.25, 1)
    assert len(held_out.draw_val(ids, 0.25, 1)) == 5
    assert held_out.draw_val(ids, 0.25, 1) != held_out.draw_val(ids, 0.25, 2)
    assert len(held_out.draw_val(ids, 0.01, 0)) == 1
    assert len(held_out.draw_val(ids, 0.99, 0)) == 19
    with pytest.raises(CsstError, match="1 labelled images; at least 2"):
        held_out.draw_val(["a"], 0.5, 0)
    with pytest.raises(CsstError, match="--val_fraction=1.5"):
        held_out.draw_val(ids, 1.5, 0)


def test_a_group_stays_in_one_split_also_when_it_grows(own, capsys):
    """Frames of one scene look alike: a score on one says little if its neighbour was trained on."""
    frames = [f"scene{scene}_{frame}" for scene in range(6) for frame in range(4)]
    groups = held_out.groups_of(frames, r"^(scene\d+)_")
    assert groups["scene3_2"] == "scene3" and held_out.groups_of(frames, "")["scene3_2"] == "scene3_2"
    chosen = held_out.draw_val(frames, 0.3, 0, None, groups)
    scenes = {groups[i] for i in chosen}
    assert len(scenes) == 2 and chosen == {i for i in frames if groups[i] in scenes}
    first = [i for i in frames if not i.endswith("_3")]
    earlier = {i: "val" if groups[i] in scenes else "train" for i in first}
    assert held_out.draw_val(frames, 0.3, 1, earlier, groups) == chosen, "another seed would draw other scenes"
    mixed = {"scene0_0": "val", "scene0_1": "train", "scene1_0": "train"}
    assert held_out.draw_val([*mixed, "scene0_2"], 0.3, 0, mixed, groups) == {"scene0_0", "scene0_2"}

    with pytest.raises(CsstError, match=r"--group_by=\^\(b/\) is not found in 4 of 8 ids: .*photo 0"):
        run(own, "--group_by=^(b/)")
    with pytest.raises(CsstError, match="--group_by=.: .*give a regular expression"):
        held_out.groups_of(frames, "(")
    with pytest.raises(CsstError, match="give one of the two"):
        run(own, "--group_by=photo", f"--val_list={own / 'val.txt'}")
    with pytest.raises(CsstError, match="all labelled images are of the group 'photo'"):
        run(own, "--group_by=photo")
    data_set = run(own, "--group_by=^(.*)photo", "--val_fraction=0.2")
    in_b = [i.startswith("b/") for i in data_set.ids("val")]
    assert len(set(in_b)) == 1 and not any(i.startswith("b/") == in_b[0] for i in data_set.ids("train"))
    assert "without a mask are left out, as their scenes validate" in capsys.readouterr().out


def test_directories_that_have_the_names_of_splits_are_told(own, capsys):
    for kind in ("images", "masks"):
        (own / kind / "b").rename(own / kind / "Valid")
    run(own)
    assert "directories called" not in capsys.readouterr().err
    for kind in ("images", "masks"):
        (own / kind / "train").mkdir()
        for path in (own / kind).glob("photo*"):
            path.rename(own / kind / "train" / path.name)
    run(own, "--name=other")
    said = capsys.readouterr().err
    assert "directories called valid and train, but validation images are drawn from all" in said
    assert "--val_list=FILE), such as Valid/" in said
    run(own, "--name=other")
    assert "directories called" not in capsys.readouterr().err, "the split is what it is"


def test_the_draw_takes_a_few_looks_at_each_mask():
    """It compared each mask with each group: a minute of silence for 20,000 masks."""

    class Counting(dict):
        looks = 0

        def __getitem__(self, key):
            self.looks += 1
            return super().__getitem__(key)

    groups = Counting({f"{i}": f"{i}" for i in range(100)})
    assert len(held_out.draw_val([*groups], 0.2, 0, None, groups)) == 20
    assert groups.looks <= 300


def test_a_group_that_takes_most_masks_for_validation_is_told(capsys):
    frames = [f"{site}/{frame}" for site, count in (("a", 16), ("b", 4)) for frame in range(count)]
    groups = held_out.groups_of(frames, "^(.)/")
    chosen = [held_out.draw_val(frames, 0.2, seed, None, groups) for seed in range(8)]
    assert {len(one) for one in chosen} == {4, 16}
    said = capsys.readouterr().err
    assert said.count("warning: 16 of 20 masks validate, where --val_fraction asks for 4: --group_by") == sum(
        len(one) == 16 for one in chosen
    )
    assert "4 of 20 masks validate" not in said


def test_more_images_without_masks(own):
    (own / "more" / "b").mkdir(parents=True)
    for name in ("photo 0.jpg", "b/new.png"):  # the first is another image of the same name
        Image.new("RGB", (30, 20)).save(own / "more" / name)
    data_set = run(own, f"--unlabelled={own / 'more'}")
    added = {"unlabelled/photo 0", "unlabelled/b/new"}
    assert added < set(data_set.ids("train")) and not added & set(data_set.labelled_ids("train"))
    assert len(data_set.ids("train")) + len(data_set.ids("val")) == 8 + 2


def test_more_images_of_a_validation_scene_are_left_out_too(own, capsys):
    (own / "more" / "b").mkdir(parents=True)
    for name in ("top.png", "b/new.png"):
        Image.new("RGB", (30, 20)).save(own / "more" / name)
    words = ("--group_by=^(b/)?", "--val_fraction=0.2", f"--unlabelled={own / 'more'}")
    data_set = run(own, *words)
    in_b = data_set.ids("val")[0].startswith("b/")
    there, left_out = ("top", "b/new") if in_b else ("b/new", "top")
    assert f"unlabelled/{there}" in data_set.ids("train") and f"unlabelled/{left_out}" not in data_set.ids("train")
    assert f"left out, as their scenes validate (--group_by): {left_out}" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_masks_in_colours(own, kind):
    colours = np.array([(1, 2, 3), (200, 0, 0), (0, 0, 200), (0, 0, 0)], np.uint8)
    before = {path: np.asarray(Image.open(path)) for path in (own / "masks").rglob("*.png")}
    for path, mask in before.items():
        Image.fromarray(colours[np.where(mask == 2, 3, mask)]).save(path)
    path = own / f"classes.{kind}"
    path.write_text(
        """
classes:
  - {name: ground, color: [1, 2, 3]}
  - {name: thing, color: [200, 0, 0]}
  - {name: sky, color: [0, 0, 200]}
void: {colors: [[0, 0, 0]]}
"""
        if kind == "yaml"
        else """{"classes": [{"name": "ground", "color": [1, 2, 3]}, {"name": "thing", "color": [200, 0, 0]},
          {"name": "sky", "color": [0, 0, 200]}], "void": {"colors": [[0, 0, 0]]}}"""
    )
    data_set = run(own, names=str(path))
    assert data_set.description.palette == ((1, 2, 3), (200, 0, 0), (0, 0, 200))
    for split in data_set.splits:
        for record, image_id in enumerate(data_set.ids(split)):
            if image_id in data_set.labelled_ids(split):
                mask = before[own / "masks" / f"{image_id}.png"]
                stored = encoded.decode_label(data_set.reader(split).label_bytes(record))
                np.testing.assert_array_equal(stored, np.where(mask == 2, 255, mask))


def test_class_files(tmp_path):
    path = tmp_path / "classes.yaml"

    def read(text, void=()):
        path.write_text(text)
        return classes.read(str(path), "mine", void)

    description, labels = read("[road, traffic light]", void=(7, 255))
    assert (description.name, description.classes) == ("mine", ("road", "traffic light"))
    assert len(set(description.palette)) == 2 and not labels.colours
    assert dict(labels.values) == {0: 0, 1: 1, 7: 255, 255: 255}
    description, labels = read("classes: [{name: a, values: [24, 25]}, {name: b, values: [255]}]\nvoid: {values: [0]}")
    assert dict(labels.values) == {24: 0, 25: 0, 255: 1, 0: 255}
    np.testing.assert_array_equal(labels.of_values(np.array([[25, 255, 0]]))[0], [[0, 1, 255]])
    description, labels = read("classes: [{name: a, color: [1, 2, 3]}, {name: b, color: [4, 5, 6]}]")
    assert description.palette == ((1, 2, 3), (4, 5, 6)) and dict(labels.colours) == {(1, 2, 3): 0, (4, 5, 6): 1}
    for text, complaint in (
        ("[{name: road, color: [1, 2, 3]}, car]", "class 'car' has no color while others have"),
        ("[{name: road, color: [1, 2, 300]}, {name: car, color: [1, 2, 3]}]", r"colour \[1, 2, 300\] must be"),
        ("[{name: road, color: [1, 2, 3]}, {name: car, color: [1, 2, 3]}]", r"colour must be given once.*\(1, 2, 3\)"),
        ("[road, road]", "class name must be given once.*'road'"),
        ("[{name: a, values: [1]}, {name: b, values: [1]}]", "mask value must be given once.*1"),
        ("[{name: a, values: [x]}, {name: b, values: [1]}]", "mask value 'x' is not a whole number"),
        ("[{name: a, values: 1}, {name: b, values: [1]}]", "values: 1 must be a list"),
        ("[{name: a, colour: [1, 2, 3]}, b]", "class 'b' has no color while others have"),
        ("[{name: a, farbe: [1, 2, 3]}, b]", "class 'a': there is no key 'farbe'. Give {name: …, color:"),
        ("[{name: a, colour: [1, 2, 3], color: [1, 2, 3]}]", "class 'a' has `colour` and `color`; give one"),
        ("[{name: a, color: '#80408'}, b]", "colour '#80408' must be three numbers.* or '#804080' in quotes"),
        ("classes:\n- {name: b, color: [1, 2, 3]}\n- name: a\n  color: #804080", "YAML takes # for a comment"),
        ("{classes: [a, b], ignore: [255]}", "beside `classes:` there is `void:`"),
        ("{names: [a, b]}", "expected a list of classes, such as"),
        ("road\ncar\nperson", "or a line like `- road` for each"),
        ("[a, b", "unreadable file of classes"),
        ("[2020-13-45, b]", "unreadable file of classes"),
        ("[2020-12-24, b]", "class datetime.date"),
        ("[yes, no]", "class True: give a name"),
        ("[" * 3000, "unreadable file of classes"),
        ("{classes: [a, b], void: {values: [[7]]}}", r"mask value \[7\] is not a whole number"),
        (
            "[{name: a, values: [99999999999999999999]}, {name: b, values: [1]}]",
            "is not a whole number from 0 to 2147483647",
        ),
        ("[{name: a, values: [-1]}, {name: b, values: [1]}]", "mask value -1 is not a whole number"),
        ("[{name: a, values: [true]}, {name: b, values: [2]}]", "mask value True is not a whole number"),
        ("!!python/object:os.system [a]", "unreadable file of classes"),
        ("classes: [&a [*a], b]", "class "),
        ("caf\u00e9: 1", "expected a list of classes"),
    ):
        with pytest.raises(CsstError, match=complaint):
            read(text)
    path.write_bytes("[stra\u00dfe, b]".encode("latin-1"))
    with pytest.raises(CsstError, match=r"classes.yaml: unreadable text: byte 0xdf in line 1 is not UTF-8"):
        classes.read(str(path), "mine")
    path.write_bytes("[stra\u00dfe, b]".encode("utf-16"))
    assert classes.read(str(path), "mine")[0].classes == ("stra\u00dfe", "b")
    with pytest.raises(CsstError, match="--classes=nowhere.yaml: there is no such file. Give a file, or a list"):
        classes.read("nowhere.yaml", "mine")
    with pytest.raises(CsstError, match="one class alone cannot be told apart.*like `background,crack`, or a file"):
        classes.read("crack", "mine")
    with pytest.raises(CsstError, match="class name must be given once, and not be empty: ''"):
        classes.read("a,,b", "mine")


@pytest.mark.parametrize(
    "text",
    [
        "{classes: [{name: a, colour: [128, 64, 128]}, {name: b, colours: [[4, 5, 6]]}], void: {colours: [[0, 0, 0]]}}",
        "{classes: [{name: a, color: '#804080'}, {name: b, colors: ['#040506']}], void: {colors: ['#000000']}}",
    ],
)
def test_colours_in_other_spellings_are_the_same(tmp_path, text):
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    description, labels = classes.read(str(path), "mine")
    assert description.palette == ((128, 64, 128), (4, 5, 6))
    assert dict(labels.colours) == {(128, 64, 128): 0, (4, 5, 6): 1, (0, 0, 0): 255}


def test_generated_colours_are_far_apart():
    for count in (2, 19, 40):
        colours = np.array(distinct_palette(count))
        assert colours.shape == (count, 3) and colours.min() >= 0 and colours.max() <= 255
        distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + 1e3 * np.eye(count)
        assert distances.min() > 15, count


def test_background_is_grey_and_every_other_class_has_a_hue():
    background, *others = classes.read("Background,crack,dent", "mine")[0].palette
    assert len(set(background)) == 1 and all(len(set(colour)) == 3 for colour in others)
    assert classes.read("road,crack", "mine")[0].palette == distinct_palette(2)


def test_mistakes_in_the_directories(own):
    (own / "masks" / "stray.png").write_bytes((own / "masks" / "photo 0.png").read_bytes())
    (own / "images" / "photo 0.png").write_bytes(b"")
    with pytest.raises(CsstError) as error:
        run(own)
    assert "stray.png: mask without an image" in str(error.value)
    assert "duplicate id 'photo 0'" in str(error.value)
    with pytest.raises(CsstError, match="--name=My-Set must be lower-case"):
        run(own, "--name=My-Set")
    with pytest.raises(CsstError, match="--masks=.*nowhere does not exist"):
        run(own, f"--masks={own / 'nowhere'}")
    (own / "empty").mkdir()
    with pytest.raises(CsstError, match="--masks=.*empty holds no .*.png file"):
        run(own, f"--masks={own / 'empty'}")
