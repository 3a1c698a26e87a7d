"""Videos: their frames, upright, and films of what is seen in them. PyAV (requirements-video.txt) reads and writes."""

from __future__ import annotations

import contextlib
import fractions
import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from csst_jax.data.picture_file import Bad
from csst_jax.runtime.storage import replacing
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")
"""Names of video files that are read, in lower case."""
INSTALL = "`pip install -r requirements-video.txt`, or `pip install av`"
FILM_SUFFIX = ".mp4"
_CODEC = "libx264"
_UNITS = 90_000  # of a second, as MPEG counts


def is_reader_there() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def num_frames(path: pathlib.Path) -> int:
    """How many frames a video says that it has; 0 where it does not say."""
    import av

    try:
        with av.open(path, metadata_errors="replace") as container:
            return container.streams.video[0].frames if container.streams.video else 0
    except Exception:  # who reads it will tell
        return 0


def frames(path: pathlib.Path) -> Iterator[tuple[float, np.ndarray]]:
    """The frames of a video's first picture track, in order.

    Yields:
      The time in seconds, and the pixels, uint8 "h w 3", RGB, turned upright as the video says.

    Raises:
      Bad: the video cannot be read, or not to its end.
    """
    import av

    number, size = 0, None
    try:
        with av.open(path, metadata_errors="replace") as container:
            if not container.streams.video:
                raise Bad(f"{path}: the file has no picture track. Give a video, or leave it out.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or 25)
            for frame in container.decode(stream):
                pixels = frame.to_ndarray(format="rgb24")
                if frame.rotation % 90:
                    raise Bad(f"{path}: frames that are turned by {frame.rotation} degrees. Save the video upright.")
                if min(pixels.shape[:2]) < 2:
                    raise Bad(f"{path}: frames of less than 2 px a side. Leave it out.")
                turned = np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))
                size = size or turned.shape
                if turned.shape != size:
                    raise Bad(f"{path}: its frames change their size. Convert it, with `ffmpeg -i OLD NEW.mp4`.")
                yield (number / rate if frame.time is None else float(frame.time)), turned
                number += 1
    except Bad:
        raise
    except Exception as error:  # a damaged file can make PyAV raise anything
        raise Bad(
            f"{path}: unreadable after {number} frames ({error}). Copy it again from its source, or convert it, for "
            "instance with `ffmpeg -i OLD NEW.mp4`."
        ) from error
    if not number:
        raise Bad(f"{path}: the video has no frames. Copy it again from its source.")


@contextlib.contextmanager
def film(path: pathlib.Path) -> Iterator[Callable[[float, np.ndarray], None]]:
    """An MP4 file (H.264) that appears when it is whole.

    Yields:
      A function of the time in seconds, which rises, and the pixels, uint8 "h w 3", RGB, of the first frame's size.
      H.264 has even sides: of odd ones the last line is left out.

    Raises:
      CsstError: PyAV was built without an encoder for it.
    """
    import av

    if _CODEC not in av.codecs_available:
        raise CsstError(f"PyAV has no encoder {_CODEC} here; leave overlay out of --write, or install PyAV from PyPI.")
    with replacing(path) as made, av.open(made, "w", format="mp4") as container:
        stream = container.add_stream(_CODEC, options={"crf": "20"})
        stream.pix_fmt, stream.time_base = "yuv420p", fractions.Fraction(1, _UNITS)
        stream.codec_context.time_base = stream.time_base
        last = -1

        def add(time_s: float, pixels: np.ndarray) -> None:
            nonlocal last
            height, width = (side - side % 2 for side in pixels.shape[:2])
            if last < 0:
                stream.width, stream.height = width, height
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
            frame.pts = last = max(round(time_s * _UNITS), last + 1)
            frame.time_base = stream.time_base
            container.mux(stream.encode(frame))

        yield add
        container.mux(stream.encode(None))
