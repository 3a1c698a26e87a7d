"""Videos: frames upright and in order, films, and what is no video."""

import pathlib
import struct

import cv2
import numpy as np
import pytest

from csst_jax.data.picture_file import Bad
from csst_jax.prediction import video

av = pytest.importorskip("av", reason="requirements-video.txt")
_UNIT, _ONE = 65536, 1 << 30
TURNS = {  # clockwise in degrees: the matrix of a track, as phones write it
    90: (0, _UNIT, 0, -_UNIT, 0, 0, 48 * _UNIT, 0, _ONE),
    180: (-_UNIT, 0, 0, 0, -_UNIT, 0, 64 * _UNIT, 48 * _UNIT, _ONE),
    270: (0, -_UNIT, 0, _UNIT, 0, 0, 0, 64 * _UNIT, _ONE),
}


def picture(number):
    """48 x 64, whose corners differ, with a bar that moves."""
    pixels = np.full((48, 64, 3), 90, np.uint8)
    pixels[:20, :30], pixels[20:, :10] = (200, 0, 0), (0, 0, 200)
    pixels[:, 32 + 2 * number : 36 + 2 * number] = 250
    return pixels


@pytest.fixture
def clip(tmp_path):
    with video.film(tmp_path / "clip.mp4") as add:
        for number in range(6):
            add(number / 10, picture(number))
    return tmp_path / "clip.mp4"


def test_a_film_has_the_frames_and_times_that_it_was_given(clip):
    assert video.num_frames(clip) == 6
    found = list(video.frames(clip))
    np.testing.assert_allclose([time_s for time_s, _ in found], np.arange(6) / 10, atol=1e-3)
    for number, (_, pixels) in enumerate(found):
        assert np.abs(pixels.astype(int) - picture(number)).mean() < 8
    assert [p.name for p in clip.parent.iterdir()] == ["clip.mp4"]


def test_the_last_line_of_odd_sides_is_left_out(tmp_path):
    with video.film(tmp_path / "odd.mp4") as add:
        add(0, picture(0)[:47, :63])
        add(0, picture(1)[:47, :63])  # of the same time: moments later
    assert [pixels.shape for _, pixels in video.frames(tmp_path / "odd.mp4")] == [(46, 62, 3)] * 2


@pytest.mark.parametrize("degrees", TURNS)
def test_frames_are_upright_as_opencv_shows_them(clip, degrees):
    data = clip.read_bytes()
    at = data.index(b"tkhd") + 44  # the track header's matrix
    clip.write_bytes(data[:at] + struct.pack(">9i", *TURNS[degrees]) + data[at + 36 :])
    _, shown = cv2.VideoCapture(str(clip)).read()
    _, found = next(video.frames(clip))
    np.testing.assert_allclose(found.astype(int), shown[..., ::-1], atol=3)
    assert found.shape == ((48, 64, 3) if degrees == 180 else (64, 48, 3))


def test_what_is_no_video_is_refused_by_name(clip):
    data, rng = clip.read_bytes(), np.random.default_rng(0)
    spoilt = [data[: len(data) // 2], b"", b"hello", rng.bytes(3000)]
    for _ in range(20):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), 20):
            changed[at] = rng.integers(256)
        spoilt.append(bytes(changed))
    refused = 0
    for content in spoilt:
        clip.write_bytes(content)
        try:
            assert all(pixels.ndim == 3 for _, pixels in video.frames(clip))
        except Bad as bad:
            refused += 1
            assert str(clip) in str(bad)
        video.num_frames(clip)
    assert refused >= 4
    with pytest.raises(Bad, match="none.mp4: unreadable after 0 frames"):
        list(video.frames(pathlib.Path("none.mp4")))


def test_a_film_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), video.film(tmp_path / "a.mp4") as add:
        add(0, picture(0))
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
