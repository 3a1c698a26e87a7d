"""What `python -m csst_jax.predict` writes, and that it goes on where it was stopped."""

import json
import logging
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import csst_jax
from csst_jax.evaluation import whole_image
from tests.data_prep.breaking import file, photo
from tests.predict.commanded import content, lines, predicted
from tests.prediction import toy_file

ROOT = pathlib.Path(__file__).resolve().parents[2]


def write_video(path, count):
    from csst_jax.prediction import video

    with video.film(path) as add:
        for number in range(count):
            add(number / 10, photo(number, size=(40, 50)))


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


@pytest.mark.slow
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
    assert "programs to compile: 5\n--pad_px=128 would make them 3 (docs/predict.md)" in said
    assert not logging.getLogger("csst_jax").handlers


@pytest.mark.slow
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
    assert len((out / "images.jsonl").read_text().splitlines()) == 4, "an image that is predicted again has one line"
    assert "already" not in capsys.readouterr().out and (out / "confidence" / "a.png").is_file()


@pytest.mark.slow
def test_what_is_there_of_another_request_is_refused_or_overwritten(run, photos, tmp_path, capsys):
    out = tmp_path / "out"
    predicted(run, photos, out)
    whole = content(out)
    for more, said in (
        ([f"--checkpoint={run / 'teacher'}"], r"predictions made with other weights or settings \(weights_sha256: "),
        (
            ["--flip"],
            r"or settings \(flip: false there, true now\). Give another --output, or --overwrite",
        ),
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_overwriting_removes_what_another_request_made_of_other_photos(run, photos, tmp_path):
    out = tmp_path / "out"
    predicted(run, photos, out, "--write=overlay,mask,confidence")
    (out / "mask" / "mine.png").write_bytes(b"mine")
    predicted(run, photos / "a.png", out, "--overwrite")  # the same request: what is there is still right
    assert (out / "mask" / "c.png").is_file()
    predicted(run, photos, out, "--write=overlay,mask,confidence", "--overwrite")
    predicted(run / "teacher", photos / "a.png", out, "--overwrite")
    names = {"overlay/a.jpg", "mask/a.png", "mask/mine.png", "images.jsonl", "prediction.json", "legend.png"}
    assert set(content(out)) == names
    (out / "prediction.json").write_text("{")
    predicted(run, photos / "a.png", out, "--overwrite")
    assert set(content(out)) == names


def test_a_second_run_in_the_photos_own_folder_takes_the_photos_alone(run, photos, capsys):
    for _ in range(2):
        predicted(run, photos, photos)
    assert set(lines(photos)) == {"a", "b/turned", "c", "d"}
    assert "where this command writes its outputs" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_frames_that_a_video_no_longer_has_do_not_stay(run, tmp_path, more):
    pytest.importorskip("av", reason="requirements-video.txt")
    out = tmp_path / "out"
    for count, flags in ((4, ()), (2, more)):
        write_video(tmp_path / "clip.mp4", count)
        predicted(run, tmp_path / "clip.mp4", out, "--write=mask", *flags)
        assert set(lines(out)) == {"clip", *(f"clip/{number:06d}" for number in range(count))}
        assert sorted(path.name for path in out.glob("mask/clip/*")) == [f"{n:06d}.png" for n in range(count)]


@pytest.mark.slow
def test_a_video_becomes_a_film_and_a_picture_of_each_frame(run, photos, tmp_path, capsys, monkeypatch):
    pytest.importorskip("av", reason="requirements-video.txt")
    from csst_jax.prediction import video

    write_video(photos / "clip.mp4", 4)
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


def test_a_file_that_knows_no_classes_is_told(photos, tmp_path, capsys):
    weights = toy_file.write(tmp_path / "plain.safetensors", classes=())
    predicted(weights, photos, tmp_path / "out")
    assert f"{weights} does not name its classes: their numbers stand for names" in capsys.readouterr().out
    assert list(lines(tmp_path / "out")["a"]["areas"]) == ["class 0", "class 1", "class 2", "class 3"]


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
