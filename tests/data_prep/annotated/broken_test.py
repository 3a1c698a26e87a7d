"""What is wrong with an export names the file, the place and the fix; what is left out is counted and named."""

import json

import numpy as np
import pytest
from PIL import Image

from data_prep import annotations
from tests.data_prep.annotated import exports as e
from tests.data_prep.breaking import told


@pytest.fixture
def photos(tmp_path):
    return e.images(tmp_path / "photos")


def run(tmp_path, text, *more, name="x.json"):
    (tmp_path / name).write_text(text)
    annotations.main(
        [f"--annotations={tmp_path / name}", f"--images={tmp_path / 'photos'}", f"--masks={tmp_path / 'm'}", *more]
    )


def entries(**change):
    """COCO whose first annotation is another."""
    found = json.loads(e.coco())["annotations"]
    return e.coco(annotations=[{**found[0], **change}, *found[1:]])


LABELME = e.labelme("a", [e.labelme_shape("square", e.SQUARE)])
TASK = e.task("a", e.result("square", {"points": e.percent(e.SQUARE)}))


@pytest.mark.parametrize(
    "text,said",
    [
        ("", "x.json: no readable JSON (Expecting value"),
        (e.coco()[:-20], "x.json: no readable JSON"),
        ("[" * 100_000, "no readable JSON"),
        ('{"a": 1}', "x.json: of no known format. Known are COCO"),
        ('{"images": [], "categories": []}', "x.json: 'annotations' is missing. Export"),
        (entries(category_id=9), "x.json: annotations[0].category_id: 9 is none of the categories"),
        (entries(category_id=[1]), "x.json: annotations[0].category_id is [1] and must be a number"),
        (entries(image_id={"a": 1}), 'annotations[0].image_id is {"a": 1} and must be a number'),
        (
            e.coco(categories=[{"id": [1], "name": "square", "supercategory": ["a"]}]),
            "x.json: categories[0].id is [1] and must be a number",
        ),
        (
            e.coco(images=[{"id": [], "width": 60, "height": 40, "file_name": "a.jpg"}]),
            "images[0].id is [] and must be",
        ),
        (entries(image_id=9), "x.json: annotations[0].image_id: 9 is none of the images"),
        (entries(segmentation=[[1, 2, 3]]), "annotations[0].segmentation[0]: 3 numbers; x and y of each point are two"),
        (entries(segmentation=[[1, 2, 3, "4", 5, 6]]), 'annotations[0].segmentation[0][3] is "4" and must be a number'),
        (entries(segmentation=[[1, 2, 3, float("nan"), 5, 6]]), "[0][3] is NaN and must be a number"),
        (
            entries(segmentation={"size": [40, 60], "counts": [5, 5]}),
            "annotations[0].segmentation.counts: run lengths of 10 pixels for an image of 60x40",
        ),
        (entries(segmentation={"size": [40, 60], "counts": "zz~~"}), "'z' in compressed run lengths"),
        (entries(segmentation={"size": [40, 60], "counts": "0"}), "run lengths of 0 pixels for an image of 60x40"),
        (entries(segmentation={"size": [60, 40], "counts": [2400]}), "size is [60, 40] and the image has [40, 60]"),
        (e.coco(annotations=[{"category_id": 1, "segments_info": []}]), "COCO panoptic, whose masks are pictures"),
        (
            e.coco(images=[{"id": 1, "width": 6e4, "height": 6e4, "file_name": "a.jpg"}]),
            "images[0]: 60000x60000 pixels; 178,956,970 are the most",
        ),
        (e.labelme("a", [], imageHeight=60, imageWidth=40), "annotate it upright"),
        (e.coco().replace("b.jpg", "photos/a.jpg"), "both are "),
        (e.coco(annotations=[]), "no image of --images has a shape with an area"),
        (e.labelme("a", [], imageHeight=None), "x.json: 'imageHeight' is missing"),
        (LABELME.replace("10.0, 5.0", "10.0"), "shapes[0].points[0]: 1 numbers; a point is x and y"),
        (e.labelme("a", [e.labelme_shape("s", [(1, 1)], "rectangle")]), "points: 1 points; a rectangle has 2"),
        (e.labelme("a", [e.labelme_shape("s", [(1, 1), (9, 9)], "mask", "aa")]), "shapes[0].mask: no readable PNG"),
        (
            e.labelme("a", [e.labelme_shape("s", [(50, 1), (69, 20)], "mask", e.png_text(e.square()[5:25, 10:30]))]),
            "a mask of 20x20 pixels at (50, 1) reaches out of the image",
        ),
        (e.label_studio({"image": "a.jpg", "annotation_id": 3, "label": []}), "[0]: no 'data'. Is it JSON-MIN?"),
        (
            e.label_studio({**TASK, "annotations": [12]}),
            "[0].annotations[0] is 12, the number of an annotation and not the annotation. Export JSON with Label",
        ),
        (e.label_studio({**TASK, "annotations": ["x"]}), '[0].annotations[0] is "x" and must be an object'),
        (e.label_studio({**TASK, "data": ["a.jpg"]}), '[0].data is ["a.jpg"] and must be an object'),
        (
            e.label_studio(e.task("a", {**e.result("s", {}), "value": [1]})),
            "result[0].value is [1] and must be an object",
        ),
        (e.label_studio(e.task("a", 7)), "result[0] is 7 and must be an object"),
        (e.label_studio({**TASK, "data": {"text": "hello"}}), "[0].data: no image in hello"),
        (e.label_studio(TASK).replace('"image_rotation": 0', '"image_rotation": 90'), "turned in the tool. Turn it"),
        (e.label_studio(e.task("a", e.result("s", {"rle": [0, 0, 1]}, "brushlabels"))), "packed mask is cut off"),
        (
            e.label_studio(e.task("a", e.result("s", {"rle": [255] * 40}, "brushlabels"))),
            "4294967295 values of 32 bits are no mask",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(photos, tmp_path, text, said):
    message = told(run, tmp_path, text)
    assert said in message
    assert not (tmp_path / "m").exists()


MASK = e.cvat_mask("square", "0,5", 1, 1, 4, 4)


@pytest.mark.parametrize(
    "text,said",
    [
        ("<annotations>", "x.xml: no readable XML"),
        ("<html/>", "XML of <html>, and CVAT's begins with <annotations>"),
        ("<annotations><track/></annotations>", "CVAT for video, in tracks. Export 'CVAT for images 1.1'"),
        (e.cvat('<image id="0" name="a.jpg" width="60"></image>'), "image 'a.jpg': 'height' is missing"),
        (e.cvat(e.cvat_image("a", MASK)), "x.xml: image 'a.jpg': <mask> 1: rle is of 5 pixels, and the mask of 4x4"),
        (e.cvat(e.cvat_image("a", '<polygon label="s" points="1,2;3"/>')), "points='1,2;3': not x,y;x,y"),
        (e.cvat(e.cvat_image("a", '<polygon label="s" points="1,2;3,inf;4,5"/>')), "not x,y;x,y"),
        (e.cvat(e.cvat_image("a", '<polygon points="1,2;3,4;5,6"/>')), "<polygon> 1: 'label' is missing"),
        (e.cvat(e.cvat_image("a", '<ellipse label="s" cx="1" cy="1" rx="x" ry="1"/>')), "rx='x' must be a number"),
    ],
)
def test_what_is_wrong_with_xml_is_named(photos, tmp_path, text, said):
    assert said in told(run, tmp_path, text, name="x.xml")


def test_what_is_left_out_is_counted_and_named(photos, tmp_path, capsys):
    line = e.labelme_shape("lane", [(1, 1), (9, 9)], "linestrip")
    box = e.labelme_shape("car", [(1, 1), (9, 9)], "rectangle")
    shape = e.labelme_shape("square", e.SQUARE)
    (tmp_path / "json").mkdir()
    for name, shapes in (("a", [shape, line, box]), ("b", []), ("gone", [shape])):
        (tmp_path / "json" / f"{name}.json").write_text(e.labelme(name, shapes))
    (tmp_path / "json" / "settings.json").write_text("{}")
    (tmp_path / "json" / "a.png.aux.xml").write_text("<PAMDataset/>")  # as GDAL leaves it beside images
    arguments = [f"--annotations={tmp_path / 'json'}", f"--images={photos}", f"--masks={tmp_path / 'm'}"]
    annotations.main(arguments)
    said = capsys.readouterr().err
    for line in (
        "left out 2: of no known format of annotations: a.png.aux.xml, settings.json",
        "left out 1: shapes of type linestrip, which have no area: ",
        "left out 1: rectangles (--boxes fills them): a.jpg",
        "left out 1: annotated images that are not in --images: gone.jpg",
        "left out 1: images without a shape, which get no mask (--empty=background: nothing is there): b",
    ):
        assert line in said
    assert [path.name for path in (tmp_path / "m").rglob("*.png")] == ["a.png"]
    annotations.main([*arguments, "--empty=background", "--outside=background"])
    assert not np.asarray(Image.open(tmp_path / "m" / "b.png")).any()


def test_boxes_alone_and_one_class_alone_are_told_what_to_do(photos, tmp_path):
    assert "There are rectangles alone; --boxes fills them" in told(
        run, tmp_path, e.labelme("a", [e.labelme_shape("car", [(1, 1), (9, 9)], "rectangle")])
    )
    assert "1 classes (square); 2 to 255 are needed" in told(run, tmp_path, LABELME, "--outside=void")


def test_masks_that_somebody_changed_are_not_written_over(photos, tmp_path):
    run(tmp_path, e.coco())
    path = tmp_path / "m" / "a.png"
    before, stamp = np.asarray(Image.open(path)), path.stat().st_mtime_ns
    run(tmp_path, e.coco())
    assert path.stat().st_mtime_ns == stamp  # so that the data set is still that of these files
    Image.fromarray(np.zeros_like(before)).save(path)
    assert f"{path}: another mask is there. Give --overwrite" in told(run, tmp_path, e.coco())
    run(tmp_path, e.coco(), "--overwrite")
    assert np.array_equal(np.asarray(Image.open(path)), before)


def test_masks_of_other_annotations_keep_their_classes_or_nothing_is_written(photos, tmp_path, capsys):
    shapes = {"square": e.SQUARE, "triangle": e.TRIANGLE}

    def drawn(image, *labels):
        return e.labelme(image, [e.labelme_shape(label, shapes[label]) for label in labels])

    run(tmp_path, drawn("a", "triangle"), name="a.json")
    said = told(run, tmp_path, drawn("b", "square"), name="b.json")
    assert "m has masks of images that are not in --annotations: a. Their classes are background, triangle;" in said
    assert not (tmp_path / "m" / "b.png").exists() and "triangle" in (tmp_path / "m" / "classes.yaml").read_text()
    run(tmp_path, drawn("b", "triangle"), name="b.json")
    assert "m keeps masks of images that have no shape in --annotations: a. Delete" in capsys.readouterr().err


def test_masks_of_other_classes_are_told_the_classes_before_and_now(photos, tmp_path, capsys):
    shapes = [e.labelme_shape("square", e.SQUARE), e.labelme_shape("triangle", e.TRIANGLE)]
    run(tmp_path, e.labelme("a", shapes))
    path = tmp_path / "m" / "a.png"
    before = path.read_bytes()
    text = e.labelme("a", [*shapes, e.labelme_shape("car", [(1, 30), (9, 30), (9, 38)])])
    said = told(run, tmp_path, text)
    assert "m: the classes were background, square, triangle and are now background, car, square, triangle" in said
    assert (
        "so class numbers in the masks change. Give --overwrite to replace those that differ (1 of 1)" in said
        and path.read_bytes() == before
    )
    capsys.readouterr()
    run(tmp_path, text, "--overwrite")
    assert "the classes were background, square, triangle\n" in capsys.readouterr().out
    run(tmp_path, text)
    assert "the classes were" not in capsys.readouterr().out


def test_labels_that_differ_by_capitals_or_blanks_are_told(photos, tmp_path, capsys):
    polygon = [(1, 30), (9, 30), (9, 38)]
    shapes = [e.labelme_shape(label, polygon) for label in ("traffic light", "Traffic  light", "Background", "road")]
    run(tmp_path, e.labelme("a", shapes))
    said = capsys.readouterr().err
    assert "the labels 'Traffic  light' and 'traffic light' differ by capitals or spaces alone" in said
    assert "the labels 'background' and 'Background' differ" in said and "road" not in said


def test_masks_are_not_written_among_the_images(photos, tmp_path):
    assert "the images are there, or below" in told(run, tmp_path, e.coco(), f"--masks={photos}")
    assert "the images are there, or below" in told(run, tmp_path, e.coco(), f"--masks={tmp_path}")


def test_without_the_library_the_command_says_what_to_install(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    assert "python -m pip install pycocotools (requirements-annotations.txt)" in told(run, tmp_path, e.coco())
