"""Directories and lists that are broken, a user's and those of a published layout, each with what the user is told."""

import fcntl
import os

import pytest

from data_prep import camvid, folder
from tests.data_prep.breaking import empty, file, gone, mask, photo, png_of, put, told


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


def another_source(where):
    folder.main(
        [f"--images={where / 'images'}", f"--masks={where / 'masks'}", f"--data_dir={where / 'data'}",
         "--classes=a,b,c", "--name=mine", "--num_workers=1"]
    )  # fmt: skip


def locked(where):
    """Holds the lock for as long as this process lives; the directory is this test's alone."""
    (where / "data" / "mine").mkdir(parents=True)
    fcntl.flock(os.open(where / "data" / "mine" / ".lock", os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)


IMAGE, MASK = file(photo()), file(mask())

CASES = {
    # A user's folder.
    "folder: mask without an image": (folder_of(put("masks", "x.png", MASK)), "x.png: mask without an image"),
    "folder: one image in two formats": (folder_of(put("images", "p1.jpg", IMAGE)), "duplicate id 'p1'"),
    "folder: no images": (folder_of(empty("images")), "images holds no .png or .jpg or .jpeg or .tif"),
    "folder: no masks": (folder_of(empty("masks")), "masks holds no *.png file"),
    "folder: image directory is not there": (folder_of(gone("images")), "images does not exist"),
    "folder: mask directory is not there": (folder_of(gone("masks")), "masks does not exist"),
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
    "folder: list is not there": (folder_of(None, "--val_list={where}/v.txt"), "v.txt: cannot be read (No such"),
    "folder: list is no text": (
        folder_of(put("v.txt", b"p0\n\xff\xfe"), "--val_list={where}/v.txt"),
        "v.txt: unreadable text: byte 0xff in line 2",
    ),
    "folder: list is empty": (folder_of(put("v.txt", b"\n"), "--val_list={where}/v.txt"), "v.txt names no image"),
    "folder: list names a stranger": (
        folder_of(put("v.txt", b"p9\n"), "--val_list={where}/v.txt"),
        "v.txt: 1 line means no image of the data set, or several: p9.",
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
    "folder: a mask is too large": (
        folder_of(put("masks", "p1.png", png_of(14_000, 13_000))),
        "p1.png: the mask is too l",
    ),
    "folder: an image is too large": (
        folder_of(put("images", "p1.png", png_of(14_000, 13_000))),
        "p1.png: the image is too large: 178,956,970 pixels are the most that is read",
    ),
    "folder: negative seed": (folder_of(None, "--seed=-1"), "--seed=-1 must be 0 or more"),
    "folder: several broken files at once": (
        folder_of(lambda w: [put("masks", "p1.png", b"")(w), put("images", "p4.png", b"")(w)]),
        "2 problems:",
    ),
    "folder: name in capitals": (folder_of(None, name="Mine"), "--name=Mine must be lower-case"),
    "folder: name of a path": (folder_of(None, name="../mine"), "--name=../mine must be lower-case"),
    "folder: no workers": (folder_of(None, "--num_workers=0"), "--num_workers=0 must be 1 or more"),
    "folder: data directory is a file": (folder_of(put("data", b"")), "cannot store data set 'mine'"),
    "folder: made from another source": (folder_of(another_source), "and now ground, thing, sky"),
    "folder: being prepared": (folder_of(locked), "another process is preparing"),
    "classes: one word": (folder_of(None, classes="road"), "--classes=road: one class alone"),
    "classes: one twice": (folder_of(None, classes="a,b,a"), "'a'"),
    "classes: an empty one": (folder_of(None, classes="a,,b"), "must be given once, and not be empty"),
    "classes: too many": (folder_of(None, classes=",".join(map(str, range(256)))), "has 256 classes; give 2 to 255"),
    # A published layout.
    "lists: directory is not there": (camvid_of(lambda w: w / "nowhere"), "nowhere does not exist"),
    "lists: no list": (camvid_of(gone("train.txt")), "train.txt"),
    "lists: list is no text": (camvid_of(put("val.txt", b"\xff")), "val.txt: unreadable text: byte 0xff in line 1"),
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
}


@pytest.mark.parametrize("name", CASES)
def test_broken_directory_is_told(name, tmp_path):
    case, message = CASES[name]
    assert message in case(tmp_path)


@pytest.mark.parametrize("case", [folder_of(None), camvid_of(lambda where: None)], ids=["folder", "lists"])
def test_what_is_whole_passes(case, tmp_path):
    """The cases above are told for what they break, not for what they share."""
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        case(tmp_path)
