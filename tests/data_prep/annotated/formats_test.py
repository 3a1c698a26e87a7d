"""Each tool's export becomes the same masks: those that the shapes are."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from data_prep import annotations
from tests.data_prep.annotated import exports as e

ON = {"smaller": 1, "later": 2}  # the square is larger than the triangle's rest, and comes first


@pytest.fixture
def photos(tmp_path):
    return e.images(tmp_path / "photos")


def masks_of(tmp_path, given, *more, images=None):
    arguments = [f"--annotations={given}", f"--images={images or tmp_path / 'photos'}", f"--masks={tmp_path / 'masks'}"]
    annotations.main([*arguments, *more])
    found = {str(p.relative_to(tmp_path / "masks").with_suffix("")): p for p in (tmp_path / "masks").rglob("*.png")}
    classes = yaml.safe_load((tmp_path / "masks" / "classes.yaml").read_text())["classes"]
    return {name: np.asarray(Image.open(path)) for name, path in found.items()}, classes


def require_the_two(masks, classes, extra=()):
    """a has the triangle under or over the square, b the square alone."""
    assert classes == ["background", "square", "triangle", *extra]
    assert set(masks) == {"a", "b"}
    assert np.array_equal(masks["b"] == 1, e.square()) and set(np.unique(masks["b"])) == {0, 1}
    assert masks["a"][6, 12] == 1 and masks["a"][12, 44] == 2 and masks["a"][0, 0] == masks["a"][39, 59] == 0
    assert abs((masks["a"] > 0).sum() - (400 + 375 - 150)) <= 15  # the triangle is cut by whole pixels


def test_classes_without_an_order_are_in_the_alphabets_whatever_file_shows_them(photos, tmp_path):
    (tmp_path / "labelme").mkdir()
    for name, label in (("a", "tree"), ("b", "car")):
        (tmp_path / "labelme" / f"{name}.json").write_text(e.labelme(name, [e.labelme_shape(label, e.SQUARE)]))
    masks, classes = masks_of(tmp_path, tmp_path / "labelme")
    assert classes == ["background", "car", "tree"] and masks["a"].max() == 2 and masks["b"].max() == 1


def test_blanks_around_labels_do_not_count(photos, tmp_path, capsys):
    (tmp_path / "labelme").mkdir()
    for name, label in (("a", "tree "), ("b", "\ttree")):
        shapes = [e.labelme_shape(label, e.SQUARE), e.labelme_shape(" __ignore__", [(50, 30), (58, 30), (58, 38)])]
        (tmp_path / "labelme" / f"{name}.json").write_text(e.labelme(name, shapes))
    masks, classes = masks_of(tmp_path, tmp_path / "labelme")
    assert classes == ["background", "tree"] and masks["a"].max() == masks["b"].max() == 255
    assert masks["a"][10, 12] == masks["b"][10, 12] == 1 and "warning" not in capsys.readouterr().err
    points = e.percent(e.SQUARE)
    for given in (
        e.coco(categories=[{"id": 1, "name": " square"}, {"id": 7, "name": "triangle "}]),
        e.cvat(e.cvat_image("a", e.cvat_polygon(" square", e.SQUARE), e.cvat_polygon("triangle ", e.TRIANGLE))),
        e.label_studio(
            e.task("a", *({**e.result(label, {"points": points}), "id": label} for label in ("square ", " triangle")))
        ),
    ):
        path = tmp_path / ("x.xml" if given.startswith("<") else "x.json")
        path.write_text(given)
        _, classes = masks_of(tmp_path, path, "--overwrite")
        assert classes == ["background", "square", "triangle"]


def test_coco_polygons_and_run_lengths(photos, tmp_path):
    from pycocotools import mask

    (tmp_path / "coco.json").write_text(e.coco())
    require_the_two(*masks_of(tmp_path, tmp_path / "coco.json"))
    packed = mask.encode(np.asfortranarray(e.square().astype(np.uint8)))["counts"].decode()
    entries = json.loads(e.coco())["annotations"]
    entries[2]["segmentation"]["counts"] = packed
    (tmp_path / "coco.json").write_text(e.coco(annotations=entries))
    require_the_two(*masks_of(tmp_path, tmp_path / "coco.json"))


def test_cocos_outlines_of_a_point_or_two_are_left_out_and_named(photos, tmp_path, capsys):
    """Programs that trace masks leave thousands of them, which nobody can draw again."""
    entries = json.loads(e.coco())["annotations"]
    whole = next(entry for entry in entries if isinstance(entry["segmentation"], list))
    alone = {**whole, "id": 99, "segmentation": [[3, 3, 4, 4]]}
    whole["segmentation"] += [[5, 5], []]
    (tmp_path / "coco.json").write_text(e.coco(annotations=[*entries, alone]))
    require_the_two(*masks_of(tmp_path, tmp_path / "coco.json"))
    said = capsys.readouterr().err
    assert "left out 3: outlines of fewer than 3 points, which have no area: " in said
    assert f"annotations[{len(entries)}].segmentation[0]" in said and "without an outline" not in said


def test_coco_of_roboflow_in_its_directories(tmp_path):
    """Each split has its images and its file; class 0 is a heading that nothing is drawn of."""
    export = tmp_path / "export"
    categories = [
        {"id": 0, "name": "shapes", "supercategory": "none"},
        {"id": 1, "name": "square", "supercategory": "shapes"},
        {"id": 2, "name": "triangle", "supercategory": "shapes"},
    ]
    for split, drawn in (("train", e.TRIANGLE), ("valid", e.SQUARE)):
        e.images(export / split)
        (export / split / "a.jpg").rename(export / split / "a_jpg.rf.0a1b.jpg")
        image = {
            "id": 0,
            "license": 1,
            "file_name": "a_jpg.rf.0a1b.jpg",
            "height": 40,
            "width": 60,
            "date_captured": "",
        }
        entry = e.annotation(0, 0, 2 if drawn is e.TRIANGLE else 1, [e.flat(drawn)])
        text = e.coco(categories=categories, images=[image], annotations=[entry])
        (export / split / "_annotations.coco.json").write_text(text)
    masks, classes = masks_of(tmp_path, export, images=export)
    assert classes == ["background", "square", "triangle"]
    assert {name: set(np.unique(mask)) for name, mask in masks.items()} == {
        "train/a_jpg.rf.0a1b": {0, 2},
        "valid/a_jpg.rf.0a1b": {0, 1},
    }


def test_labelme(photos, tmp_path):
    """Beside each other or not, with Windows' paths, polygons and AI masks."""
    shapes = [e.labelme_shape("square", e.SQUARE), e.labelme_shape("triangle", e.TRIANGLE)]
    crop = e.labelme_shape("square", [(10, 5), (29, 24)], "mask", e.png_text(e.square()[5:25, 10:30]))
    ignored = e.labelme_shape("__ignore__", [(50, 30), (58, 30), (58, 38)])
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "a.json").write_text(e.labelme("a", shapes, imagePath="..\\photos\\a.jpg"))
    (tmp_path / "json" / "b.json").write_text(e.labelme("b", [crop]))
    require_the_two(*masks_of(tmp_path, tmp_path / "json"))
    circle = e.labelme_shape("triangle", [(30, 20), (30, 30)], "circle")
    (tmp_path / "json" / "b.json").write_text(e.labelme("b", [circle, ignored]))
    masks, _ = masks_of(tmp_path, tmp_path / "json", "--overwrite")
    assert masks["b"][31, 56] == 255 and masks["b"][20, 30] == 2
    assert abs((masks["b"] == 2).sum() - np.pi * 100) < 8


