"""`python -m csst_jax.predict`: what it writes, what it refuses, and that it goes on where it was stopped."""

import json
import logging
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import csst_jax
from csst_jax import predict
from csst_jax.evaluation import whole_image
from csst_jax.models import zoo
from csst_jax.types import CsstError
from tests.data_prep.breaking import file, photo
from tests.prediction import toy_file
from tests.readme_test import problems, python_commands

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "predict.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def toy_in_the_zoo():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workdir whose student and teacher are finished; read-only."""
    workdir = tmp_path_factory.mktemp("run")
    for seed, stage in enumerate(("student", "teacher")):
        toy_file.write(workdir / stage / "model.safetensors", seed=seed)
    return workdir


@pytest.fixture
def photos(tmp_path):
    """Three sizes, two of which are one when padded; one photo lies turned in a folder of its own."""
    where = tmp_path / "photos"
    (where / "b").mkdir(parents=True)
    for name, size in (("a.png", (40, 50)), ("c.bmp", (33, 64)), ("d.tif", (70, 20))):
        (where / name).write_bytes(file(photo(size=size), {"b": "BMP", "t": "TIFF", "p": "PNG"}[name[2]]))
    (where / "b" / "turned.jpg").write_bytes(file(photo(size=(50, 40)), "JPEG", exif=6))
    return where


def predicted(run, photos, output, *more, status=0):
    arguments = [f"--checkpoint={run}", f"--output={output}", "--compilation_cache_dir=", *more]
    assert predict.main([*arguments, *([] if photos is None else [f"--input={photos}"])]) == status


def lines(output):
    return {line["name"]: line for line in map(json.loads, (output / "images.jsonl").read_text().splitlines())}


def content(output):
    return {str(p.relative_to(output)): p.read_bytes() for p in sorted(output.rglob("*")) if p.is_file()}


def test_every_image_has_its_outputs_at_its_size_and_upright(run, photos, tmp_path, capsys):
    out = tmp_path / "out"
    predicted(run, photos, out, "--write=overlay,mask,classes,confidence")
    net = csst_jax.load(run)
    assert set(content(out)) == {
        *(f"overlay/{name}.jpg" for name in ("a", "b/turned", "c", "d")),
        *(f"{kind}/{name}.png" for kind in ("mask", "classes", "confidence") for name in ("a", "b/turned", "c", "d")),
        "images.jsonl", "prediction.json", "legend.png",
    }  # fmt: skip
    for path in (p for p in photos.rglob("*") if p.is_file()):
        name = path.relative_to(photos).with_suffix("")
        found = net.predict(path)
        with Image.open(out / "mask" / f"{name}.png") as mask:
            assert mask.mode == "P" and mask.getpalette()[:12] == [c for rgb in toy_file.PALETTE for c in rgb]
            np.testing.assert_array_equal(np.asarray(mask), found.classes)
        np.testing.assert_array_equal(np.asarray(Image.open(out / "classes" / f"{name}.png")), found.classes)
        shown = np.asarray(Image.open(out / "confidence" / f"{name}.png")).astype(float)
        np.testing.assert_allclose(shown / 255, found.confidence, atol=0.51 / 255)
        overlay = np.asarray(Image.open(out / "overlay" / f"{name}.jpg")).astype(float)
        assert overlay.shape == found.image.shape and np.abs(overlay - found.overlay()).mean() < 40
        line = lines(out)[name.as_posix()]
        assert line["areas"] == found.areas() and line["file"] == str(path)
        assert (line["height"], line["width"]) == found.classes.shape
    assert lines(out)["b/turned"]["width"] == 50
    said = json.loads((out / "prediction.json").read_text())
    assert said["weights_sha256"] == net.description.weights_sha256 and said["pad_px"] == 32
    assert said["classes"][1] == {"number": 1, "name": "car", "colour": [0, 0, 142]}
    told = capsys.readouterr().out
    assert "images: 4, sizes: 3, programs to compile: 2" in told and "images: 4 in" in told and "images/s" in told


