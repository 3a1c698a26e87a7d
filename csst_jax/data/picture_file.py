"""Picture files as people have them: read whole, turned upright, or refused with the file's name and the fix."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import pathlib
import threading
import warnings
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
"""Names of image files that are read, in lower case."""

KEPT_SUFFIXES = IMAGE_SUFFIXES[:3]
"""Those of files that are stored as they are."""

MASK_SUFFIXES = (".png",)

_IMAGE_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
_KEPT_FORMATS = (
    "PNG",
    "JPEG",
    "MPO",
)  # stored as they are; MPO is a JPEG with more pictures behind it, as phones write
_MODES = ("RGB", "L", "P", "RGBA")
_MAX_PIXELS = 178_956_970  # Pillow's: twice its MAX_IMAGE_PIXELS
_PNG_BIT_DEPTH, _PNG_COLOUR_TYPE = 24, 25  # offsets of the header's bytes
_PNG_GREY = 0  # a colour type, without alpha


_quiet = contextlib.ExitStack()
_quiet_threads, _quiet_lock = 0, threading.Lock()


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """`warnings.catch_warnings` for threads, which would take each other's filters away: from the first to the last."""
    global _quiet_threads
    with _quiet_lock:
        _quiet_threads += 1
        if _quiet_threads == 1:
            _quiet.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_threads -= 1
            if not _quiet_threads:
                _quiet.close()


class Bad(Exception):
    """What is wrong with a file: names it and says the fix."""


class _Unconvertible(Bad):
    def __init__(self, path: pathlib.Path, error: Exception):
        super().__init__(f"{path}: cannot be turned upright or converted ({error!r}). Save it as PNG without metadata.")


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image that was read whole.

    Attributes:
      data: PNG or JPEG, which decoders without EXIF show upright: the file's own bytes where they are that.
      picture: its pixels, upright.
      turned: whether the file's EXIF tag says that its pixels are turned or mirrored.
    """

    data: bytes
    picture: Image.Image
    turned: bool


def read_bytes(path: pathlib.Path) -> bytes:
    """A file's content.

    Raises:
      Bad: it cannot be read.
    """
    try:
        if path.is_fifo():  # reading would wait for ever
            raise Bad(f"{path}: a pipe, and no file. Give an image file.")
        return path.read_bytes()
    except OSError as error:
        raise Bad(f"{path}: cannot be read ({error.strerror}). Check the file and its permissions.") from error


def read_image(path: pathlib.Path) -> ImageFile:
    """Reads a photo: PNG or JPEG, or what becomes PNG here (TIFF, WebP, BMP, and what EXIF says is turned).

    Raises:
      Bad: it is none of these, damaged, too large, of more than 8 bits per channel, or of several pages.
    """
    data, picture, turned = _read_photo(path)
    if picture.format in _KEPT_FORMATS and not turned:
        return ImageFile(data, picture, turned=False)
    upright = _upright(path, picture)
    stream = io.BytesIO()
    try:
        upright.save(stream, "PNG", compress_level=1, exif=b"")
    except Exception as error:  # odd metadata can make Pillow raise anything
        raise _Unconvertible(path, error) from error
    return ImageFile(stream.getvalue(), upright, turned)


def read_pixels(path: pathlib.Path) -> UInt8[np.ndarray, "h w 3"]:
    """A photo's pixels, upright, RGB: what is decoded of a file that `read_image` prepared.

    Raises:
      Bad: as `read_image`.
    """
    return np.asarray(_upright(path, _read_photo(path)[1]))


def pixels_of(data: bytes, name: str, max_pixels: int) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of a photo that is no file here, as `read_pixels` gives them.

    Args:
      data: the file's content.
      name: what messages call it.
      max_pixels: a larger picture is refused before it is decoded.

    Raises:
      Bad: as `read_image`, or it is too large.
    """
    path, width, height = pathlib.Path(name), 0, 0
    with contextlib.suppress(Exception), _without_warnings():  # who decodes it will tell
        width, height = Image.open(io.BytesIO(data), formats=_IMAGE_FORMATS).size
    if width * height > max_pixels:
        raise Bad(f"{path}: {width}x{height} pixels; {max_pixels:,} are the most that is taken. Make it smaller.")
    return np.asarray(_upright(path, _read_photo(path, data)[1]))


def upright_size(path: pathlib.Path) -> tuple[int, int] | None:
    """Height and width of a photo once it is turned upright, from its header; None where that cannot be read."""
    try:
        with _without_warnings(), Image.open(path, formats=_IMAGE_FORMATS) as picture:
            width, height = _stored_size(picture)
            across = _orientation(picture) in range(5, 9)
            return (width, height) if across else (height, width)
    except Exception:  # who reads it whole will tell
        return None


def _read_photo(path: pathlib.Path, data: bytes | None = None) -> tuple[bytes, Image.Image, bool]:
    """A file's content, its picture as it lies there, and whether that is turned."""
    data = read_bytes(path) if data is None else data
    picture, orientation = _decode(path, data, "image", _IMAGE_FORMATS)
    if picture.mode.startswith(("I", "F")):
        raise Bad(
            f"{path}: image of colour mode {picture.mode}, which is grey of more than 8 bits. Convert all images to 8 "
            "bits by one scale: the darkest grey that matters becomes 0, and the brightest 255."
        )
    if picture.mode not in _MODES:
        raise Bad(f"{path}: image of colour mode {picture.mode}. Convert it to 8-bit RGB.")
    if _bits(picture, data) > 8:
        raise Bad(f"{path}: image of 16 bits per channel, of which decoders drop half. Convert it to 8-bit RGB.")
    pages = getattr(picture, "n_frames", 1) if picture.format in ("PNG", "TIFF", "WEBP") else 1
    if pages > 1:
        raise Bad(f"{path}: the file holds {pages} pictures. Save the one that counts as a file of its own.")
    return data, picture, orientation in range(2, 9)


