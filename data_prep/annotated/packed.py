"""Two ways in which tools pack run lengths: COCO's text, and the bytes of Label Studio's brush."""

from __future__ import annotations

import numpy as np

from csst_jax.data.picture_file import Bad
from data_prep.annotated.regions import MAX_PIXELS


def of_text(text: str, where: str) -> list[int]:
    """Run lengths that COCO's API has compressed (`rleToString` of its maskApi.c).

    A character less 48 holds 5 bits, the low ones first, and 32 where more follow. The last one's fifth bit is the
    sign. From the fourth number on it is the difference to the one two places before.
    """
    runs: list[int] = []
    number, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise Bad(f"{where}: {character!r} in compressed run lengths. Export the annotations again.")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number, shift = 0, 0
    return runs


def of_brush(data: bytes, where: str) -> np.ndarray:
    """The values of a brush: red, green, blue and alpha of each pixel, packed as the library thi.ng/rle-pack does.

    32 bits are the number of values, 5 a value's width in bits less one, four times 4 the widths of four kinds of
    lengths less one. Then come runs: a bit, 2 bits for the kind of the length, the length less one, and one value where
    the bit is set, else as many values as the length says.

    Args:
      data: the packed bytes.
      where: for messages.

    Returns:
      uint8 [values].

    Raises:
      Bad: the bytes are cut off or something else.
    """
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).astype(np.int64)
    place = 0

    def take(count: int, width: int) -> np.ndarray:
        nonlocal place
        if place + count * width > len(bits):
            raise Bad(f"{where}: the packed mask is cut off. Export the annotations again.")
        rows = bits[place : place + count * width].reshape(count, width)
        place += count * width
        return rows @ (1 << np.arange(width - 1, -1, -1))

    total, width = int(take(1, 32)[0]), int(take(1, 5)[0]) + 1
    lengths = [int(length) + 1 for length in take(4, 4)]
    if total > 4 * MAX_PIXELS or width > 8:
        raise Bad(f"{where}: {total} values of {width} bits are no mask. Export the annotations again.")
    values, done = np.empty(total, np.uint8), 0
    while done < total:
        repeated, kind = take(1, 1)[0], int(take(1, 2)[0])
        count = min(int(take(1, lengths[kind])[0]) + 1, total - done)
        values[done : done + count] = take(1 if repeated else count, width)
        done += count
    return values
