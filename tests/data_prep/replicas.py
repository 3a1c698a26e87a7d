"""Tiny copies of the public data sets' trees: real names of directories and files, real encodings, made-up pixels.

Every writer returns what must be stored: for each split the ids, and the label of each (None: an unlabelled image).
Every value or colour that the data set's masks can hold is in some mask.
"""

from __future__ import annotations

import json
import zlib

import numpy as np
from PIL import Image

from csst_jax.data.descriptions import voc_colour

HEIGHT, WIDTH = 24, 32


def photo(path, size=(HEIGHT, WIDTH)):
    """Writes a picture, PNG or JPEG by its name, which decides what it shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(zlib.crc32(path.name.encode())).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def spread(values, turn=0):
    """[24, 32]: all `values` in blocks of a few pixels, shifted by `turn`."""
    order = np.roll(np.array(values), turn, axis=0)
    place = np.arange(HEIGHT * WIDTH) * len(order) // (HEIGHT * WIDTH)
    return order[place].reshape(HEIGHT, WIDTH, *order.shape[1:])


def grey(path, values):
    """Writes a grey mask of 8 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def with_palette(path, values, colours):
    """Writes a palette mask whose indices count."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.fromarray(values.astype(np.uint8))
    mask.putpalette([channel for colour in colours for channel in colour])
    assert mask.mode == "P"
    mask.save(path)


# What Cityscapes' masks hold, and the trainId of each: the table of its paper's tools, written down a second time.
CITYSCAPES_TRAIN_ID = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15,
    31: 16, 32: 17, 33: 18,
}  # fmt: skip


def cityscapes(root, train_ids=False, archives=False):
    """`train_ids`: masks are *_labelTrainIds.png alone; `archives`: each archive in a directory of its own name."""
    first, masks = ("leftImg8bit_trainvaltest", "gtFine_trainvaltest") if archives else ("", "")
    third = "leftImg8bit_trainextra" if archives else ""
    to_class = np.array([CITYSCAPES_TRAIN_ID.get(value, 255) for value in range(34)])
    names = {
        "train": ["aachen_000000_000019", "zurich_000121_000019"],
        "val": ["frankfurt_000000_000294"],
        "test": ["berlin_000000_000019"],
        "train_extra": ["augsburg_000000_000000", "troisdorf_000000_000073", "troisdorf_000000_000074"],
    }
    expected = {}
    for split, ids in names.items():
        archive = root / (third if split == "train_extra" else first)
        expected[split] = {}
        for turn, name in enumerate(ids):
            city = name.split("_")[0]
            photo(archive / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
            mask = spread(range(34), turn)
            stem = root / masks / "gtFine" / split / city / f"{name}_gtFine"
            if split in ("train", "val"):
                kind, values = ("labelTrainIds", to_class[mask]) if train_ids else ("labelIds", mask)
                grey(stem.with_name(f"{stem.name}_{kind}.png"), values)
                grey(stem.with_name(f"{stem.name}_instanceIds.png"), mask)
            if split == "train_extra":
                coarse = root / "gtCoarse" / split / city / f"{name}_gtCoarse_labelIds.png"
                grey(coarse, mask)
            if name != "troisdorf_000000_000073":
                expected[split][name] = to_class[mask] if split in ("train", "val") else None
    return expected


def voc2012(root, sbd=None):
    """Palette masks of 0 to 20 and 255; `sbd`: a directory for the Semantic Boundaries Dataset as released."""
    train, val, test = ["2007_000032", "2007_000039"], ["2007_000033"], ["2008_000006"]
    further = ["2008_000008", "2008_000015"]
    palette = [voc_colour(index) for index in range(256)]
    expected = {"train": {}, "val": {}, "test": dict.fromkeys(test)}
    for turn, name in enumerate(train + val):
        label = spread([*range(21), 255], turn)
        with_palette(root / "SegmentationClass" / f"{name}.png", label, palette)
        expected["train" if name in train else "val"][name] = label
    for name in train + val + test + further:
        photo(root / "JPEGImages" / f"{name}.jpg")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, names in (("train", train), ("val", val), ("test", test)):
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    if sbd:
        import scipy.io

        (sbd / "cls").mkdir(parents=True)
        # SBD's own split is another one: some of its images are VOC's val.
        (sbd / "train.txt").write_text("2008_000008\n2007_000033\n2007_000032\n")
        (sbd / "val.txt").write_text("2008_000015\n")
        for turn, name in enumerate(further):
            label = spread(range(21), turn).astype(np.uint8)  # no 255 in SBD
            struct = {
                "Segmentation": label,
                "Boundaries": np.zeros((20, 1), object),
                "CategoriesPresent": np.arange(20),
            }
            scipy.io.savemat(sbd / "cls" / f"{name}.mat", {"GTcls": struct}, do_compression=True)
            expected["train"][name] = label
    return expected


def camvid_segnet(root):
    """The SegNet tutorial's folders: values 0 to 10, and 11 for void."""
    expected = {}
    for split, names in (
        ("train", ["0001TP_006690", "0006R0_f00930"]),
        ("val", ["0016E5_07959"]),
        ("test", ["Seq05VD_f00000"]),
    ):
        lines = []
        expected[split] = {}
        for turn, name in enumerate(names):
            mask = spread(range(12), turn)
            photo(root / split / f"{name}.png")
            grey(root / f"{split}annot" / f"{name}.png", mask)
            lines.append(f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png\n")
            expected[split][name] = np.where(mask == 11, 255, mask)
        (root / f"{split}.txt").write_text("".join(lines))
    return expected


# label_colors.txt of the original release, grouped by the class that each name becomes.
CAMVID_COLOURS = {
    0: [(128, 128, 128)],
    1: [(128, 0, 0), (192, 0, 128), (0, 128, 64), (64, 0, 64), (64, 192, 0)],
    2: [(192, 192, 128), (0, 0, 64)],
    3: [(128, 64, 128), (128, 0, 192), (192, 0, 64)],
    4: [(0, 0, 192), (64, 192, 128), (128, 128, 192)],
    5: [(128, 128, 0), (192, 192, 0)],
    6: [(192, 128, 128), (128, 128, 64), (0, 64, 64)],
    7: [(64, 64, 128)],
    8: [(64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)],
    9: [(64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)],
    10: [(0, 128, 192), (192, 0, 192)],
    255: [(0, 0, 0)],
}


def camvid_original(root):
    """The original release: RGB masks `*_L.png` in 32 colours, no lists."""
    pairs = [(colour, klass) for klass, colours in CAMVID_COLOURS.items() for colour in colours]
    assert len(pairs) == 32
    expected = {"train": {}, "val": {}, "test": {}}
    for turn, (name, split) in enumerate(
        {
            "0001TP_008520": "train",
            "0001TP_008550": "test",
            "0006R0_f00930": "train",
            "0016E5_07959": "val",
            "0016E5_08190": "train",
            "Seq05VD_f00000": "test",
        }.items()
    ):
        photo(root / "701_StillsRaw_full" / f"{name}.png")
        colours = spread([colour for colour, _ in pairs], turn).astype(np.uint8)
        (root / "LabeledApproved_full").mkdir(exist_ok=True)
        Image.fromarray(colours).save(root / "LabeledApproved_full" / f"{name}_L.png")
        expected[split][name] = spread([klass for _, klass in pairs], turn)
    return expected


def bdd100k(root, legacy=False):
    """Grey masks of trainIds and 255, beside JPEGs."""
    names = {
        "train": ["0a0a0b1a-7c39d841", "0a0b16e4-93d8c456"],
        "val": ["7d2f7975-e0c1c5a7"],
        "test": ["ac6d4f42-00000000"],
    }
    expected = {}
    for split, ids in names.items():
        expected[split] = {}
        for turn, name in enumerate(ids):
            label = spread([*range(19), 255], turn)
            images = "seg/images" if legacy else "images/10k"
            photo(root / images / split / f"{name}.jpg")
            if split != "test":
                mask = (
                    f"seg/labels/{split}/{name}_train_id.png" if legacy else f"labels/sem_seg/masks/{split}/{name}.png"
                )
                grey(root / mask, label)
                colours = "seg/color_labels" if legacy else "labels/sem_seg/colormaps"
                photo(root / colours / split / f"{name}.png")
            expected[split][name] = label if split != "test" else None
    return expected


def mapillary(root, version="v1.2", old=False):
    """Palette masks; the config's labels are few and made up, one or two of them not evaluated.

    `old`: the release of v1.x alone, with config.json and without directories of versions.
    """
    count, void = (6, (5,)) if version == "v1.2" else (9, (3, 8))
    labels = [
        {
            "name": f"construction--thing-{k}",
            "readable": "Unlabeled" if k in void else f"Thing {k}",
            "color": [10 * k, 255 - k, k],
            "instances": False,
            "evaluate": k not in void,
        }
        for k in range(count)
    ]
    root.mkdir(parents=True, exist_ok=True)
    config = "config.json" if old else f"config_{version}.json"
    (root / config).write_text(json.dumps({"labels": labels, "version": version, "mapping": "public"}))
    below = "labels" if old else f"{version}/labels"
    kept = [k for k in range(count) if k not in void]
    to_class = np.array([kept.index(k) if k in kept else 255 for k in range(count)])
    expected = {}
    for split, directory, names in (
        ("train", "training", ["__CRyFzoDOXn6unQ6a3DnQ", "-09FAh4Zyj1shBWkHmbeRw"]),
        ("val", "validation", ["_1Gn_xkw7sa_i9GU4mkxxQ"]),
        ("test", "testing", ["a_E3gqMVkOBUGc6GJcmY2g"]),
    ):
        expected[split] = {}
        for turn, name in enumerate(names):
            photo(root / directory / "images" / f"{name}.jpg")
            mask = spread(range(count), turn)
            if split != "test":
                with_palette(root / directory / below / f"{name}.png", mask, [label["color"] for label in labels])
            expected[split][name] = to_class[mask] if split != "test" else None
    return expected


def ade20k(root):
    """Grey masks of 0 (anything else) and 1 to 150; names come from objectInfo150.txt."""
    rows = [f"{k}\t0.1\t10\t1\t0\tthing {k}, other name {k}\n" for k in range(1, 151)]
    root.mkdir(parents=True, exist_ok=True)
    (root / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n" + "".join(rows))
    expected = {}
    for split, directory, names in (
        ("train", "training", ["ADE_train_00000001", "ADE_train_00000002"]),
        ("val", "validation", ["ADE_val_00000001"]),
    ):
        expected[split] = {}
        for turn, name in enumerate(names):
            mask = spread(range(151), turn)
            photo(root / "images" / directory / f"{name}.jpg")
            grey(root / "annotations" / directory / f"{name}.png", mask)
            expected[split][name] = np.where(mask == 0, 255, mask - 1)
    return expected


def folder(root):
    """A user's own images/ of several sizes and kinds, masks/ of three classes for five of the eight, and val.txt."""
    names = [f"{'b/' if i % 2 else ''}photo {i}" for i in range(8)]
    val = ["photo 2", "b/photo 3"]
    expected = {"train": {}, "val": {}}
    for i, name in enumerate(names):
        size = (20 + i, 30)
        photo(root / "images" / f"{name}{'.jpg' if i < 4 else '.png'}", size)
        label = np.random.default_rng(i).integers(0, 3, size).astype(np.uint8) if i < 5 else None
        if label is not None:
            grey(root / "masks" / f"{name}.png", label)
        expected["val" if name in val else "train"][name] = label
    (root / "val.txt").write_text("photo 2.jpg\nb/photo 3\n")
    return expected
