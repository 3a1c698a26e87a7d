"""Every file below the given directories is used, or counted and named."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.store import DataSet
from csst_jax.types import CsstError
from data_prep import folder
from tests.data_prep.breaking import file, mask, photo


@pytest.fixture
def own(tmp_path):
    """Six images, the first five of which have masks."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for i in range(6):
        (tmp_path / "images" / f"p{i}.jpg").write_bytes(file(photo(i), "JPEG"))
        if i < 5:
            (tmp_path / "masks" / f"p{i}.png").write_bytes(file(mask(i % 2, 1, 2)))
    return tmp_path


def prepare(own, *more, **directories):
    given = {"images": own / "images", "masks": own / "masks"} | directories
    flags = [f"--{name}={path}" for name, path in given.items()]
    folder.main(
        [*flags, f"--data_dir={own / 'data'}", "--classes=ground,thing,sky", "--name=mine", "--num_workers=1", *more]
    )
    return DataSet.open(own / "data" / "mine")


def ids(data_set):
    return {image_id for split in data_set.splits for image_id in data_set.ids(split)}


def labelled(data_set):
    return {image_id for split in data_set.splits for image_id in data_set.labelled_ids(split)}


ALL, MASKED = {f"p{i}" for i in range(6)}, {f"p{i}" for i in range(5)}


def test_files_of_other_kinds_are_counted_and_named(own, capsys):
    for name in ("Thumbs.db", "a.heic", "b.heic", ".DS_Store"):
        (own / "images" / name).write_bytes(b"x")
    (own / "masks" / "notes.txt").write_bytes(b"x")
    (own / "images" / ".ipynb_checkpoints").mkdir()
    shutil.copy(own / "images" / "p0.jpg", own / "images" / ".ipynb_checkpoints" / "p0-checkpoint.jpg")
    assert ids(prepare(own)) == ALL
    said = capsys.readouterr().err
    assert f"warning: --images={own / 'images'}: left out 2: hidden: .DS_Store, .ipynb_checkpoints" in said
    assert "left out 1: not .png or .jpg" in said and ": Thumbs.db" in said
    assert "left out 2: HEIC photos are not read; export them as JPEG: a.heic, b.heic" in said
    assert f"warning: --masks={own / 'masks'}: left out 1: not .png: notes.txt" in said


def test_other_image_formats_are_read_and_told(own, capsys):
    for i, suffix in enumerate(("webp", "TIF", "bmp", "tiff"), 6):
        Image.fromarray(photo(i)).save(own / "images" / f"p{i}.{suffix}")
    (own / "masks" / "p8.png").write_bytes(file(mask()))
    data_set = prepare(own)
    assert ids(data_set) == ALL | {"p6", "p7", "p8", "p9"} and "p8" in labelled(data_set)
    assert "--images: images that are stored as PNG: 1 .bmp, 1 .tif, 1 .tiff, 1 .webp" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name,format", [("p5.jpg", "JPEG"), ("p5.JPEG", "JPEG"), ("p5.tif", "TIFF"), ("p5.webp", "WEBP"), ("p5.gif", "GIF")]
)
def test_masks_of_other_formats_are_refused_by_name(own, name, format):
    (own / "masks" / name).write_bytes(file(mask(), format))
    with pytest.raises(CsstError, match=rf"masks/{name}: the mask is a {format} by its content.*Export it as PNG"):
        prepare(own)


def test_a_png_of_another_name_is_told_its_name(own):
    (own / "masks" / "p5.bmp").write_bytes(file(mask()))
    with pytest.raises(CsstError, match=r"masks/p5.bmp: a PNG by its content; call it p5.png"):
        prepare(own)


def test_linked_files_and_directories_count(own):
    for kind in ("images", "masks"):
        (own / "elsewhere" / kind).mkdir(parents=True)
        (own / kind / "site").symlink_to(own / "elsewhere" / kind, target_is_directory=True)
    (own / "elsewhere" / "images" / "q.jpg").write_bytes(file(photo(9), "JPEG"))
    (own / "elsewhere" / "masks" / "q.png").write_bytes(file(mask()))
    (own / "elsewhere" / "r.jpg").write_bytes(file(photo(10), "JPEG"))
    (own / "images" / "r.jpg").symlink_to(own / "elsewhere" / "r.jpg")
    data_set = prepare(own)
    assert ids(data_set) == ALL | {"site/q", "r"} and "site/q" in labelled(data_set)


def test_links_in_circles_and_to_nowhere_are_told(own):
    (own / "images" / "again").symlink_to(own / "images", target_is_directory=True)
    (own / "images" / "gone.jpg").symlink_to(own / "nowhere.jpg")
    (own / "masks" / "up").symlink_to(own, target_is_directory=True)
    with pytest.raises(CsstError) as error:
        prepare(own)
    assert "images/again: the link leads back to a directory that it lies in. Remove it" in str(error.value)
    assert "images/gone.jpg: the link leads nowhere" in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_may_not_be_read(own):
    (own / "images" / "locked").mkdir(mode=0)
    with pytest.raises(CsstError, match=r"images/locked: cannot be read \(Permission denied\)"):
        prepare(own)