def _upright(path: pathlib.Path, picture: Image.Image) -> Image.Image:
    """The picture in RGB, turned as its EXIF tag says."""
    try:
        with _without_warnings():
            return ImageOps.exif_transpose(picture).convert("RGB")
    except Exception as error:  # odd metadata can make Pillow raise anything
        raise _Unconvertible(path, error) from error


def read_mask(path: pathlib.Path) -> Image.Image:
    """Reads a mask: PNG, since other formats change values. Grey levels of 2 or 4 bits are as they were written.

    Raises:
      Bad: it is no PNG, damaged, too large, turned by EXIF, or of colours with 16 bits per channel.
    """
    data = read_bytes(path)
    picture, orientation = _decode(path, data, "mask", ("PNG",))
    if orientation in range(2, 9):
        raise Bad(
            f"{path}: EXIF orientation {orientation} in a mask. Turn its pixels and remove the tag, for instance with "
            "`mogrify -auto-orient`."
        )
    if data[_PNG_BIT_DEPTH] > 8 and data[_PNG_COLOUR_TYPE] != _PNG_GREY:
        raise Bad(f"{path}: colour mask of 16 bits per channel, of which decoders drop half. Convert it to 8-bit RGB.")
    levels = 2 ** data[_PNG_BIT_DEPTH]
    if picture.mode == "L" and data[_PNG_COLOUR_TYPE] == _PNG_GREY and levels < 256:
        return picture.point([value * (levels - 1) // 255 for value in range(256)])  # Pillow spreads them over 0..255
    return picture


def _decode(path: pathlib.Path, data: bytes, kind: str, formats: tuple[str, ...]) -> tuple[Image.Image, int]:
    """The decoded picture and its EXIF orientation (1: upright)."""
    try:
        with _without_warnings():  # of large pictures, which are read, and of metadata, which does not count
            picture = Image.open(io.BytesIO(data), formats=formats)
            orientation = _orientation(picture) if picture.format == "TIFF" else None  # Pillow turns it when it loads
            picture.load()
    except (Image.DecompressionBombError, MemoryError) as error:
        raise Bad(
            f"{path}: the {kind} is too large: {_MAX_PIXELS:,} pixels are the most that is read, if memory is enough. "
            "Cut it into parts or make it smaller, image and mask alike."
        ) from error
    except Exception as error:  # a damaged or odd file can make Pillow raise anything
        raise Bad(f"{path}: {_why(data, kind, error)}") from error
    try:
        with _without_warnings():
            return picture, orientation or _orientation(picture)
    except Exception as error:
        raise Bad(
            f"{path}: damaged EXIF metadata ({error!r}), which would tell whether the {kind} is turned. Save it again "
            "without metadata, for instance with `mogrify -strip`."
        ) from error


def _orientation(picture: Image.Image) -> int:
    """As EXIF has it; 1 is upright."""
    return int(picture.getexif().get(ExifTags.Base.Orientation, 1))


def _stored_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height before the picture is turned; of a TIFF, Pillow may tell those after."""
    if picture.format == "TIFF":
        tags = picture.tag_v2  # type: ignore[attr-defined]
        return tags[ExifTags.Base.ImageWidth], tags[ExifTags.Base.ImageLength]
    return picture.size


def _why(data: bytes, kind: str, error: Exception) -> str:
    """What is wrong with content that cannot be decoded, and the fix."""
    found = ""
    with contextlib.suppress(Exception), _without_warnings():  # not even a header that Pillow knows
        found = Image.open(io.BytesIO(data)).format or ""
    wanted = ("PNG",) if kind == "mask" else (*_IMAGE_FORMATS, "MPO")
    if found and found not in wanted:
        why = " JPEG changes the values of pixels." if found in ("JPEG", "MPO") else ""
        return (
            f"the {kind} is a {found} by its content.{why} Export it as {'PNG' if kind == 'mask' else 'PNG or JPEG'}."
        )
    if not data:
        return f"unreadable or truncated {kind} (0 bytes). Copy it again from its source."
    said = "it begins as no picture does" if "BytesIO" in str(error) else str(error) or repr(error)
    expected = "PNG" if kind == "mask" else "PNG or JPEG, TIFF, WebP or BMP"
    return (
        f"unreadable or truncated {kind} ({len(data)} bytes; {said}); expected {expected}. If other programs open it, "
        "save it as PNG with one of them; if none does, copy it again from its source."
    )


def _bits(picture: Image.Image, data: bytes) -> int:
    """Bits a channel in the file, of which Pillow keeps 8 for colours."""
    if picture.format == "PNG":
        return data[_PNG_BIT_DEPTH]
    if picture.format == "TIFF":
        return max(picture.tag_v2.get(258, (8,)))  # type: ignore[attr-defined]  # BitsPerSample
    return 8