@pytest.mark.parametrize("meta", ["task", "project", "job"])
def test_cvat(photos, tmp_path, meta):
    first = e.cvat_image("a", e.cvat_polygon("square", e.SQUARE), e.cvat_polygon("triangle", e.TRIANGLE))
    second = e.cvat_image("b", e.cvat_mask("square", "0,400", 10, 5, 20, 20), number=1)
    (tmp_path / "annotations.xml").write_text(e.cvat(first, second, meta=meta))
    require_the_two(*masks_of(tmp_path, tmp_path / "annotations.xml"))


def test_cvats_layers_go_before_sizes(photos, tmp_path):
    for layer, value in ((1, 1), (0, 2)):
        shapes = [e.cvat_polygon("square", e.SQUARE, z_order=layer), e.cvat_polygon("triangle", e.TRIANGLE)]
        (tmp_path / "annotations.xml").write_text(e.cvat(e.cvat_image("a", *shapes)))
        masks, _ = masks_of(tmp_path, tmp_path / "annotations.xml", "--overwrite")
        assert masks["a"][15, 25] == value


def test_cvats_ellipses_turn_and_boxes_are_asked_for(photos, tmp_path):
    ellipse = '<ellipse label="square" occluded="0" cx="30" cy="20" rx="15" ry="5" rotation="90" z_order="0"></ellipse>'
    box = '<box label="triangle" occluded="0" xtl="1" ytl="2" xbr="5" ybr="4" z_order="0"></box>'
    (tmp_path / "annotations.xml").write_text(e.cvat(e.cvat_image("a", ellipse, box, "<tag label='x'></tag>")))
    masks, _ = masks_of(tmp_path, tmp_path / "annotations.xml")
    assert masks["a"][33, 30] == 1 and masks["a"][20, 40] == 0 and 2 not in masks["a"]
    masks, _ = masks_of(tmp_path, tmp_path / "annotations.xml", "--boxes", "--overwrite")
    assert (masks["a"] == 2).sum() == 8 and (masks["a"][2:4, 1:5] == 2).all()


