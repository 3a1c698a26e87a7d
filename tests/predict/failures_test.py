"""What `python -m csst_jax.predict` refuses, and that one bad input does not spoil the others."""

import os
import re

import pytest
from PIL import Image

from csst_jax import predict
from csst_jax.evaluation import whole_image
from tests.data_prep.breaking import file, photo
from tests.predict.commanded import content, lines, predicted


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


def test_files_of_other_programs_are_not_written_over(run, photos, tmp_path, capsys):
    (tmp_path / "out" / "mask").mkdir(parents=True)
    (tmp_path / "out" / "mask" / "a.png").write_bytes(b"mine")
    predicted(run, photos, tmp_path / "out", status=2)
    assert (
        "outputs of 1 of these names already, made by another program: a. Give another --output, because"
        in capsys.readouterr().err
    )
    assert content(tmp_path / "out") == {"mask/a.png": b"mine"}


def test_pictures_of_other_programs_are_not_written_over_by_frames(run, tmp_path, capsys):
    pytest.importorskip("av", reason="requirements-video.txt")
    (tmp_path / "clip.mp4").write_bytes(b"not read")
    (tmp_path / "out" / "mask" / "clip").mkdir(parents=True)
    (tmp_path / "out" / "mask" / "clip" / "000000.png").write_bytes(b"mine")
    predicted(run, tmp_path / "clip.mp4", tmp_path / "out", "--write=mask", status=2)
    assert "made by another program: clip." in capsys.readouterr().err
    assert content(tmp_path / "out") == {"mask/clip/000000.png": b"mine"}


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


def test_an_overlay_that_is_larger_than_jpeg_takes_is_told(run, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("csst_jax.prediction.written.LARGEST_JPEG_PX", 65)
    predicted(run, photos, tmp_path / "out", status=1)
    assert set(lines(tmp_path / "out")) == {"a", "b/turned", "c"}
    assert "d.tif: the overlay is a JPEG file, of at most 65 px a side; leave it out" in capsys.readouterr().err
    predicted(run, photos, tmp_path / "out", "--write=mask")
    assert lines(tmp_path / "out")["d"]["height"] == 70