def test_images_of_one_padded_size_share_a_program_whatever_their_order(run, tmp_path, monkeypatch, capsys):
    seen = []
    original = whole_image.predict_program
    monkeypatch.setattr(
        whole_image, "predict_program", lambda *a, **o: seen.append(tuple(o["image_size"])) or original(*a, **o)
    )
    for number, size in enumerate([(40, 50), (100, 20), (50, 60), (90, 30), (33, 64), (200, 10), (10, 200)]):
        (tmp_path / f"{number}.png").write_bytes(file(photo(size=size)))
    predicted(run, tmp_path, tmp_path / "out")
    assert seen == [(64, 64), (128, 32), (96, 32), (224, 32), (32, 224)]
    said = capsys.readouterr().out
    assert "programs to compile: 5\n--pad_px=128 would make it 3 (docs/predict.md)" in said
    assert not logging.getLogger("csst_jax").handlers


def test_a_damaged_photo_is_named_and_the_rest_goes_on(run, photos, tmp_path, capsys):
    (photos / "cut.png").write_bytes(file(photo())[:60])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "deep.png").write_bytes(file(Image.new("I;16", (8, 8))))
    (photos / "gone.png").symlink_to(photos / "none")
    (photos / "notes.txt").write_text("x")
    predicted(run, photos, tmp_path / "out", status=1)
    assert set(lines(tmp_path / "out")) == {"a", "b/turned", "c", "d"}
    told = capsys.readouterr().err
    for name, why in (
        ("cut.png", "unreadable or truncated"),
        ("empty.jpg", "0 bytes"),
        ("deep.png", "colour mode I;16"),
    ):
        assert re.search(rf"error: \S*/{name}: .*{why}", told), told
    assert "gone.png: the link leads nowhere" in told and "left out 1: not .png" in told
    assert "error: not predicted, and named above: 4 of 8" in told


