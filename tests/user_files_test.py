"""Paths and text files as systems and editors write them."""

import codecs
import os
import pathlib

import pytest

from csst_jax import user_files
from csst_jax.types import CsstError


def test_the_home_directory_is_found_without_a_shell(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert user_files.user_path("~/photos") == tmp_path / "home" / "photos"
    assert user_files.user_path("photos/~x") == pathlib.Path("photos/~x")
    with pytest.raises(CsstError, match="~nobody_of_this_name/x: there is no home directory for ~nobody_of_this_name"):
        user_files.user_path("~nobody_of_this_name/x")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~").mkdir()
    assert user_files.user_path("~") == pathlib.Path("~")


@pytest.mark.parametrize("text,said", [("", "a path is empty"), ("a\0b", "zero character")])
def test_what_is_no_path(text, said):
    with pytest.raises(CsstError, match=said):
        user_files.user_path(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_with_and_without_a_mark(tmp_path, encoding):
    (tmp_path / "list.txt").write_bytes("café\r\nphoto 1\n".encode(encoding))
    assert user_files.read_text(tmp_path / "list.txt", "ids").splitlines() == ["café", "photo 1"]


def test_big_endian_utf_16(tmp_path):
    (tmp_path / "list.txt").write_bytes(codecs.BOM_UTF16_BE + "café".encode("utf-16-be"))
    assert user_files.read_text(tmp_path / "list.txt", "ids") == "café"


@pytest.mark.parametrize(
    "data,said",
    [
        (
            "a\ncafé\n".encode("latin-1"),
            "byte 0xe9 in line 2 is not UTF-8. Save the file as UTF-8, for instance `iconv",
        ),
        ("ab".encode("utf-16-le"), "holds zero bytes"),
        (codecs.BOM_UTF16_LE + b"a", "is not UTF-16"),
        (b"\x89PNG\r\n\x1a\n\0", "unreadable text"),
    ],
)
def test_what_is_no_text_says_how_to_fix_it(tmp_path, data, said):
    (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(CsstError, match=r"list\.txt: unreadable text") as error:
        user_files.read_text(tmp_path / "list.txt", "ids")
    assert said in str(error.value)


def test_directories_and_names_that_are_not_utf_8(tmp_path):
    with pytest.raises(CsstError, match="cannot be read .Is a directory"):
        user_files.read_text(tmp_path, "ids")
    odd = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with pytest.raises(CsstError) as error:
        user_files.read_text(os.fsdecode(odd), "ids")
    assert "caf\\xe9.txt: cannot be read (No such file" in str(error.value)
    assert str(error.value).encode("utf-8")
    assert not user_files.is_utf8(os.fsdecode(odd)) and user_files.is_utf8("café")
