"""Files as annotation tools export them, all of the same two images: a square and a disk, one over the other."""

import base64
import io
import json

import numpy as np
from PIL import Image

SIZE = (40, 60)
"""Height and width."""
SQUARE = [(10, 5), (30, 5), (30, 25), (10, 25)]
TRIANGLE = [(20, 10), (50, 10), (20, 35)]


def images(directory):
    """a.jpg and b.jpg, and c.jpg, which nobody annotates."""
    directory.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate("abc"):
        pixels = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(directory / f"{name}.jpg")
    return directory


def square():
    """bool [h, w]: what the square covers."""
    inside = np.zeros(SIZE, bool)
    inside[5:25, 10:30] = True
    return inside


def flat(points):
    return [float(value) for point in points for value in point]


def coco_counts(mask):
    """COCO's run lengths that are not compressed: down the columns, zeros first."""
    values = mask.T.ravel()
    edges = np.flatnonzero(np.diff(values)) + 1
    runs = np.diff([0, *edges, len(values)]).tolist()
    return [0, *runs] if values[0] else runs


def coco(**changes):
    """As CVAT and Label Studio export COCO 1.0."""
    content = {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
        "categories": [
            {"id": 1, "name": "square", "supercategory": ""},
            {"id": 7, "name": "triangle", "supercategory": ""},
        ],
        "images": [
            {"id": i + 1, "width": SIZE[1], "height": SIZE[0], "file_name": f"{name}.jpg", "license": 0}
            for i, name in enumerate("ab")
        ],
        "annotations": [
            annotation(1, 1, 1, [flat(SQUARE)]),
            annotation(2, 1, 7, [flat(TRIANGLE)]),
            annotation(3, 2, 1, {"counts": coco_counts(square()), "size": list(SIZE)}, iscrowd=1),
        ],
    }
    return json.dumps({**content, **changes})


def annotation(number, image, category, segmentation, **more):
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "area": 400.0,
        "bbox": [10.0, 5.0, 20.0, 20.0],
        "iscrowd": 0,
        **more,
    }


def labelme(name, shapes, **changes):
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{name}.jpg",
        "imageData": None,
        "imageHeight": SIZE[0],
        "imageWidth": SIZE[1],
    }
    return json.dumps({**content, **changes})


def labelme_shape(label, points, kind="polygon", mask=None):
    return {
        "label": label,
        "points": [list(map(float, point)) for point in points],
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": mask,
    }


def png_text(mask):
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def cvat(*images, meta="task"):
    return f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <{meta}>
      <id>4</id>
      <name>streets</name>
      <size>2</size>
      <mode>annotation</mode>
      <labels>
        <label><name>square</name><color>#24b353</color><type>any</type><attributes></attributes></label>
        <label><name>triangle</name><color>#fa3253</color><type>any</type><attributes></attributes></label>
      </labels>
    </{meta}>
    <dumped>2026-11-02 10:00:00.0+00:00</dumped>
  </meta>
  {"".join(images)}
</annotations>
"""


def cvat_image(name, *shapes, number=0):
    return f'<image id="{number}" name="{name}.jpg" width="{SIZE[1]}" height="{SIZE[0]}">{"".join(shapes)}</image>'


def cvat_polygon(label, points, z_order=0):
    text = ";".join(f"{x:.2f},{y:.2f}" for x, y in points)
    return f'<polygon label="{label}" source="manual" occluded="0" points="{text}" z_order="{z_order}"></polygon>'


def cvat_mask(label, rle, left, top, width, height):
    return (
        f'<mask label="{label}" source="manual" occluded="0" rle="{rle}" left="{left}" top="{top}" width="{width}" '
        f'height="{height}" z_order="0"></mask>'
    )


def label_studio(*tasks):
    return json.dumps(list(tasks))


def task(name, *results, number=1, **changes):
    return {
        "id": number,
        "annotations": [
            {
                "id": 9,
                "completed_by": 1,
                "result": list(results),
                "was_cancelled": False,
                "ground_truth": False,
                "created_at": "2026-11-02T10:00:00.000000Z",
                "lead_time": 12.3,
            }
        ],
        "file_upload": f"0f1e2d3c-{name}.jpg",
        "drafts": [],
        "predictions": [],
        "data": {"image": f"/data/upload/3/0f1e2d3c-{name}.jpg"},
        "meta": {},
        **changes,
    }


def result(label, value, kind="polygonlabels", number="x1", **changes):
    return {
        "original_width": SIZE[1],
        "original_height": SIZE[0],
        "image_rotation": 0,
        "value": {**value, kind: [label]},
        "id": number,
        "from_name": "label",
        "to_name": "image",
        "type": kind,
        "origin": "manual",
        **changes,
    }


def percent(points):
    return [[100 * x / SIZE[1], 100 * y / SIZE[0]] for x, y in points]
