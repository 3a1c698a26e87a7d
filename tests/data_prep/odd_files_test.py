"""Three hundred odd files through preparation, doctor and predict: each is used or refused by name, no traceback."""

import contextlib
import functools
import os
import shutil
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from csst_jax import predict
from csst_jax.models import zoo
from csst_jax.prediction import loaded
from csst_jax.types import CsstError
from data_prep import check, cli, examination, folder, raw, stored
from data_prep.label_map import LabelMap
from tests.data_prep.breaking import file, mask, photo
from tests.prediction import toy_file

MODES = {  # of Pillow, by the formats that take them
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("L", "P", "RGB"),
    "PPM": ("1", "L", "RGB", "I;16"),
    "JPEG2000": ("L", "RGB", "RGBA"),
    "ICO": ("RGBA",),
    "TGA": ("L", "RGB"),
    "PDF": ("RGB",),
    "AVIF": ("RGB",),
}
SIZES = ((12, 16), (1, 1), (1, 700), (700, 1), (16, 12), (0, 0), (3, 5), (257, 300))
SUFFIXES = (".png", ".jpg", ".JPEG", ".tif", ".webp", ".bmp", ".gif", "", ".png.png")
NAMES = (
    "a",
    "with space",
    "caf\u00e9",
    "cafe\u0301",
    "-rf",
    "a;b&c",
    "\u56fe",
    "x" * 200,
    "%s{0}",
    "line\nbreak",
    "a\\b",
    "'q\"",
    "~",
    "#c",
)


def picture(rng):
    """Bytes of a picture of any format, mode, size and metadata; or of none where Pillow cannot write it."""
    usual = rng.random() < 0.6
    format = str(rng.choice(list(MODES)[: 5 if usual else None]))
    mode = str(rng.choice(MODES[format])) if not usual or rng.random() < 0.3 else "RGB"
    height, width = SIZES[0] if rng.random() < 0.5 else SIZES[rng.integers(len(SIZES))]
    values = mask if not usual and rng.random() < 0.5 else photo
    options = {}
    if rng.random() < 0.4:
        exif = Image.Exif()
        exif[0x0112] = int(rng.integers(0, 12))
        exif[0x010E] = "x" * int(rng.integers(0, 400))
        options["exif"] = exif
    if rng.random() < 0.2 and format == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("comment", "y" * int(rng.integers(1, 4_000_000)), zip=True)
    if rng.random() < 0.1:
        options["icc_profile"] = rng.bytes(50)
    if rng.random() < 0.1:
        options |= {"save_all": True, "append_images": [Image.fromarray(photo(1))]}
    try:
        whole = Image.fromarray(values(size=(max(height, 1), max(width, 1)))).convert("RGB").convert(mode)
        return file(whole.resize((width, height)) if width else Image.new(mode, (0, 0)), format, **options)
    except Exception:  # not every format can hold every mode, size and metadata
        return b""


