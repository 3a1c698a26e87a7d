"""More than a hundred ways in which data can be broken, each with what the user is told.

`read` breaks a pair of raw files, `folder_of` a user's directories, `camvid_of` a published layout, `stored` a prepared
data set, `prepared` its contents. What is told names the file or id, the value and its count, and the mend.
"""

import fcntl
import io
import json
import os
import shutil
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from csst_jax.data import encoded, store, tiles
from csst_jax.types import CsstError, DatasetDescription
from data_prep import builder, camvid, check, folder, raw
from data_prep.examination import Stored, examine
from data_prep.label_map import LabelMap

CLASSES = ("ground", "thing", "sky")
DESCRIPTION = DatasetDescription("broken", CLASSES, ((9, 9, 9), (255, 0, 0), (0, 0, 255)))
HEIGHT, WIDTH = 12, 16


# What is whole.


def photo(seed=0, size=(HEIGHT, WIDTH)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def mask(*values, size=(HEIGHT, WIDTH)):
    """A mask of stripes."""
    stripes = np.array(values or (0, 1, 2), np.uint8).repeat(-(-size[1] // max(len(values), 3)))[: size[1]]
    return np.tile(np.resize(stripes, size[1]), (size[0], 1))


def file(array, format="PNG", exif=None, palette=None, **options):
    """The bytes of a picture."""
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    if palette:
        picture.putpalette(palette)
    stream = io.BytesIO()
    if exif:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = exif
    picture.save(stream, format=format, **options)
    return stream.getvalue()


def sixteen_bits(array):
    return cv2.imencode(".png", array.astype(np.uint16) * 257)[1].tobytes()


def png_of(width, height):
    """A PNG of one line of pixels that says it is so large; its checksums are right."""
    parts = (
        b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(bytes(49)),
        b"IEND",
    )
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def flipped(data, at):
    """The bytes with one changed."""
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"


# What breaks it. Each returns what the user is told.


def told(function, *arguments, **options):
    with pytest.raises(CsstError) as error:
        function(*arguments, **options)
    return str(error.value)


def read(image=None, label=None, void=(255,)):
    """Reading a pair of raw files whose bytes are these."""

    def case(where):
        pair = raw.RawPair("a", where / "a.png", where / "a_mask.png")
        pair.image.write_bytes(file(photo()) if image is None else image)
        pair.mask.write_bytes(file(mask()) if label is None else label)
        with pytest.raises(raw.Bad) as error:
            raw.read_pair(pair, LabelMap.identity(len(CLASSES), void))
        return str(error.value)

    return case


def folder_of(spoil, *flags, classes="ground,thing,sky", name="mine"):
    """Preparing a folder of six images and masks that `spoil` was let at."""

    def case(where):
        for kind in ("images", "masks"):
            (where / kind).mkdir()
        for i in range(6):
            (where / "images" / f"p{i}.png").write_bytes(file(photo(i)))
            (where / "masks" / f"p{i}.png").write_bytes(file(mask()))
        if spoil:
            spoil(where)
        arguments = {"images": where / "images", "masks": where / "masks", "data_dir": where / "data"}
        own = [flag.format(where=where) for flag in flags]
        given = {flag.partition("=")[0] for flag in own}
        arguments = [f"--{key}={value}" for key, value in arguments.items() if f"--{key}" not in given]
        return told(folder.main, [*arguments, f"--classes={classes}", f"--name={name}", "--num_workers=1", *own])

    return case


def camvid_of(spoil):
    """Preparing CamVid's layout of two images a split that `spoil` was let at."""

    def case(where):
        for split in ("train", "val"):
            lines = []
            for kind in (split, f"{split}annot"):
                (where / kind).mkdir()
            for i in range(2):
                (where / split / f"{i}.png").write_bytes(file(photo(i)))
                (where / f"{split}annot" / f"{i}.png").write_bytes(file(mask()))
                lines.append(f"/SegNet/CamVid/{split}/{i}.png /SegNet/CamVid/{split}annot/{i}.png\n")
            (where / f"{split}.txt").write_text("".join(lines))
        given = spoil(where) or where
        return told(camvid.main, [f"--source_dir={given}", f"--data_dir={where / 'data'}", "--num_workers=1"])

    return case


def record(image=None, label=None, labelled=True):
    """Examining one record whose stored bytes are these."""

    def case(where):
        image_bytes = file(photo()) if image is None else image
        label_bytes = encoded.encode_label(mask()) if label is None else label
        found = examine(Stored("a", image_bytes, label_bytes, labelled), len(CLASSES))
        return "\n".join([*found.errors, *found.warnings])

    return case


def example(name, seed, label):
    """An image of `seed` with a label; with a whole one for None, without a mask for False."""
    labels = {None: mask(), False: VOID}
    return raw.RawExample(
        name, file(photo(seed)), label if isinstance(label, np.ndarray) else labels[label], label is not False
    )


def whole(where):
    examples = {
        split: [example(f"{split}{i}", 10 * k + i, None) for i in range(3)] for k, split in enumerate(("train", "val"))
    }
    return builder.prepare(DESCRIPTION, examples, where, source_sha256="whole")


@pytest.fixture(scope="module")
def whole_data(tmp_path_factory):
    return whole(tmp_path_factory.mktemp("whole"))


def doctor(capsys, *flags):
    """What `data_prep.check` tells, and its status: what it prints, or the error that it ends with."""
    try:
        status = check.main(["--num_workers=1", *flags])
    except CsstError as error:
        return str(error), 2
    return capsys.readouterr().out, status


def stored(spoil, *flags, status=1):
    """Checking a whole prepared data set that `spoil` was let at; it may return another directory to look in."""

    def case(where, whole_data, capsys):
        directory = where / "data" / "broken" / "1.0.0"
        shutil.copytree(whole_data, directory)
        given = (spoil(directory) if spoil else None) or directory
        own = [flag.format(where=where, given=given) for flag in flags] or [f"--data_dir={given}"]
        text, found = doctor(capsys, *own)
        assert found == status, text
        return text

    return case


WHOLE = (None,)


def prepared(train, val=WHOLE, status=1):
    """Checking a data set of these labels, or pairs of a seed of the image and a label (None: a whole one)."""

    def case(where, whole_data, capsys):
        examples = {}
        for k, (split, members) in enumerate((("train", train), ("val", val))):
            pairs = [m if isinstance(m, tuple) else (10 * k + i, m) for i, m in enumerate(members)]
            examples[split] = [example(f"{split}{i}", *pair) for i, pair in enumerate(pairs)]
        data = builder.prepare(DESCRIPTION, examples, where, source_sha256="")
        capsys.readouterr()
        text, found = doctor(capsys, f"--data_dir={data}")
        assert found == status, text
        return text

    return case


def put(*parts):
    """Writes bytes to a file: path below the directory, then the bytes."""

    def spoil(where):
        path = where.joinpath(*parts[:-1])
        path.write_bytes(parts[-1])

    return spoil


def gone(*parts):
    def spoil(where):
        path = where.joinpath(*parts)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def empty(*parts):
    def spoil(where):
        for path in where.joinpath(*parts).iterdir():
            path.unlink()

    return spoil


def metadata(change):
    """Changes dataset.json."""

    def spoil(directory):
        path = directory / store.METADATA_FILE
        found = json.loads(path.read_text())
        change(found)
        path.write_text(json.dumps(found))

    return spoil


def rewritten(pattern, change):
    """Changes the bytes of the one file that the pattern names."""

    def spoil(directory):
        (path,) = directory.glob(pattern)
        path.write_bytes(change(path.read_bytes()))

    return spoil


def another_source(where):
    folder.main(
        [f"--images={where / 'images'}", f"--masks={where / 'masks'}", f"--data_dir={where / 'data'}",
         "--classes=a,b,c", "--name=mine", "--num_workers=1"]
    )  # fmt: skip


def locked(where):
    """Holds the lock for as long as this process lives; the directory is this test's alone."""
    (where / "data" / "mine").mkdir(parents=True)
    fcntl.flock(os.open(where / "data" / "mine" / ".lock", os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)


def two_data_sets(directory):
    shutil.copytree(directory, directory.parent.parent / "other" / "1.0.0")
    return directory.parent.parent


VOID = np.full((HEIGHT, WIDTH), 255, np.uint8)
IMAGE, MASK = file(photo()), file(mask())
TILED = tiles.encode(photo(size=(150, 150)))
DEMO = (
    "--config=configs/demo.py",
    "--config.data.dir={given}",
    "--config.teacher.crop_px=8",
    "--config.student.crop_px=8",
)
P, M = "a.png: ", "a_mask.png: "

CASES = {
    # Raw images.
    "image is empty": (read(image=b""), P + "unreadable or truncated image (0 bytes"),
    "image ends in the header": (read(image=IMAGE[:20]), P + "unreadable or truncated image (20 bytes"),
    "image ends in the pixels": (read(image=IMAGE[:300]), P + "unreadable or truncated image (300 bytes"),
    "image ends after the header": (read(image=IMAGE[:33]), P + "unreadable or truncated image"),
    "image has a flipped byte": (read(image=flipped(IMAGE, 200)), P + "unreadable or truncated image"),
    "JPEG is cut off": (read(image=file(photo(), "JPEG")[:-40]), P + "unreadable or truncated image"),
    "image is text": (read(image=b"404 not found"), P + "unreadable or truncated image (13 bytes"),
    "image is a Git LFS pointer": (read(image=LFS), P + f"unreadable or truncated image ({len(LFS)} bytes"),
    "image is a GIF": (read(image=file(photo(), "GIF")), "expected PNG or JPEG"),
    "image is a BMP": (read(image=file(photo(), "BMP")), "expected PNG or JPEG"),
    "image is a TIFF": (read(image=file(photo(), "TIFF")), "expected PNG or JPEG"),
    "image claims 10 gigapixels": (read(image=png_of(100_000, 100_000)), "decompression bomb"),
    "image has no width": (read(image=png_of(0, 12)), P + "unreadable or truncated image"),
    "image is CMYK": (read(image=file(Image.new("CMYK", (16, 12)), "JPEG")), P + "image of colour mode CMYK"),
    "image is grey with alpha": (read(image=file(Image.new("LA", (16, 12)))), P + "image of colour mode LA"),
    "image is black and white": (read(image=file(Image.new("1", (16, 12)))), P + "image of colour mode 1"),
    "image is grey of 16 bits": (read(image=sixteen_bits(mask())), P + "image of colour mode I;16"),
    "image is RGB of 16 bits": (read(image=sixteen_bits(photo())), P + "image of 16 bits a channel"),
    "image is turned by EXIF": (read(image=file(photo(), "JPEG", exif=6)), P + "EXIF orientation 6"),
    "image is mirrored by EXIF": (read(image=file(photo(), "JPEG", exif=2)), P + "EXIF orientation 2"),
    "PNG is turned by EXIF": (read(image=file(photo(), exif=8)), P + "EXIF orientation 8"),
    # Raw masks.
    "mask is empty": (read(label=b""), M + "unreadable or truncated mask (0 bytes"),
    "mask is cut off": (read(label=MASK[:50]), M + "unreadable or truncated mask (50 bytes"),
    "mask is a Git LFS pointer": (read(label=LFS), M + "unreadable or truncated mask"),
    "mask is a JPEG": (read(label=file(mask(), "JPEG")), M + "unreadable or truncated mask"),
    "mask is a GIF": (read(label=file(mask(), "GIF")), M + "unreadable or truncated mask"),
    "mask is a float TIFF": (read(label=file(mask().astype(np.float32), "TIFF")), M + "unreadable or truncated mask"),
    "mask is RGB": (read(label=file(photo())), M + "the mask has 3 channels (mode RGB)"),
    "mask is RGBA": (read(label=file(Image.new("RGBA", (16, 12)))), M + "the mask has 4 channels (mode RGBA)"),
    "mask is grey with alpha": (read(label=file(Image.new("LA", (16, 12)))), M + "the mask has 2 channels (mode LA)"),
    "mask is smaller": (read(label=file(mask(size=(6, 8)))), M + "the mask is 8x6 but its image"),
    "mask is on its side": (read(label=file(mask(size=(16, 12)))), M + "the mask is 12x16 but its image"),
    "mask lacks a row": (read(label=file(mask(size=(11, 16)))), M + "the mask is 16x11 but its image"),
    "mask is turned by EXIF": (read(label=file(mask(), exif=3)), M + "EXIF orientation 3"),
    "mask has a value too many": (read(label=file(mask(0, 1, 7))), M + "label value 7 (48 pixels)"),
    "mask has two values too many": (read(label=file(mask(0, 9, 7, 1))), "label value 7 (48 pixels), 9 (48 pixels)"),
    "mask is numbered from 1": (read(label=file(mask(1, 2, 3))), M + "label value 3 (48 pixels)"),
    "mask is grey levels": (read(label=file(mask(0, 128, 255))), M + "label value 128 (72 pixels)"),
    "mask has a void value of its own": (read(label=file(mask(0, 1, 254))), M + "label value 254 (48 pixels)"),
    "mask has another void value": (read(label=file(mask(0, 11)), void=(12,)), M + "label value 11 ("),
    "mask of 16 bits has large values": (
        read(label=file(mask().astype(np.uint16) * 300)),
        "label value 300 (72 pixels), 600 (",
    ),
    "palette mask has an index too many": (
        read(label=file(mask(0, 3), palette=[0, 0, 0, 9, 9, 9, 1, 1, 1, 2, 2, 2])),
        M + "label value 3 (",
    ),
    # A user's folder.
    "folder: mask without an image": (folder_of(put("masks", "x.png", MASK)), "x.png: mask without an image"),
    "folder: one image in two formats": (folder_of(put("images", "p1.jpg", IMAGE)), "duplicate id 'p1'"),
    "folder: no images": (folder_of(empty("images")), "images holds no .png or .jpg or .jpeg file"),
    "folder: no masks": (folder_of(empty("masks")), "masks holds no .png file"),
    "folder: image directory is not there": (folder_of(gone("images")), "images is not a directory"),
    "folder: mask directory is not there": (folder_of(gone("masks")), "masks is not a directory"),
    "folder: mask directory is a file": (folder_of(put("f", b""), "--masks={where}/f"), "f is not a directory"),
    "folder: a single mask": (
        folder_of(lambda w: [gone("masks", f"p{i}.png")(w) for i in range(5)]),
        "1 labelled images; at least 2",
    ),
    "folder: no share for validation": (
        folder_of(None, "--val_fraction=0"),
        "--val_fraction=0.0 must lie between 0 and 1",
    ),
    "folder: all for validation": (folder_of(None, "--val_fraction=1"), "--val_fraction=1.0 must lie between 0 and 1"),
    "folder: list is not there": (folder_of(None, "--val_list={where}/v.txt"), "v.txt: unreadable list file"),
    "folder: list is no text": (
        folder_of(put("v.txt", b"\xff\xfe"), "--val_list={where}/v.txt"),
        "v.txt: unreadable list file",
    ),
    "folder: list is empty": (folder_of(put("v.txt", b"\n"), "--val_list={where}/v.txt"), "split 'val' is empty"),
    "folder: list names a stranger": (
        folder_of(put("v.txt", b"p9\n"), "--val_list={where}/v.txt"),
        "v.txt: 'p9' has no mask",
    ),
    "folder: list leaves nothing to train on": (
        folder_of(put("v.txt", b"p0\np1\np2\np3\np4\np5\n"), "--val_list={where}/v.txt"),
        "no labelled image is left for training",
    ),
    "folder: an editor has renumbered a mask": (
        folder_of(
            lambda w: [
                put("masks", "p1.png", file(mask(), palette=[0, 0, 0, 255, 0, 0, 0, 0, 255]))(w),
                put("masks", "p2.png", file(mask(), palette=[0, 0, 0, 0, 0, 255, 255, 0, 0]))(w),
            ]
        ),
        "p2.png: its palette gives value 1 the colour (0, 0, 255), that of",
    ),
    "folder: several broken files at once": (
        folder_of(lambda w: [put("masks", "p1.png", b"")(w), put("images", "p4.png", b"")(w)]),
        "2 problems:",
    ),
    "folder: name in capitals": (folder_of(None, name="Mine"), "--name=Mine must be lower-case"),
    "folder: name of a path": (folder_of(None, name="../mine"), "--name=../mine must be lower-case"),
    "folder: no workers": (folder_of(None, "--num_workers=0"), "--num_workers=0 must be 1 or more"),
    "folder: data directory is a file": (folder_of(put("data", b"")), "cannot store data set 'mine'"),
    "folder: made from another source": (folder_of(another_source), "was made from another source"),
    "folder: being prepared": (folder_of(locked), "another process is preparing"),
    "classes: one word": (folder_of(None, classes="road"), "--classes=road is neither a file nor a list"),
    "classes: one twice": (folder_of(None, classes="a,b,a"), "'a'"),
    "classes: an empty one": (folder_of(None, classes="a,,b"), "must be given once, and not be empty"),
    "classes: too many": (folder_of(None, classes=",".join(map(str, range(256)))), "has 256 classes; give 2 to 255"),
    # A published layout.
    "lists: directory is not there": (camvid_of(lambda w: w / "nowhere"), "nowhere is not a directory"),
    "lists: no list": (camvid_of(gone("train.txt")), "train.txt"),
    "lists: list is no text": (camvid_of(put("val.txt", b"\xff")), "val.txt: unreadable list file"),
    "lists: list is empty": (camvid_of(put("val.txt", b"")), "split 'val' is empty"),
    "lists: line without a mask": (camvid_of(put("val.txt", b"val/0.png\n")), "line 'val/0.png' has 1 words"),
    "lists: line with a third word": (camvid_of(put("val.txt", b"val/0.png valannot/0.png x\n")), "has 3 words"),
    "lists: image is not there": (camvid_of(gone("train", "1.png")), "1.png: missing image"),
    "lists: mask is not there": (camvid_of(gone("trainannot", "1.png")), "1.png: missing mask of image"),
    "lists: mask directory is not there": (camvid_of(gone("trainannot")), "0.png: missing mask of image"),
    "lists: image twice": (
        camvid_of(put("val.txt", b"val/0.png valannot/0.png\n" * 2)),
        "duplicate id '0' in split 'val'",
    ),
    "lists: image is a directory": (
        camvid_of(lambda w: [gone("val", "1.png")(w), (w / "val" / "1.png").mkdir(), None][-1]),
        "1.png: missing image",
    ),
    "lists: link leads nowhere": (
        camvid_of(lambda w: [gone("val", "1.png")(w), (w / "val" / "1.png").symlink_to("x"), None][-1]),
        "1.png: missing image",
    ),
    # Files of a prepared data set.
    "stored: directory is not there": (stored(lambda d: d / "nowhere", status=2), "nowhere does not exist"),
    "stored: nothing is prepared there": (stored(gone("dataset.json"), status=2), "holds no prepared data set"),
    "stored: two data sets": (stored(two_data_sets, status=2), "holds 2 prepared data sets; name one of them"),
    "stored: metadata is cut off": (
        stored(rewritten("dataset.json", lambda b: b[:30]), status=2),
        "dataset.json: damaged (JSONDecodeError",
    ),
    "stored: metadata lacks the classes": (
        stored(metadata(lambda m: m.pop("classes")), status=2),
        "dataset.json: damaged (KeyError: 'classes')",
    ),
    "stored: metadata lacks the splits": (
        stored(metadata(lambda m: m.pop("splits")), status=2),
        "dataset.json: damaged (KeyError: 'splits')",
    ),
    "stored: a colour is missing": (
        stored(metadata(lambda m: m["palette"].pop()), status=2),
        "2 palette colours for 3 classes",
    ),
    "stored: an id too many": (
        stored(metadata(lambda m: m["splits"]["train"]["ids"].append("x"))),
        "stores 3 records, but dataset.json lists 4 ids",
    ),
    "stored: two ids are exchanged": (
        stored(metadata(lambda m: m["splits"]["train"]["ids"].reverse())),
        "the centroid index is stale",
    ),
    "stored: a class too few": (
        stored(metadata(lambda m: (m["classes"].pop(), m["palette"].pop()))),
        "train/train0: label value 2 (48 pixels) is outside the 2 classes",
    ),
    "stored: an image without a mask is listed as labelled": (
        stored(metadata(lambda m: m["splits"]["train"]["labelled_ids"].pop())),
        "train/train2: labels in an image that is listed as one without a mask",
    ),
    "stored: records are not there": (
        stored(rewritten("*-train.array_record*", lambda b: b"")),
        "cannot read split 'train'",
    ),
    "stored: records are cut off": (
        stored(rewritten("*-val.array_record*", lambda b: b[:40])),
        "cannot read split 'val'",
    ),
    "stored: features are not there": (stored(gone("features.json")), "cannot read split 'train'"),
    "stored: index is not there": (
        stored(gone("centroids-train.tfrecord")),
        "centroids-train.tfrecord: no centroid index",
    ),
    "stored: index is empty": (
        stored(rewritten("centroids-train.tfrecord", lambda b: b"")),
        "the centroid index is damaged",
    ),
    "stored: index is cut off": (
        stored(rewritten("centroids-val.tfrecord", lambda b: b[:-10])),
        "centroids-val.tfrecord: the centroid index is damaged",
    ),
    "stored: index has a flipped byte": (
        stored(rewritten("centroids-val.tfrecord", lambda b: flipped(b, -20 % len(b)))),
        "the centroid index is damaged",
    ),
    "stored: index is another split's": (
        stored(lambda d: shutil.copy(d / "centroids-val.tfrecord", d / "centroids-train.tfrecord") and None),
        "the centroid index is stale",
    ),
    # What a run's settings say.
    "run: no such split": (
        stored(None, *DEMO, "--config.data.train_split=training"),
        "no labelled image in split 'training'",
    ),
    "run: list of ids is not there": (
        stored(None, *DEMO, "--config.data.labelled_ids={where}/x", status=2),
        "cannot be read",
    ),
    "run: list of ids is empty": (
        stored(put("..", "x", b"# none\n"), *DEMO, "--config.data.labelled_ids={given}/../x", status=2),
        "x holds no id",
    ),
    "run: list names a stranger": (
        stored(put("..", "x", b"train0\ntrain9\n"), *DEMO, "--config.data.labelled_ids={given}/../x", status=2),
        "1 ids are no labelled images of split 'train'",
    ),
    "run: no data set": (stored(None, *DEMO, "--config.data.dir=", status=2), "data.dir is empty"),
    "run: trained on and judged by the same": (
        stored(None, *DEMO, "--config.data.val_split=train", status=0),
        "split 'train' is trained on and validated on",
    ),
    "run: crops are larger than images": (
        stored(None, *DEMO, "--config.teacher.crop_px=14", status=0),
        "teacher.crop_px=14 is longer than a side of 3 of 3",
    ),
    "run: crops are larger than every image": (
        stored(None, *DEMO, "--config.student.crop_px=32"),
        "crop_px=32 is larger than every training image",
    ),
    "run: minimum area leaves out a class": (
        stored(None, *DEMO, "--config.student.sampler.min_area_px=1000"),
        "student.sampler.min_area_px=1000 leaves out every component of ground, thing, sky",
    ),
    "run: minimum area leaves out one class": (
        stored(None, *DEMO, "--config.student.sampler.min_area_px=60", status=0),
        "warning: student.sampler.min_area_px=60 leaves out every component of sky; suggested: 48",
    ),
    # Records.
    "record: image is damaged": (record(image=b"\x89PNG"), "damaged image: neither PNG nor JPEG nor tiles"),
    "record: image is empty": (
        record(image=b""),
        "damaged image: neither PNG nor JPEG nor tiles, or damaged (0 bytes)",
    ),
    "record: image in tiles is cut off": (record(image=TILED[:-1]), "damaged image: an image in tiles is cut off"),
    "record: image in tiles has a flipped byte": (record(image=flipped(TILED, len(TILED) // 2)), "damaged image: "),
    "record: label is damaged": (record(label=b"x"), "damaged label: neither PNG nor JPEG nor tiles"),
    "record: label has a value too many": (record(label=file(mask(0, 5))), "label value 5 ("),
    "record: label has 16 bits": (
        record(label=sixteen_bits(mask())),
        "the label is uint16[12, 16] and must be uint8[h, w]",
    ),
    "record: label is RGB": (record(label=file(photo())), "the label is uint8[12, 16, 3] and must be uint8[h, w]"),
    "record: sizes differ": (record(label=file(mask(size=(11, 16)))), "the image is 16x12 and its label 16x11 pixels"),
    "record: labels without a mask": (
        record(labelled=False),
        "labels in an image that is listed as one without a mask",
    ),
    "record: image is black": (
        record(image=file(photo() * 0)),
        "every pixel of the image is (0, 0, 0); is it the right file?",
    ),
    # What is in it.
    "data: an image is in train and val": (
        prepared([(1, None), (2, None)], [(1, None)]),
        "1 images are in more than one split: train/train0 = val/val0",
    ),
    "data: an image is there twice": (
        prepared([(1, None), (1, None)], status=0),
        "1 images are there more than once: train/train0 = train/train1",
    ),
    "data: an image has two masks that differ": (
        prepared([(1, None), (1, mask(1, 0, 2))], status=0),
        "1 images have several masks, which differ: train/train0 = train/train1",
    ),
    "data: masks are 0 and 255": (
        prepared([mask(0, 255)] * 2, [mask(0, 255)]),
        "show ground; there is nothing to tell apart",
    ),
    "data: every mask is void": (prepared([VOID]), "show nothing but void; there is nothing to tell apart"),
    "data: every mask is one class": (prepared([mask(1)]), "show thing; there is nothing to tell apart"),
    "data: one mask is void": (
        prepared([None, VOID], status=0),
        "split 'train': 1 masks are void all over, for example train1",
    ),
    "data: val is void": (prepared([None], [VOID]), "split 'val' has no labelled pixel; no score can be computed"),
    "data: a class is in val alone": (
        prepared([mask(0, 1)], status=0),
        "have no pixel of sky, split 'val' has: IoU 0 in the mean",
    ),
    "data: a class is in train alone": (
        prepared([None], [mask(0, 1)], status=0),
        "split 'val' has no pixel of sky: left out of the mean IoU",
    ),
    "data: a class is nowhere": (
        prepared([mask(0, 1)], [mask(0, 1)], status=0),
        "no pixel of sky in the labelled images of either split",
    ),
    "data: train has no mask": (
        prepared([False], status=2),
        "split 'train' has no labelled image; add masks and prepare it again",
    ),
    "data: val has no mask": (prepared([None], [False]), "no labelled image in split 'val'"),
}


def test_there_are_more_than_a_hundred_and_each_is_told_something_of_its_own():
    assert len(CASES) > 100


@pytest.mark.parametrize("name", CASES)
def test_broken_input_is_told(name, tmp_path, request, capsys):
    case, message = CASES[name]
    arguments = [tmp_path]
    if case.__qualname__.startswith(("stored", "prepared")):
        arguments += [request.getfixturevalue("whole_data"), capsys]
    assert message in case(*arguments)


def test_what_is_whole_passes(whole_data, capsys, tmp_path):
    """The cases above are told for what they break, not for what they share."""
    assert doctor(capsys, f"--data_dir={whole_data}")[1] == 0
    assert doctor(capsys, *(flag.format(given=whole_data) for flag in DEMO))[1] == 0
    text, status = doctor(capsys, f"--data_dir={whole_data}")
    assert status == 0 and "error" not in text and "warning" not in text
    assert record()(tmp_path) == ""
    for case in (read(), folder_of(None), camvid_of(lambda where: None)):
        where = tmp_path / case.__qualname__.partition(".")[0]
        where.mkdir()
        with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
            case(where)