def test_it_goes_on_where_it_stopped(run, photos, tmp_path, capsys):
    out = tmp_path / "out"
    predicted(run, photos, out)
    whole, times = content(out), {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    predicted(run, photos, out)
    assert "4 of 4 inputs are predicted already" in capsys.readouterr().out
    assert content(out) == whole

    (out / "mask" / "a.png").unlink()
    text = (out / "images.jsonl").read_text()
    (out / "images.jsonl").write_text(text[:-20])  # killed while it wrote
    last = [json.loads(line)["name"] for line in text.splitlines()][-1]
    (photos / "c.bmp").write_bytes(file(photo(5, size=(33, 64)), "BMP"))
    predicted(run, photos, out)
    assert f"{4 - len({'a', 'c', last})} of 4 inputs are predicted already" in capsys.readouterr().out
    changed = {name for name, data in content(out).items() if data != whole[name]}
    assert changed <= {"mask/c.png", "overlay/c.jpg", "images.jsonl"} and "mask/c.png" in changed
    kept = {p for p in times if p.stem not in ("a", "c", "legend", pathlib.Path(last).name)}
    assert all(p.stat().st_mtime_ns == times[p] for p in kept)

    predicted(run, photos, out, "--write=confidence")
    assert "already" not in capsys.readouterr().out and (out / "confidence" / "a.png").is_file()


def test_what_is_there_of_another_request_is_refused_or_overwritten(run, photos, tmp_path, capsys):
    out = tmp_path / "out"
    predicted(run, photos, out)
    whole = content(out)
    for more, said in (
        ([f"--checkpoint={run / 'teacher'}"], r"predictions of another request \(weights_sha256: "),
        (["--flip"], r"another request \(flip: false there, true now\). Give another --output, or --overwrite"),
        (["--scales=1,2", "--pad_px=64"], r"pad_px: 32 there, 64 now, scales: "),
    ):
        predicted(run, photos, out, *more, status=2)
        assert re.search(said, capsys.readouterr().err)
        assert content(out) == whole
    predicted(run, photos, out, "--flip", "--overwrite")
    assert len(lines(out)) == 4 and content(out) != whole
    shutil.copytree(photos, tmp_path / "others")
    predicted(run, tmp_path / "others", out, "--flip", status=2)
    assert "has outputs of 4 of these names already, made of other files" in capsys.readouterr().err


def test_pictures_of_another_state_of_a_file_or_network_do_not_stay(run, photos, tmp_path):
    out = tmp_path / "out"
    predicted(run, photos, out, "--write=overlay,mask")
    (photos / "a.png").write_bytes(file(photo(9, size=(40, 50))))
    predicted(run, photos, out, "--write=mask")
    assert not (out / "overlay" / "a.jpg").exists() and (out / "overlay" / "c.jpg").exists()
    predicted(run / "teacher", photos, out, "--write=mask", "--overwrite")
    assert not list(out.glob("overlay/*.jpg"))
    predicted(run / "teacher", photos, out, "--write=overlay,mask")
    assert len(list(out.glob("overlay/*.jpg"))) == 3


def test_files_of_other_programs_are_not_written_over(run, photos, tmp_path, capsys):
    (tmp_path / "out" / "mask").mkdir(parents=True)
    (tmp_path / "out" / "mask" / "a.png").write_bytes(b"mine")
    predicted(run, photos, tmp_path / "out", status=2)
    assert (
        "outputs of 1 of these names already, made of other files or by another program: a." in capsys.readouterr().err
    )
    assert content(tmp_path / "out") == {"mask/a.png": b"mine"}


def test_a_second_run_in_the_photos_own_folder_takes_the_photos_alone(run, photos, capsys):
    for _ in range(2):
        predicted(run, photos, photos)
    assert set(lines(photos)) == {"a", "b/turned", "c", "d"}
    assert "written by this command" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more,said",
    [
        (
            ["--write=overlay,masks"],
            "--write=overlay,masks: no kind 'masks'; give some of overlay,mask,classes,confidence",
        ),
        (["--write="], "--write=: nothing to write"),
        (["--scales=0"], "prediction scales are (0.0,)"),
        (["--window_px=-1"], "window_px=-1"),
        (["--window_overlap=1"], "window_overlap=1.0"),
        (["--pad_px=0"], "pad_px=0"),
        (["--output="], "--output"),
        (["--output=gs://bucket/out"], "written to this machine's disks"),
        (["--checkpoint="], "--checkpoint"),
        (["--checkpoint=nowhere"], "nowhere"),
        (["--input=none"], "--input=none: there is no such file"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(run, photos, tmp_path, capsys, more, said):
    predicted(run, photos, tmp_path / "out", *more, status=2)
    told = capsys.readouterr().err
    assert told.startswith("error: ") and said in told and not (tmp_path / "out").exists()


@pytest.mark.parametrize("argument", ["--scales=a", "--pad_px=x", "--pads=3", "stray"])
def test_flags_that_are_none_are_refused(run, photos, tmp_path, argument):
    with pytest.raises(SystemExit) as ended:
        predict.main([f"--checkpoint={run}", f"--output={tmp_path / 'out'}", "--flip", argument, f"--input={photos}"])
    assert ended.value.code == 2


def test_an_output_that_is_a_file_and_a_full_disk(run, photos, tmp_path, capsys, monkeypatch):
    (tmp_path / "out").write_bytes(b"")
    predicted(run, photos, tmp_path / "out", status=2)
    assert "is a file; move that, or give another --output" in capsys.readouterr().err

    def full(*_, **__):
        raise OSError(28, os.strerror(28), "x.png")

    monkeypatch.setattr(Image.Image, "save", full)
    monkeypatch.setattr("csst_jax.evaluation.pictures.save_png", lambda *_: None)
    predicted(run, photos, tmp_path / "more", status=2)
    assert "x.png: No space left on device; free space, then run the same command again" in capsys.readouterr().err


def test_a_size_that_does_not_fit_the_memory_is_named_and_the_others_go_on(run, photos, tmp_path, capsys, monkeypatch):
    import jax

    original = whole_image.WholeImagePredictor._for_size

    def fails(self, size):
        if size == (96, 32):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
        return original(self, size)

    monkeypatch.setattr(whole_image.WholeImagePredictor, "_for_size", fails)
    predicted(run, photos, tmp_path / "out", status=1)
    assert set(lines(tmp_path / "out")) == {"a", "b/turned", "c"}
    assert re.search(r"error: .*d.tif: an image of 32 x 96 px does not fit the memory", capsys.readouterr().err)


def test_names_that_are_too_long_are_told(run, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / f"{'x' * 250}.png").write_bytes(file(photo()))
    (tmp_path / "photos" / "a.png").write_bytes(file(photo()))
    predicted(run, tmp_path / "photos", tmp_path / "out", status=1)
    assert set(lines(tmp_path / "out")) == {"a"}
    assert "File name too long; give the image a shorter name" in capsys.readouterr().err


def test_a_video_becomes_a_film_and_a_picture_of_each_frame(run, photos, tmp_path, capsys, monkeypatch):
    pytest.importorskip("av", reason="requirements-video.txt")
    from csst_jax.prediction import video

    with video.film(photos / "clip.mp4") as add:
        for number in range(4):
            add(number / 10, photo(number, size=(40, 50)))
    out = tmp_path / "out"
    predicted(run, photos, out, "--write=overlay,mask")
    shown = list(video.frames(out / "overlay" / "clip.mp4"))
    assert len(shown) == 4 and shown[0][1].shape == (40, 50, 3) and shown[3][0] == pytest.approx(0.3, abs=1e-3)
    net = csst_jax.load(run)
    for number, (_, pixels) in enumerate(video.frames(photos / "clip.mp4")):
        mask = np.asarray(Image.open(out / "mask" / "clip" / f"{number:06d}.png"))
        np.testing.assert_array_equal(mask, net.predict(pixels).classes)
        assert lines(out)[f"clip/{number:06d}"]["time_s"] == pytest.approx(number / 10, abs=1e-3)
    assert lines(out)["clip"]["frames"] == 4 and "frames: 4 in" in capsys.readouterr().out

    predicted(run, photos, out, "--write=overlay,mask")
    assert "5 of 5 inputs are predicted already" in capsys.readouterr().out
    (out / "mask" / "clip" / "000002.png").unlink()
    predicted(run, photos, out, "--write=overlay,mask")
    assert "4 of 5 inputs are predicted already" in capsys.readouterr().out

    (photos / "clip.mp4").write_bytes((photos / "clip.mp4").read_bytes()[:900])
    (photos / "b" / "none.avi").write_bytes(b"x")
    predicted(run, photos, out, status=1)
    told = capsys.readouterr().err
    assert "clip.mp4: unreadable after 0 frames" in told and "none.avi: unreadable" in told
    assert [p.name for p in (out / "overlay").iterdir() if p.name.endswith(".tmp")] == []


def test_an_overlay_that_is_larger_than_jpeg_takes_is_told(run, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("csst_jax.prediction.written.LARGEST_JPEG_PX", 65)
    predicted(run, photos, tmp_path / "out", status=1)
    assert set(lines(tmp_path / "out")) == {"a", "b/turned", "c"}
    assert "d.tif: the overlay is a JPEG file, of at most 65 px a side; leave it out" in capsys.readouterr().err
    predicted(run, photos, tmp_path / "out", "--write=mask")
    assert lines(tmp_path / "out")["d"]["height"] == 70


def test_a_file_that_knows_no_classes_is_told(photos, tmp_path, capsys):
    weights = toy_file.write(tmp_path / "plain.safetensors", classes=())
    predicted(weights, photos, tmp_path / "out")
    assert f"{weights} does not know its classes: numbers are their names" in capsys.readouterr().out
    assert list(lines(tmp_path / "out")["a"]["areas"]) == ["class 0", "class 1", "class 2", "class 3"]


@pytest.fixture
def as_on_the_page(run, tmp_path, monkeypatch):
    """A directory with what docs/predict.md speaks of."""
    shutil.copytree(run, tmp_path / "runs" / "mine")
    for name in ("photos/a.jpg", "photos/below/b.jpg", "more/photo.tif", "photo.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(file(photo(), "TIFF" if name.endswith("f") else "JPEG"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_of_the_page_runs(as_on_the_page):
    assert problems(PAGE) == []
    commands = [arguments for module, arguments in python_commands(PAGE) if module == "csst_jax.predict"]
    assert len(commands) == 2
    for arguments in commands:
        assert predict.main([*arguments, "--compilation_cache_dir="]) == 0
    assert set(lines(as_on_the_page / "seen")) == {"a", "below/b", "photo"}
    for flag in re.findall(r"^\| `(--[^`]+)` \|", PAGE, re.M):
        assert predict.main([*shlex.split(flag), *commands[0], "--overwrite", "--compilation_cache_dir="]) == 0


def test_the_python_of_the_page_runs(as_on_the_page):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    found = {}
    exec(code, found)
    assert (as_on_the_page / "mask.png").is_file() and found["found"].classes.shape == (12, 16)
    assert "csst_jax.types.CsstError" in PAGE and issubclass(CsstError, Exception)


@pytest.mark.slow
@pytest.mark.essential("prediction of one's own images")
def test_the_command_line(run, photos, tmp_path):
    program = f"""{toy_file.WITH_TOY}
sys.argv = ["predict", "--checkpoint={run}", "--input={photos}", "--output={tmp_path / "out"}",
            "--compilation_cache_dir="]
runpy.run_module("csst_jax.predict", run_name="__main__", alter_sys=True)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(lines(tmp_path / "out")) == {"a", "b/turned", "c", "d"}
    assert f"mask       {tmp_path / 'out' / 'mask'}" in done.stdout
