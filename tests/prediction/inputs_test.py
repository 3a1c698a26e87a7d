"""Which files an input means; what is left out is told, and what is no input is refused."""

import os

import pytest

from csst_jax.prediction import video
from csst_jax.prediction.inputs import find_photos
from csst_jax.types import CsstError
from tests.data_prep.breaking import file, photo


@pytest.fixture
def photos(tmp_path):
    """Photos in a folder and one below it, beside other files."""
    where = tmp_path / "photos"
    (where / "site A").mkdir(parents=True)
    for name in ("a.jpg", "B.JPEG", "site A/c.tif", "site A/d.webp", "site A/cafe\u0301.bmp", "e.png", "f.tiff"):
        (where / name).write_bytes(file(photo()))
    (where / "notes.txt").write_text("x")
    (where / ".hidden.png").write_bytes(b"")
    return where


def found(*given, own=(), problems=None):
    return {
        photo.name: photo.path
        for photo in find_photos([str(g) for g in given], own, [] if problems is None else problems)
    }


def test_a_folder_is_taken_with_what_lies_below(photos, capsys):
    names = found(photos)
    assert set(names) == {"a", "B", "site A/c", "site A/d", "site A/caf\u00e9", "e", "f"}
    assert names["site A/caf\u00e9"].name == "cafe\u0301.bmp"
    said = capsys.readouterr().err
    assert f"--input={photos}: left out 1: hidden: .hidden.png" in said
    assert "left out 1: not .png or .jpg" in said and ": notes.txt" in said


def test_a_file_is_called_by_its_name(photos):
    assert found(photos / "site A" / "c.tif") == {"c": photos / "site A" / "c.tif"}


@pytest.mark.parametrize(
    "pattern,names",
    [
        ("*.jpg", {"a"}),
        ("*", {"a", "B", "e", "f"}),
        ("**/*.*", {"a", "B", "e", "f", "site A/c", "site A/d", "site A/caf\u00e9"}),
        ("s*/c.*", {"site A/c"}),
    ],
)
def test_a_pattern_is_taken_from_its_fixed_folder_on(photos, pattern, names, capsys):
    assert set(found(photos / pattern)) == names
    if pattern == "*":
        assert "left out 1: a folder; /** takes what lies below: site A" in capsys.readouterr().err


def test_a_folder_that_is_there_is_no_pattern(photos):
    photos.rename(photos.parent / "photos [2024]")
    assert set(found(photos.parent / "photos [2024]" / "*.jpg")) == {"a"}


def test_a_name_with_wildcards_that_is_there_is_that_file(photos):
    (photos / "a[1].png").write_bytes(file(photo()))
    assert set(found(photos / "a[1].png")) == {"a[1]"}


def test_an_image_that_is_given_twice_counts_once(photos, capsys):
    assert len(found(photos, photos / "a.jpg")) == 7
    assert "left out 1: given twice: a.jpg" in capsys.readouterr().err


def test_two_images_of_one_output_are_refused(photos):
    (photos / "a.png").write_bytes(file(photo()))
    with pytest.raises(CsstError, match=r"1 images would write over another's outputs: .*a.jpg and .*a.png. Rename"):
        found(photos)
    with pytest.raises(CsstError, match="1 images would write over"):
        found(photos / "*.jpg", photos / "a.png")


def test_an_image_that_is_called_as_a_frame_of_a_video_is_refused(photos, monkeypatch):
    monkeypatch.setattr(video.importlib.util, "find_spec", lambda _: True)
    (photos / "clip.mp4").write_bytes(b"")
    (photos / "clip").mkdir()
    (photos / "clip" / "photo.png").write_bytes(file(photo()))
    assert len(found(photos)) == 9
    (photos / "clip" / "000000.png").write_bytes(file(photo()))
    with pytest.raises(CsstError, match=r"1 images would write over another's outputs: .*clip.mp4 and .*000000.png"):
        found(photos)


def test_outputs_are_no_inputs(photos, capsys):
    (photos / "mask").mkdir()
    (photos / "mask" / "a.png").write_bytes(file(photo()))
    assert len(found(photos, own=[photos / "mask"])) == 7
    assert "left out 1: where this command writes its outputs: mask/a.png" in capsys.readouterr().err


def test_outputs_of_an_earlier_command_are_no_inputs(photos, capsys):
    for name in ("mask/a.png", "overlay/site A/c.jpg", "legend.png", "more.png"):
        for where in (photos / "site A" / "seen", photos / "old"):
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            (where / name).write_bytes(file(photo()))
    for name in ("prediction.json", "images.jsonl"):
        (photos / "site A" / "seen" / name).write_text("")
    names = set(found(photos))
    assert "site A/seen/more" in names and len(names) == 7 + 1 + 4
    assert "left out 5: written by csst predict: site A/seen/" in capsys.readouterr().err
    # What is asked for itself is predicted.
    assert set(found(photos / "site A" / "seen" / "mask")) == {"a"}
    assert set(found(photos / "site A" / "seen" / "legend.png")) == {"legend"}


def test_links_and_pipes(photos, capsys):
    (photos / "nowhere.png").symlink_to(photos / "none.png")
    (photos / "again").symlink_to(photos, target_is_directory=True)
    os.mkfifo(photos / "pipe.png")
    problems = []
    assert len(found(photos, problems=problems)) == 7
    assert len(problems) == 2 and "leads nowhere" in problems[1] and "leads back" in problems[0]
    assert "left out 1: no file: a link to nowhere, or a pipe: pipe.png" in capsys.readouterr().err
    assert len(found(photos / "*.png")) == 1


@pytest.mark.parametrize(
    "given,said",
    [
        ("none.jpg", "--input=none.jpg: there is no such file or folder"),
        ("none/*.jpg", r"--input=none/\*.jpg: no .png or .jpg"),
        ("", "--input=: a path is empty"),
        ("gs://bucket/a.jpg", "images are read from this machine's disks"),
        ("x" * 5000, "File name too long; give a file"),
        ("~nobody_here/a.jpg", "there is no home directory for ~nobody_here"),
    ],
)
def test_what_is_no_input_is_refused(given, said):
    with pytest.raises(CsstError, match=said):
        found(given)


def test_a_folder_without_images_is_refused(tmp_path, capsys):
    (tmp_path / "a.gif").write_bytes(file(photo(), "GIF"))
    with pytest.raises(CsstError, match=r"no .png or .* file is there"):
        found(tmp_path)
    assert "left out 1: not .png" in capsys.readouterr().err


def test_without_a_reader_a_video_is_refused_or_left_out_with_the_command(photos, capsys, monkeypatch):
    (photos / "clip.MP4").write_bytes(b"")
    monkeypatch.setattr(video.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CsstError, match=r"clip.MP4 is a video, which needs PyAV: `pip install -r req"):
        found(photos / "clip.MP4")
    assert len(found(photos)) == 7
    assert "left out 1: a video, which needs PyAV: `pip install -r" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(video.importlib.util, "find_spec", lambda _: True)
    assert found(photos / "*.MP4") == {"clip": photos / "clip.MP4"}
