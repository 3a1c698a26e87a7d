"""The commands and the Python of docs/predict.md."""

import pathlib
import re
import shlex
import shutil

import pytest

from csst_jax import predict
from csst_jax.types import CsstError
from tests.data_prep.breaking import file, photo
from tests.predict.commanded import lines
from tests.readme_test import problems, python_commands

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "predict.md").read_text(encoding="utf-8")


@pytest.fixture
def as_on_the_page(run, tmp_path, monkeypatch):
    """A directory with what docs/predict.md speaks of."""
    shutil.copytree(run, tmp_path / "runs" / "mine")
    for name in ("photos/a.jpg", "photos/below/b.jpg", "more/photo.tif", "photo.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(file(photo(), "TIFF" if name.endswith("f") else "JPEG"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_of_the_page_runs(as_on_the_page):
    assert problems(PAGE) == []
    commands = [arguments for module, arguments in python_commands(PAGE) if module == "csst_jax.predict"]
    assert len(commands) == 2
    for arguments in commands:
        assert predict.main([*arguments, "--compilation_cache_dir="]) == 0
    assert set(lines(as_on_the_page / "seen")) == {"a", "below/b", "photo"}
    for flag in re.findall(r"^\| `(--[^`]+)` \|", PAGE, re.M):
        assert predict.main([*shlex.split(flag), *commands[0], "--overwrite", "--compilation_cache_dir="]) == 0


def test_the_python_of_the_page_runs(as_on_the_page):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    found = {}
    exec(code, found)
    assert (as_on_the_page / "mask.png").is_file() and found["found"].classes.shape == (12, 16)
    assert "csst_jax.types.CsstError" in PAGE and issubclass(CsstError, Exception)