def test_masks_beside_images_are_paired_by_their_suffix(own, capsys):
    for path in (own / "masks").iterdir():
        path.rename(own / "images" / f"{path.stem}_mask.png")
    (own / "images" / "p6.png").write_bytes(file(photo(6)))
    with pytest.raises(
        CsstError, match=r"6 files are image and mask at once: .*p0_mask.png.* give --mask_suffix=_mask"
    ):
        prepare(own, masks=own / "images", images=own / "images")
    data_set = prepare(own, "--mask_suffix=_mask", masks=own / "images")
    assert ids(data_set) == ALL | {"p6"} and labelled(data_set) == MASKED
    assert "left out" not in capsys.readouterr().err


def test_jpeg_masks_beside_images_are_refused_or_asked_about(own, capsys):
    for path in (own / "masks").iterdir():
        path.rename(own / "images" / f"{path.stem}_mask.png")
    (own / "images" / "p5_mask.JPG").write_bytes(file(mask(), "JPEG"))
    with pytest.raises(CsstError, match=r"p5_mask.JPG: the mask is a JPEG by its content. JPEG changes"):
        prepare(own, "--mask_suffix=_mask", masks=own / "images")
    (own / "elsewhere").mkdir()
    for i in range(5):
        (own / "images" / f"p{i}_mask.png").rename(own / "elsewhere" / f"p{i}.png")
    prepare(own, masks=own / "elsewhere")
    assert (
        f"warning: split 'train': 1 images have the values of masks alone: {own}/images/p5_mask.JPG. If"
        in capsys.readouterr().err
    )
    (own / "images" / "p5_mask.JPG").write_bytes(file(photo(30), "JPEG"))
    prepare(own, "--overwrite", masks=own / "elsewhere")
    assert "1 images have the name of another with a word for masks after it: p5_mask. If" in capsys.readouterr().err


def test_masks_below_images_are_no_images(own, capsys):
    (own / "masks").rename(own / "images" / "masks")
    data_set = prepare(own, masks=own / "images" / "masks")
    assert ids(data_set) == ALL and labelled(data_set) == MASKED
    assert "left out" not in capsys.readouterr().err


def test_masks_that_are_linked_below_images_are_no_images(own):
    (own / "masks").rename(own / "elsewhere")
    (own / "images" / "masks").symlink_to(own / "elsewhere", target_is_directory=True)
    data_set = prepare(own, masks=own / "images" / "masks")
    assert ids(data_set) == ALL and labelled(data_set) == MASKED


def test_images_below_masks_are_no_masks(own):
    (own / "images").rename(own / "masks" / "images")
    (own / "masks" / "images" / "p7.png").write_bytes(file(photo(7)))
    data_set = prepare(own, images=own / "masks" / "images")
    assert ids(data_set) == ALL | {"p7"} and labelled(data_set) == MASKED


def test_more_images_are_those_that_are_not_used_yet(own, capsys):
    (own / "q.jpg").write_bytes(file(photo(9), "JPEG"))
    data_set = prepare(own, unlabelled=own)
    assert ids(data_set) == ALL | {"unlabelled/q"}
    assert "left out 11: in --images or --masks already: images/p0.jpg" in capsys.readouterr().err


def test_names_that_do_not_end_as_masks_are_told(own, capsys):
    for i in range(5):
        (own / "masks" / f"p{i}.png").rename(own / "masks" / f"p{i}_labels.png")
        (own / "masks" / f"p{i}_color.png").write_bytes(file(photo(i)))
    assert labelled(prepare(own, "--mask_suffix=_labels")) == MASKED
    assert "left out 5: names do not end in _labels: p0_color.png" in capsys.readouterr().err


def test_a_mask_among_the_images_is_an_error(own):
    shutil.copy(own / "masks" / "p0.png", own / "images" / "p0_mask.png")
    with pytest.raises(
        CsstError, match=r"1 files are image and mask at once: .*p0_mask.png .split 'train' without a mask"
    ):
        prepare(own)
    (own / "images" / "p0_mask.png").write_bytes(file(mask(2, 1, 0)))  # one that is not among the masks
    (own / "images" / "p5.jpg").unlink()  # the only other image without a mask
    with pytest.raises(
        CsstError, match=r"1 images have the values of masks alone: .*images/p0_mask.png. Most images without a mask"
    ):
        prepare(own)
    (own / "images" / "p0.jpg").write_bytes(file(mask(0, 1, 2), palette=[0, 0, 0, 90, 9, 9, 1, 60, 1]))
    with pytest.raises(CsstError, match=r"p0.jpg: this image is a mask: it shows the classes of its mask .*p0.png"):
        prepare(own)