BRUSH = [0, 0, 0, 192, 57, 27, 254, 39, 0, 194, 127, 246, 192, 48, 159, 253, 176, 12, 39, 255, 136, 192, 35, 255, 195]
BRUSH += [96, 0]
"""What label-studio-sdk 2.1.2 (`mask2rle`) makes of 6 rows of 8: rows 1 to 3 of columns 2 to 6, and a corner."""


def test_label_studio(photos, tmp_path):
    first = e.task(
        "a",
        e.result("square", {"points": e.percent(e.SQUARE), "closed": True}),
        e.result("triangle", {"points": e.percent(e.TRIANGLE), "closed": True}, number="x2"),
    )
    upright = {"x": 100 * 10 / 60, "y": 100 * 5 / 40, "width": 100 * 20 / 60, "height": 50.0, "rotation": 0}
    second = e.task(
        "b", e.result("square", upright, "rectanglelabels"), number=2, data={"image": "s3://bucket/x/b.jpg"}
    )
    (tmp_path / "ls.json").write_text(e.label_studio(first, second))
    require_the_two(*masks_of(tmp_path, tmp_path / "ls.json", "--boxes"))


def test_label_studios_brush_and_which_annotation_counts(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / "photos" / f"{name}.png")
    size = {"original_width": 8, "original_height": 6}
    brush = e.result("road", {"format": "rle", "rle": BRUSH}, "brushlabels", **size)
    nothing, cancelled = {"result": [], "was_cancelled": False}, {"result": [brush], "was_cancelled": True}
    tasks = [
        e.task("a", data={"photo": "/data/local-files/?d=photos/a.png"}, annotations=[{"result": [brush]}]),
        e.task("b", data={"photo": "b.png"}, annotations=[{"result": [brush], "ground_truth": True}, nothing]),
        e.task("c", data={"photo": "c.png"}, annotations=[cancelled]),
    ]
    (tmp_path / "ls.json").write_text(e.label_studio(*tasks))
    masks, classes = masks_of(tmp_path, tmp_path / "ls.json")
    wanted = np.zeros((6, 8), np.uint8)
    wanted[1:4, 2:7] = wanted[5, 0] = 1
    assert classes == ["background", "road"] and set(masks) == {"a", "b"}
    assert np.array_equal(masks["a"], wanted) and np.array_equal(masks["b"], wanted)


def test_label_studios_regions_with_labels_of_their_own(photos, tmp_path):
    """`<Polygon>` with `<Labels>`: two results with one id."""
    outline = e.result("", {"points": e.percent(e.SQUARE)}, type="polygon")
    del outline["value"]["polygonlabels"]
    label = e.result("square", {"points": e.percent(e.SQUARE)}, "labels", type="labels")
    (tmp_path / "ls.json").write_text(e.label_studio(e.task("b", outline, label)))
    masks, _ = masks_of(tmp_path, tmp_path / "ls.json")
    assert np.array_equal(masks["b"] == 1, e.square())
