"""Submissions: what is written is accepted, and what a server would score zero is refused, with the reason."""

import dataclasses
import io
import pathlib
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.descriptions import BDD100K, CAMVID, CITYSCAPES, VOC2012
from csst_jax.evaluation import submission
from csst_jax.evaluation.submission import FORMATS
from csst_jax.types import CsstError, DatasetDescription

MAPILLARY = DatasetDescription("mapillary_v1_2", ("bird", "curb", "road"), ((1, 2, 3),) * 3, (0, 2, 13))
DATA = {
    "cityscapes": CITYSCAPES,
    "voc_comp5": VOC2012,
    "voc_comp6": VOC2012,
    "bdd100k": BDD100K,
    "mapillary": MAPILLARY,
}
SIZE = (12, 20)
IDS = ("berlin_000000_000019", "berlin_000001_000019", "sankt-ingbert_000000_000019")


def predictions(data):
    return np.random.default_rng(0).integers(0, len(data.classes), (len(IDS), *SIZE)).astype(np.uint8)


def write(tmp_path, name, changed=None):
    """An archive of three images; `changed` gets the directory with its files before all that is there is packed."""
    file_format, data = submission.find(name), DATA[name]
    files, archive = tmp_path / "files", tmp_path / f"submission{submission.find(name).suffix}"
    for image_id, classes in zip(IDS, predictions(data), strict=True):
        submission.write_image(files, file_format, data, image_id, classes)
    if changed is None:
        submission.pack(files, file_format, archive, IDS)
        return archive
    changed(files / file_format.folder)
    kind = "zip" if file_format.suffix == ".zip" else "gztar"
    return shutil.make_archive(tmp_path / "changed", kind, files)


def check(archive, name, sizes=None):
    submission.require_fit(pathlib.Path(archive), FORMATS[name], DATA[name], sizes or dict.fromkeys(IDS, SIZE))


def save(path, array, mode=None):
    Image.fromarray(np.asarray(array, np.uint8), mode).save(path)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_accepted_and_holds_the_official_numbers(tmp_path, name):
    archive = write(tmp_path, name)
    check(archive, name)
    first = predictions(DATA[name])[0]
    folder = f"results/VOC2012/Segmentation/comp{name[-1]}_test_cls/" if name.startswith("voc") else ""
    member = f"{folder}{IDS[0]}.png"
    if folder:
        with tarfile.open(archive, "r:gz") as tar:
            assert sorted(tar.getnames()) == [f"{folder}{image_id}.png" for image_id in IDS]
            image = Image.open(io.BytesIO(tar.extractfile(member).read()))
        assert image.mode == "P"
        colours = np.array(VOC2012.palette, np.uint8)[first]
        np.testing.assert_array_equal(image.convert("RGB"), colours)
    else:
        with zipfile.ZipFile(archive) as file:
            assert sorted(file.namelist()) == [f"{image_id}.png" for image_id in IDS]
            image = Image.open(io.BytesIO(file.read(member)))
        assert image.mode == "L"
    official = {"cityscapes": CITYSCAPES.official_ids, "mapillary": (0, 2, 13)}.get(name, range(21))
    np.testing.assert_array_equal(image, np.array(official)[first])


def train_ids(folder):
    save(folder / f"{IDS[0]}.png", predictions(CITYSCAPES)[0])


def label_ids(folder):
    save(folder / f"{IDS[0]}.png", np.array(CITYSCAPES.official_ids)[predictions(BDD100K)[0]])


