"""A container for one image in tiles, so that a crop decodes the tiles under its window and no others.

A header (`_HEADER`: magic, form, codec, channels, tile side, height, width), the byte length of each tile as uint32,
the CRC-32 of all this, then the tiles row by row. Numbers are little-endian. Tiles at the right and lower edge are
filled up with the image's last column and row. Three codecs:

* zstd, lossless: of a label as it is; of an image the planes green, red - green, blue - green, each row less the row
  above it, modulo 256, but for every `_ROWS`th. Neighbouring rows and channels of a photograph are alike, so what is
  left are small numbers; zstd's entropy coder is fast, and the differences are undone for many pixels at a time: a few
  calls for a crop, all of which release the interpreter's lock, so that threads do not wait for one another.
* JPEG, lossy: each tile is a JPEG;
* planes, lossless: any number of maps of one size, such as a label and what goes with it, each as it is, by zstd.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import zstandard

from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Callable

MAGIC = b"CSTL"
TILE_PX = 128
"""Side of a tile: a multiple of 16 for JPEG's chroma blocks. Larger ones decode more outside the window."""

_ROWS = 32
"""Rows from one that is stored as it is to the next: undoing the others takes one call less than this."""

_HEADER = struct.Struct("<4sBBBxHxxII")
_FORM = 1
_ZSTD, _JPEG, _PLANES = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class Window:
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclasses.dataclass(frozen=True)
class _Header:
    codec: int
    channels: int
    tile_px: int
    height: int
    width: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.height // self.tile_px), -(-self.width // self.tile_px)


def encode(image: np.ndarray, jpeg_quality: int | None = None) -> bytes:
    """Divides and compresses an image.

    Args:
      image: uint8 [h, w, 3] RGB, or uint8 [h, w] (a label).
      jpeg_quality: 1 to 100 for JPEG, which only RGB can be; None is lossless.
    """
    channels = 1 if image.ndim == 2 else 3
    codec = _ZSTD if jpeg_quality is None else _JPEG
    return _container(
        _Header(codec, channels, TILE_PX, *image.shape[:2]),
        image,
        _compress if jpeg_quality is None else lambda tile: _jpeg(tile, jpeg_quality),
    )


def encode_planes(planes: np.ndarray) -> bytes:
    """Divides and compresses maps of one size, uint8 [h, w, n] with n from 1 to 255."""
    height, width, count = planes.shape
    return _container(
        _Header(_PLANES, count, TILE_PX, height, width), planes, lambda tile: _zstd(tile.transpose(2, 0, 1))
    )


def _container(header: _Header, image: np.ndarray, compress: Callable[[np.ndarray], bytes]) -> bytes:
    rows, columns = header.grid
    missing = ((0, rows * TILE_PX - header.height), (0, columns * TILE_PX - header.width))
    full = np.pad(image, (*missing, (0, 0))[: image.ndim], mode="edge")
    tiles = []
    for row in range(rows):
        for column in range(columns):
            top, left = row * TILE_PX, column * TILE_PX
            tiles.append(compress(full[top : top + TILE_PX, left : left + TILE_PX]))
    start = _HEADER.pack(MAGIC, _FORM, header.codec, header.channels, TILE_PX, header.height, header.width)
    start += np.array([len(tile) for tile in tiles], "<u4").tobytes()
    return b"".join([start, struct.pack("<I", zlib.crc32(start)), *tiles])


def size(encoded: bytes) -> tuple[int, int]:
    """(height, width).

    Raises:
      CsstError: the header is damaged.
    """
    header = _header(encoded)
    return header.height, header.width


