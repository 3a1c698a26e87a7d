"""CamVid in the SegNet layout: a made-up copy, and the real one where it is at hand."""

import io
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.descriptions import CAMVID
from csst_jax.data.store import DataSet
from csst_jax.types import CsstError
from data_prep import camvid
from data_prep.raw import RawDataSet, RawPair

REPOSITORY = pathlib.Path(__file__).parents[2]
REAL = REPOSITORY.parent / "shared" / "camvid"


@pytest.fixture
def source(tmp_path):
    """Four training and two validation pairs, listed with and without a foreign prefix."""
    rng = np.random.default_rng(0)
    root = tmp_path / "raw"
    for split, count in (("train", 4), ("val", 2)):
        (root / split).mkdir(parents=True)
        (root / f"{split}annot").mkdir()
        lines = []
        for i in reversed(range(count)):
            name = f"0006R0_f{i:05d}.png"
            Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).save(root / split / name)
            Image.fromarray(rng.integers(0, 12, (12, 16)).astype(np.uint8)).save(root / f"{split}annot" / name)
            prefix = "/SegNet/CamVid/" if i % 2 else ""
            lines.append(f"{prefix}{split}/{name} {prefix}{split}annot/{name}\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root


def run(source, data_dir):
    camvid.main([f"--source_dir={source}", f"--data_dir={data_dir}", "--num_workers=1"])
    return DataSet.open(data_dir / "camvid")


def test_fake_camvid_is_stored_with_void_mapped(source, tmp_path):
    data_set = run(source, tmp_path / "data")
    assert data_set.description == CAMVID
    assert data_set.splits == ("train", "val")
    assert data_set.ids("train") == tuple(f"0006R0_f{i:05d}" for i in range(4))
    assert data_set.labelled_ids("train") == data_set.ids("train")
    for split in data_set.splits:
        for record, image_id in enumerate(data_set.ids(split)):
            assert data_set.reader(split).image_bytes(record) == (source / split / f"{image_id}.png").read_bytes()
            raw_mask = np.asarray(Image.open(source / f"{split}annot" / f"{image_id}.png"))
            stored = np.asarray(Image.open(io.BytesIO(data_set.reader(split).label_bytes(record))))
            np.testing.assert_array_equal(stored, np.where(raw_mask == 11, 255, raw_mask))


def test_optional_test_split(source, tmp_path):
    (source / "test.txt").write_text((source / "val.txt").read_text())
    assert run(source, tmp_path / "data").splits == ("train", "val", "test")


def test_bad_files_of_all_splits_are_reported_together_and_nothing_is_stored(source, tmp_path):
    Image.fromarray(np.full((12, 16), 12, np.uint8)).save(source / "trainannot" / "0006R0_f00001.png")
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(source / "valannot" / "0006R0_f00000.png")
    with pytest.raises(CsstError) as error:
        run(source, tmp_path / "data")
    assert re.search(
        r"(?s)2 problems.*f00001\.png: label value 12 \(192 pixels\).*void \(11, 255\).*valannot.*4x3", str(error.value)
    )
    with pytest.raises(CsstError, match="holds no prepared data set"):
        DataSet.open(tmp_path / "data")


def test_bad_lists(source, tmp_path):
    (source / "train.txt").write_text("train/a.png\n")
    (source / "val.txt").write_text("\n")
    (source / "trainannot" / "0006R0_f00000.png").unlink()
    with pytest.raises(CsstError) as error:
        run(source, tmp_path / "data")
    assert "train.txt: line 'train/a.png' has 1 words" in str(error.value)
    assert "split 'val' is empty" in str(error.value)
    (source / "val.txt").unlink()
    with pytest.raises(CsstError, match="val.txt: cannot be read|unreadable"):
        run(source, tmp_path / "data")
    with pytest.raises(CsstError, match="--source_dir=.*nowhere does not exist"):
        run(source / "nowhere", tmp_path / "data")


@pytest.mark.slow
@pytest.mark.essential("preparing, as a command")
def test_command_line(source, tmp_path):
    def command():
        arguments = [f"--source_dir={source}", f"--data_dir={tmp_path / 'data'}"]
        return subprocess.run(
            [sys.executable, "-m", "data_prep.camvid", *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=300,
        )

    (source / "trainannot" / "0006R0_f00000.png").rename(tmp_path / "away.png")
    failed = command()
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ") and "missing mask" in failed.stderr
    assert "Traceback" not in failed.stderr
    (tmp_path / "away.png").rename(source / "trainannot" / "0006R0_f00000.png")
    done = command()
    progress = r"(?m)^camvid: (\d+ of \d+ images|.* …( \(.*\))?)\n"  # on a slow machine
    assert (done.returncode, re.sub(progress, "", done.stderr)) == (0, ""), done.stderr
    assert "stored in" in done.stdout
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*") if path.is_file()}
    again = command()
    assert again.returncode == 0 and "nothing to do" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in files} == files


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real CamVid is not beside the repository (../shared/camvid)")
def test_real_camvid(tmp_path):
    data_set = run(REAL, tmp_path)
    assert (len(data_set.ids("train")), len(data_set.ids("val"))) == (367, 101)
    index = data_set.centroids("train")
    share = [index.area[index.klass == klass].sum() / (367 * 480 * 360) for klass in range(11)]
    published = [0.17, 0.23, 0.01, 0.32, 0.04, 0.10, 0.01, 0.01, 0.06, 0.006, 0.003]
    np.testing.assert_allclose(share, published, atol=0.0051)


@pytest.mark.parametrize(
    "chosen,train,val",
    [
        ("target:0001TP", ["0001TP_1", "0001TP_2"], ["0001TP_3", "0001TP_4", "0001TP_5"]),
        ("source:0001TP", ["0016E5_1", "0016E5_2"], ["0016E5_9"]),
        ("held_out:0016E5", ["0001TP_1", "0001TP_2", "0001TP_3", "0001TP_4", "0001TP_5", "0016E5_1"], ["0016E5_2"]),
    ],
)
def test_parts_are_of_some_drives(chosen, train, val):
    listed = {
        "train": [f"0016E5_{i}" for i in (2, 1)] + [f"0001TP_{i}" for i in (4, 5, 1, 3, 2)],
        "val": ["0016E5_9"],
        "test": ["Seq05VD_1"],
    }
    splits = {s: [RawPair(i, pathlib.Path(i), pathlib.Path(i)) for i in ids] for s, ids in listed.items()}
    found = camvid.part(RawDataSet(CAMVID, camvid.SEGNET, splits), chosen)
    assert {s: [pair.id for pair in pairs] for s, pairs in found.splits.items()} == {"train": train, "val": val}
    assert found.description.name == f"camvid_{chosen.lower().replace(':', '_')}"
    assert found.description.classes == CAMVID.classes


@pytest.mark.parametrize("chosen", ["target", "target:0006R0", "half:0016E5"])
def test_a_part_that_there_is_not_is_told_with_those_that_there_are(source, tmp_path, chosen):
    (source / "train.txt").write_text((source / "train.txt").read_text().replace("0006R0", "0016E5"))
    with pytest.raises(CsstError, match="give KIND:DRIVE, one of target, other, source, held_out and one of 0016E5"):
        camvid.main([f"--source_dir={source}", f"--data_dir={tmp_path}", f"--part={chosen}"])


def test_a_target_of_other_classes_has_categories():
    pairs = [RawPair(f"0001TP_{i}", pathlib.Path("i"), pathlib.Path("m")) for i in range(2)]
    splits = {"train": pairs, "val": pairs}
    values = camvid.part(RawDataSet(CAMVID, camvid.SEGNET, splits), "other:0001TP")
    assert values.description.classes == ("flat", "construction", "object", "nature", "sky", "human", "vehicle")
    label, unknown = values.labels.of_values(np.arange(12)[None])
    assert label.tolist() == [[4, 1, 2, 0, 0, 3, 2, 1, 6, 5, 6, 255]] and not unknown
    colours = camvid.part(RawDataSet(CAMVID, camvid.ORIGINAL, splits), "other:0001TP").labels.colours
    assert colours[128, 64, 128] == colours[0, 0, 192] == 0 and colours[0, 0, 0] == 255
    assert [pair.id for pair in values.splits["val"]] == ["0001TP_1"]