def test_binarised_scans_are_images(own, capsys):
    """0 and 255 are values of masks, too."""
    for i in range(6):
        (own / "images" / f"p{i}.jpg").unlink()
        (own / "images" / f"p{i}.png").write_bytes(file((photo(i)[..., 0] > 127).astype(np.uint8) * 255))
    data_set = prepare(own)
    assert ids(data_set) == ALL and labelled(data_set) == MASKED
    assert f"warning: split 'train': 5 images have the values of masks alone: {own}/images/p" in capsys.readouterr().err


def test_one_picture_in_two_roles_is_an_error(own):
    (own / "images" / "copy.jpg").write_bytes((own / "images" / "p0.jpg").read_bytes())
    with pytest.raises(CsstError, match=r"1 images are there in two roles: .*(p0|copy).jpg .*without a mask.*keep one"):
        prepare(own)
    (own / "images" / "copy.jpg").unlink()
    (own / "masks" / "p5.png").write_bytes((own / "masks" / "p0.png").read_bytes())  # masks may well be alike
    (own / "images" / "p5.jpg").write_bytes((own / "images" / "p0.jpg").read_bytes())
    (own / "val.txt").write_text("p0\n")
    with pytest.raises(CsstError, match=r"two roles: .*split 'train' with a mask.*split 'val' with a mask"):
        prepare(own, f"--val_list={own / 'val.txt'}")


def test_names_as_systems_write_them(own, monkeypatch):
    (own / "images" / "Cafe\u0301 1.JPG").write_bytes(file(photo(20), "JPEG"))  # as macOS writes it
    (own / "masks" / "Caf\u00e9 1.PNG").write_bytes(file(mask()))
    (own / "val.txt").write_bytes("\ufeffimages/Caf\u00e9 1.JPG masks/Caf\u00e9 1.PNG\r\n".encode("utf-16"))
    monkeypatch.setenv("HOME", str(own))
    data_set = prepare(own, "--val_list=~/val.txt", images="~/images", masks="~/masks")
    assert data_set.ids("val") == ("Caf\u00e9 1",)


def test_other_capitals_and_one_name_in_two_forms_are_told(own):
    (own / "masks" / "P5.png").write_bytes(file(mask()))
    (own / "masks" / "q.png").write_bytes(file(mask()))
    (own / "images" / "site").mkdir()
    (own / "images" / "site" / "q.jpg").write_bytes(file(photo(11), "JPEG"))
    (own / "images" / "e\u0301.jpg").write_bytes(file(photo(7), "JPEG"))
    (own / "images" / "\u00e9.jpg").write_bytes(file(photo(8), "JPEG"))
    with pytest.raises(CsstError) as error:
        prepare(own)
    assert "P5.png: mask without an image" in str(error.value) and "p5.jpg its image? Give both" in str(error.value)
    assert "images/site/q.jpg its image? Put both into sub-directories of the same name" in str(error.value)
    assert "duplicate id '\u00e9'" in str(error.value)


def test_names_that_are_not_utf_8_are_told(own, capsys):
    for kind, suffix in (("images", b".jpg"), ("masks", b".png")):
        name = "p0" + suffix.decode()
        os.rename(own / kind / name, os.fsencode(own / kind) + b"/caf\xe9" + suffix)
    with pytest.raises(CsstError, match=r"images/caf\\xe9.jpg: the file's name is not UTF-8. Rename it"):
        prepare(own)


@pytest.mark.parametrize("name", ["line\nbreak", "tab\tulator", "bell\a"])
def test_names_that_no_list_can_hold_are_told(own, name):
    (own / "images" / f"{name}.jpg").write_bytes(file(photo(7), "JPEG"))
    with pytest.raises(CsstError, match=r"images/(line\\nbreak|tab\\tulator|bell\\x07).jpg': .*Rename it"):
        prepare(own)


def test_directories_whose_names_are_not_utf_8(own):
    odd = os.fsencode(own) + b"/caf\xe9"
    os.rename(own / "images", odd)
    with pytest.raises(CsstError, match=r"--data_dir=.*caf\\xe9/d: its name is not UTF-8, which TFDS needs"):
        prepare(own, f"--data_dir={os.fsdecode(odd)}/d", images=os.fsdecode(odd))
    assert ids(prepare(own, images=os.fsdecode(odd))) == ALL


def test_paths_that_cannot_be(own, capsys):
    for path, said in (
        ("", "argument --images: a path is empty"),
        ("~nobody_here/x", "no home directory for ~nobody_here"),
    ):
        with pytest.raises(SystemExit) as stopped:
            prepare(own, images=path)
        assert stopped.value.code == 2 and said in capsys.readouterr().err
    with pytest.raises(OSError, match="File name too long"):  # `cli.run` prints it
        prepare(own, images="x" * 5000)


def test_masks_of_0_and_255_are_told_to_give_values(own, capsys):
    for path in (own / "masks").iterdir():
        Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.uint8) * 255).save(path)
    prepare(own)
    assert "no pixel of thing, sky. 255 is void; where it is a class, --classes=FILE must say so: `values: [255]`" in (
        capsys.readouterr().out
    )