def spoilt(rng, data):
    """The same, damaged: cut off, with changed bytes, of claimed size, or with something before or behind."""
    kind = rng.integers(8)
    if kind == 0:
        return data[: rng.integers(0, len(data) + 1)]
    if kind == 1:
        changed = bytearray(data)
        for at in rng.integers(0, len(data), 1 + len(data) // 50) if data else ():
            changed[at] = rng.integers(256)
        return bytes(changed)
    if kind == 2 and data[:4] == b"\x89PNG":
        header = data[12:16] + struct.pack(">II", *rng.choice([0, 1, 16, 70_000, 2**31 - 1], 2).tolist()) + data[24:29]
        return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    if kind == 3 and len(data) > 40:  # somewhere in the metadata
        at = int(rng.integers(2, 40))
        return data[:at] + rng.bytes(4) + data[at + 4 :]
    if kind == 4:
        return data + rng.bytes(30)
    return data


def odd_file(rng, directory):
    """Writes one; its name may be odd as well."""
    name = str(rng.choice(["p0", "p1", "p2"])) if rng.random() < 0.5 else NAMES[rng.integers(len(NAMES))]
    path = directory / f"{name}{SUFFIXES[0] if rng.random() < 0.5 else SUFFIXES[rng.integers(len(SUFFIXES))]}"
    kind = rng.integers(12)
    with contextlib.suppress(OSError):
        if kind == 0:
            path.mkdir()
        elif kind == 1:
            path.symlink_to(str(rng.choice(["nowhere", ".", "..", "p1.png"])))
        elif kind == 2:
            path = path.with_name(os.fsdecode(b"caf\xe9" + bytes([rng.integers(128, 256)]) + b".png"))
            path.write_bytes(picture(rng))
        elif kind == 3:
            path.write_bytes(rng.bytes(int(rng.integers(0, 2000))))
        else:
            path.write_bytes(spoilt(rng, picture(rng)))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    where = tmp_path_factory.mktemp("sound")
    for kind in ("images", "masks"):
        (where / kind).mkdir()
    for i in range(3):
        (where / "images" / f"p{i}.png").write_bytes(file(photo(i)))
        (where / "masks" / f"p{i}.png").write_bytes(file(mask(i % 2, 1, 2)))
    return where


def run(main, arguments, monkeypatch):
    """The status of a command; whatever it raises beside what `cli.run` prints fails the test."""
    monkeypatch.setattr("sys.argv", ["command", *arguments])
    with pytest.raises(SystemExit) as stopped, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        cli.run(main)
    assert not [one for one in warned if "PIL" in one.filename], [str(one.message) for one in warned]
    return stopped.value.code


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A network, whose programs are compiled once for all files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
        path = toy_file.write(tmp_path_factory.mktemp("weights") / "toy.safetensors")
        patch.setattr(loaded, "Loaded", functools.cache(loaded.Loaded))
        yield path


def predicted(weights, where):
    """The status of predicting all that lies in a directory; whatever is raised fails the test."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        flags = [f"--checkpoint={weights}", f"--input={where}", f"--output={where.parent / 'predicted'}"]
        status = predict.main([*flags, "--write=overlay,mask,classes,confidence", "--compilation_cache_dir="])
    assert not [one for one in warned if "PIL" in one.filename], [str(one.message) for one in warned]
    return status


@pytest.mark.slow
@pytest.mark.parametrize("seed", [pytest.param(0, marks=pytest.mark.essential("odd files")), *range(1, 10)])
def test_no_traceback(seed, sound, weights, tmp_path, monkeypatch, capfd):
    used = whole = 0
    monkeypatch.setattr("sys.stdout.reconfigure", lambda **_: None, raising=False)  # pytest's
    for number in range(30):
        rng = np.random.default_rng((seed, number))
        where = tmp_path / str(number)
        shutil.copytree(sound, where)
        odd_file(rng, where / str(rng.choice(["images", "masks"])))
        flags = [f"--{kind}={where / kind}" for kind in ("images", "masks")]
        more = ["--classes=ground,thing,sky", "--name=mine", "--num_workers=1", f"--data_dir={where / 'data'}"]
        status = run(folder.main, [*flags, *more], monkeypatch)
        assert status in (None, 0, 2), (seed, number)
        if status != 2:
            used += 1
            assert run(check.main, [f"--data_dir={where / 'data'}", "--num_workers=1"], monkeypatch) in (0, 1)
        told = capfd.readouterr()
        assert "Traceback" not in told.out + told.err and "Warning:" not in told.err, (seed, number, told.err)
        if status == 2:
            assert str(where) in told.err, (seed, number, told.err)
        for kind in ("images", "masks"):
            status = predicted(weights, where / kind)
            told = capfd.readouterr()
            assert status in (0, 1, 2) and "Traceback" not in told.out + told.err, (seed, number, told.err)
            assert (status == 0) or str(where) in told.err, (seed, number, told.err)
            whole += status == 0
            lines = (where / "predicted" / "images.jsonl").read_text().splitlines() if status < 2 else []
            assert status == 2 or len(lines) >= 2, (seed, number, "the sound files are predicted")
            shutil.rmtree(where / "predicted", ignore_errors=True)
        shutil.rmtree(where)
    assert 30 <= whole <= 59, "odd files are neither all predicted nor all refused"
    assert 1 <= used <= 29, "odd files are neither all used nor all refused"


def test_what_is_read_is_stored_and_examined(tmp_path):
    """Without the walk through directories: more files, and what is read is what training can decode."""
    read = 0
    for number in range(600):
        rng = np.random.default_rng((99, number))
        (tmp_path / "a").write_bytes(spoilt(rng, picture(rng)))
        label = number % 3 == 0
        pair = raw.RawPair("a", tmp_path / ("b" if label else "a"), tmp_path / "a" if label else None)
        (tmp_path / "b").write_bytes(file(photo()))
        try:
            found = stored.store_form(raw.read_pair(pair, LabelMap.identity(3)), 3, stored.STORAGES[number % 3])
        except (raw.Bad, CsstError) as bad:
            assert str(tmp_path) in str(bad) or str(bad).startswith("a: "), (number, bad)
            continue
        read += 1
        told = examination.examine(examination.Stored("a", found.image, found.label, found.labelled), 3)
        assert not told.errors and told.size is not None, (number, told)
    assert 100 < read < 400