@pytest.mark.parametrize(
    "name,changed,message",
    [
        ("cityscapes", train_ids, rf"the server wants labelIds \(road is 7.*not trainIds: {IDS[0]}.png \(0, 1, 2, 3"),
        ("bdd100k", label_ids, rf"the server wants trainIds \(road is 0.*not labelIds: {IDS[0]}.png \(19, 20"),
        ("cityscapes", lambda d: save(d / f"{IDS[1]}.png", np.full(SIZE, 255)), f"no class.*{IDS[1]}.png \\(255"),
        ("cityscapes", lambda d: (d / f"{IDS[2]}.png").unlink(), f"1 images without a prediction: {IDS[2]}"),
        ("cityscapes", lambda d: save(d / f"{IDS[0]}.png", np.full((6, 10), 7)), r"another size .*6x10, not \(12, 20"),
        ("cityscapes", lambda d: save(d / f"{IDS[0]}.png", np.full((*SIZE, 3), 7)), "one channel of 8 bits.*mode RGB"),
        ("cityscapes", lambda d: (d / f"{IDS[0]}.png").rename(d / "aachen.png"), "belong to no image.*aachen.png"),
        ("cityscapes", lambda d: save(d / f"{IDS[0]}_again.png", np.full(SIZE, 7)), "second predictions of an image"),
        ("bdd100k", lambda d: (d / f"{IDS[0]}.png").rename(d / f"{IDS[0]}_pred.png"), f"no image.*{IDS[0]}_pred.png"),
        ("voc_comp6", lambda d: save(d / f"{IDS[0]}.png", np.zeros(SIZE)), "indexed PNGs of 8 bits .*mode L"),
        ("voc_comp5", lambda d: d.rename(d.parent / "comp6_test_cls"), "3 files that belong to no image, or lie in an"),
        ("mapillary", lambda d: (d / f"{IDS[0]}.png").write_bytes(b"text"), f"no readable PNG: {IDS[0]}.png"),
        ("mapillary", lambda d: save(d / f"{IDS[0]}.png", np.ones(SIZE)), r"positions in the labels .*png \(1\)"),
    ],
)
def test_what_scores_zero_is_refused(tmp_path, name, changed, message):
    archive = write(tmp_path, name, changed)
    with pytest.raises(CsstError, match=f"(?s)cannot be submitted as it is:.*{message}"):
        check(archive, name)


def test_an_image_that_would_fill_the_memory_is_refused_by_its_header(tmp_path, monkeypatch):
    archive = write(tmp_path, "cityscapes", lambda folder: None)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIZE[0] * SIZE[1] // 2 - 1)  # Pillow refuses twice as many
    with pytest.raises(CsstError, match="(?s)no readable PNG.*exceeds limit"):
        check(archive, "cityscapes")


def test_names_may_go_on_and_lie_in_folders_where_the_server_looks_for_their_beginning(tmp_path):
    def moved(folder):
        (folder / "berlin").mkdir()
        (folder / f"{IDS[0]}.png").rename(folder / "berlin" / f"{IDS[0]}_gtFine_labelIds.png")

    check(write(tmp_path, "cityscapes", moved), "cityscapes")


def test_other_classes_and_names_are_refused_before_anything_is_written(tmp_path):
    classes = np.zeros(SIZE, np.uint8)
    for data in (CAMVID, dataclasses.replace(CITYSCAPES, name="shuffled", classes=CITYSCAPES.classes[::-1])):
        with pytest.raises(CsstError, match="does not have the classes of 'cityscapes' in their order"):
            submission.write_image(tmp_path, FORMATS["cityscapes"], data, IDS[0], classes)
    with pytest.raises(CsstError, match="image id 'frankfurt_1' is not what the server looks for"):
        submission.write_image(tmp_path, FORMATS["cityscapes"], CITYSCAPES, "frankfurt_1", classes)
    assert not list(tmp_path.iterdir())
    with pytest.raises(CsstError, match="unknown submission format 'kitti'; known are: cityscapes, voc_comp5"):
        submission.find("kitti")


def test_archives_that_are_none_are_refused(tmp_path):
    archive = tmp_path / "a.zip"
    for content in (b"", b"hello", write(tmp_path, "voc_comp6").read_bytes()[:40]):
        archive.write_bytes(content)
        with pytest.raises(CsstError, match="no readable zip or tar"):
            check(archive, "cityscapes")
    with pytest.raises(CsstError, match="no readable zip or tar"):
        check(tmp_path / "none.zip", "cityscapes")


@pytest.mark.parametrize("seed", range(20))
def test_damaged_archives_end_in_no_traceback(tmp_path, seed):
    rng = np.random.default_rng(seed)
    stream = io.BytesIO()
    if seed % 2:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.png", rng.bytes(500))
    else:
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            archive.addfile(tarfile.TarInfo("a.png"))
    data = bytearray(stream.getvalue())
    for at in rng.integers(0, len(data), 5):
        data[at] = rng.integers(256)
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(CsstError, match=r"x.zip(: no readable zip or tar| is not fit)"):
        submission.require_fit(
            tmp_path / "x.zip", submission.find("cityscapes"), CITYSCAPES, {"a_000000_000000": (4, 4)}
        )