def decode(encoded: bytes, window: Window | None = None) -> np.ndarray:
    """The pixels of `window`, or all, as they were encoded.

    Returns:
      uint8 [h, w, 3] RGB, or uint8 [h, w]. Of `encode_planes`: uint8 [n, h, w], a map at a time.

    Raises:
      CsstError: the bytes are damaged; says where.
      ValueError: the window leaves the image.
    """
    header = _header(encoded)
    window = window or Window(0, 0, header.height, header.width)
    bottom, right = window.top + window.height, window.left + window.width
    if not (0 <= window.top < bottom <= header.height and 0 <= window.left < right <= header.width):
        raise ValueError(f"{window} leaves the image of {header.height}x{header.width}.")
    side = header.tile_px
    row, column = window.top // side, window.left // side
    segments = _segments(encoded, header)[row : -(-bottom // side), column : -(-right // side)]
    inside = (
        slice(window.top - row * side, bottom - row * side),
        slice(window.left - column * side, right - column * side),
    )
    if header.codec == _JPEG:
        return _from_jpeg(encoded, segments, side)[inside]
    planes = _decompress(encoded, header, segments)
    if header.codec == _PLANES:
        return planes[:, *inside]
    if header.channels == 1:
        return planes[0][inside]
    planes = planes[:, :, inside[1]]
    for k in range(1, min(_ROWS, side)):
        planes[:, k::_ROWS] += planes[:, k - 1 :: _ROWS]
    green, red, blue = planes[:, inside[0]]
    return cv2.merge([red + green, green, blue + green])


def _header(encoded: bytes) -> _Header:
    if len(encoded) < _HEADER.size or encoded[:4] != MAGIC:
        raise CsstError(f"no image in tiles: {len(encoded)} bytes that start with {encoded[:4]!r}, not {MAGIC!r}.")
    _, form, *values = _HEADER.unpack_from(encoded)
    header = _Header(*values)
    known = form == _FORM and (
        header.codec == _PLANES or (header.codec, header.channels) in ((_ZSTD, 1), (_ZSTD, 3), (_JPEG, 3))
    )
    if not known or min(header.channels, header.tile_px, header.height, header.width) < 1:
        raise CsstError(f"the header of an image in tiles is damaged: form {form}, {header}.")
    table = _HEADER.size + 4 * math.prod(header.grid)
    if len(encoded) < table + 4 or struct.unpack_from("<I", encoded, table)[0] != zlib.crc32(encoded[:table]):
        raise CsstError(f"an image in tiles is cut off, or its header damaged: {header} in {len(encoded)} bytes.")
    return header


def _segments(encoded: bytes, header: _Header) -> np.ndarray:
    """uint64 [rows, columns, 2], offset and length of each tile; damage is noticed before memory is asked for."""
    rows, columns = header.grid
    lengths = np.frombuffer(encoded, "<u4", rows * columns, _HEADER.size).astype(np.uint64)
    ends = np.uint64(_HEADER.size + lengths.size * 4 + 4) + np.cumsum(lengths, dtype=np.uint64)
    if ends[-1] != len(encoded):
        raise CsstError(f"an image in tiles is cut off or damaged: {len(encoded)} bytes of {ends[-1]}.")
    return np.stack([ends - lengths, lengths], axis=-1).reshape(rows, columns, 2)


def _compress(tile: np.ndarray) -> bytes:
    """Level 1: higher ones take longer both ways for a hundredth of the size. The checksum notices damage.

    What is left of a photograph repeats itself by chance alone. Told to look for long matches in few places, zstd
    finds next to none of those and leaves all to its entropy coder: smaller, and decoded in two thirds of the time.
    """
    options: dict[str, int] = {}
    if tile.ndim == 3:
        red, green, blue = cv2.split(tile)
        planes = np.stack([green, red - green, blue - green])
        tile = planes.copy()
        for k in range(1, min(_ROWS, TILE_PX)):
            tile[:, k::_ROWS] -= planes[:, k - 1 :: _ROWS]
        options = {"min_match": 7, "hash_log": 6}
    return _zstd(tile, **options)


def _zstd(tile: np.ndarray, **options: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        1, source_size=tile.size, write_checksum=True, **options
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(tile.tobytes())


def _decompress(encoded: bytes, header: _Header, segments: np.ndarray) -> np.ndarray:
    """uint8 [channels, h, w] of all tiles; `segments` [rows, columns, 2] has each tile's offset and length."""
    rows, columns = segments.shape[:2]
    side, shape = header.tile_px, (header.channels, header.tile_px, header.tile_px)
    sizes = np.full(rows * columns, math.prod(shape), np.uint64).tobytes()
    frames = zstandard.BufferWithSegments(encoded, segments.tobytes())
    try:
        # All tiles by one call, so that a thread asks for the interpreter's lock once.
        # Segments are buffers, which the library's type hints do not say.
        found: Any = zstandard.ZstdDecompressor().multi_decompress_to_buffer(
            frames, decompressed_sizes=sizes, threads=0
        )
    except zstandard.ZstdError as error:
        # Its message counts the tiles of this call.
        raise CsstError(f"of {rows}x{columns} tiles, row by row, one is damaged: {error}.") from error
    planes = np.empty((header.channels, rows, side, columns, side), np.uint8)
    for number in range(rows * columns):
        row, column = divmod(number, columns)
        planes[:, row, :, column] = np.frombuffer(found[number], np.uint8).reshape(shape)
    return planes.reshape(header.channels, rows * side, columns * side)


def _jpeg(tile: np.ndarray, quality: int) -> bytes:
    return cv2.imencode(".jpg", tile[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _from_jpeg(encoded: bytes, segments: np.ndarray, side: int) -> np.ndarray:
    """uint8 [h, w, 3] of all tiles, whose `segments` are as for `_decompress`."""
    rows, columns = segments.shape[:2]
    pixels = np.empty((rows, side, columns, side, 3), np.uint8)
    for number, (start, length) in enumerate(segments.reshape(-1, 2).tolist()):
        data = np.frombuffer(encoded, np.uint8, length, start)
        tile = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if length else None
        if tile is None or tile.shape != (side, side, 3):
            raise CsstError(f"of {rows}x{columns} tiles, row by row, one is damaged: item {number} is no such JPEG.")
        row, column = divmod(number, columns)
        pixels[row, :, column] = tile
    return pixels.reshape(rows * side, columns * side, 3)
