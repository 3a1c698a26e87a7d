"""What a disk refuses, as OSError with its number, where a library tells it as an error of its own."""

from __future__ import annotations

import errno
import os


def as_os_error(text: str, path: str | os.PathLike[str]) -> OSError | None:
    """The error that a library's message quotes; None if it quotes none.

    Args:
      text: the message, such as "write() failed: No space left on device; writing x".
      path: the file that was written.
    """
    number = next((number for number in errno.errorcode if os.strerror(number) in text), None)
    return None if number is None else OSError(number, os.strerror(number), os.fspath(path))
