"""Material of the tests of broken inputs: small pictures that are whole, and ways to break files."""

import io
import shutil
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from csst_jax.types import CsstError

CLASSES = ("ground", "thing", "sky")
HEIGHT, WIDTH = 12, 16


def photo(seed=0, size=(HEIGHT, WIDTH)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def mask(*values, size=(HEIGHT, WIDTH)):
    """A mask of stripes."""
    stripes = np.array(values or (0, 1, 2), np.uint8).repeat(-(-size[1] // max(len(values), 3)))[: size[1]]
    return np.tile(np.resize(stripes, size[1]), (size[0], 1))


def file(array, format="PNG", exif=None, palette=None, **options):
    """The bytes of a picture."""
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    if palette:
        picture.putpalette(palette)
    stream = io.BytesIO()
    if exif:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = exif
    picture.save(stream, format=format, **options)
    return stream.getvalue()


def sixteen_bits(array):
    return cv2.imencode(".png", array.astype(np.uint16) * 257)[1].tobytes()


def png_of(width, height):
    """A PNG of one line of pixels that says it is so large; its checksums are right."""
    parts = (
        b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(bytes(49)),
        b"IEND",
    )
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def flipped(data, at):
    """The bytes with one changed."""
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def told(function, *arguments, **options):
    with pytest.raises(CsstError) as error:
        function(*arguments, **options)
    return str(error.value)


def put(*parts):
    """Writes bytes to a file: path below the directory, then the bytes."""

    def spoil(where):
        path = where.joinpath(*parts[:-1])
        path.write_bytes(parts[-1])

    return spoil


def gone(*parts):
    def spoil(where):
        path = where.joinpath(*parts)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def empty(*parts):
    def spoil(where):
        for path in where.joinpath(*parts).iterdir():
            path.unlink()

    return spoil


def rewritten(pattern, change):
    """Changes the bytes of the one file that the pattern names."""

    def spoil(directory):
        (path,) = directory.glob(pattern)
        path.write_bytes(change(path.read_bytes()))

    return spoil
