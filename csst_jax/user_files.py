"""Paths, names and text files as users have them: `~`, byte order marks, composed and decomposed letters.

Nothing here guesses: what cannot be read for sure is an error that says how to fix the file.
"""

from __future__ import annotations

import codecs
import os
import pathlib
import unicodedata

from csst_jax.types import CsstError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def user_path(text: str | os.PathLike[str]) -> pathlib.Path:
    """The path that a flag or key names. A shell leaves the `~` of `--images=~/photos` as it is; here it is the home.

    Raises:
      CsstError: the text is empty, holds a zero character, or begins with `~NAME` and there is no such user.
    """
    value = os.fspath(text)
    if not value:
        raise CsstError("a path is empty; give a file or a directory (`.` for the current one).")
    if "\0" in value:
        raise CsstError(f"{value!r} is not a path: it holds a zero character.")
    path = pathlib.Path(value)
    if not value.startswith("~") or path.exists():
        return path
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise CsstError(f"{value}: there is no home directory for {path.parts[0]}; write the path in full.") from error


def same_name(name: str) -> str:
    """The composed form (NFC) of a name: macOS stores `é` as two characters, other systems as one."""
    return unicodedata.normalize("NFC", name)


def shown(path: str | os.PathLike[str]) -> str:
    """A path as it can be printed, with the bytes that are not UTF-8 as numbers."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_utf8(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name is UTF-8, as ids must be."""
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read_text(path: str | os.PathLike[str], content: str) -> str:
    """The text of a file in UTF-8, or with a byte order mark in UTF-8, UTF-16 or UTF-32 (Windows' editors write one).

    Args:
      path: the file.
      content: what it should hold, for messages: "a list of ids".

    Raises:
      CsstError: the file cannot be read, or is no such text; names it and says how to fix it.
    """
    path = user_path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CsstError(
            f"{shown(path)}: cannot be read ({error.strerror}); give a text file with {content}."
        ) from error
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CsstError(
            f"{shown(path)}: unreadable text: byte 0x{data[error.start]:02x} in line {line} is not {encoding.upper()}. "
            "Save the file as UTF-8, for instance `iconv -f latin1 -t utf-8 OLD > NEW`."
        ) from error
    if "\0" in text:
        raise CsstError(
            f"{shown(path)}: unreadable text: it holds zero bytes, so it is not text, or UTF-16 without its mark. Give "
            f"a text file in UTF-8 with {content}."
        )
    return text
