"""What is installed: the requirements files, and the package's extras that are made of them."""

import pathlib
import tomllib

import pytest
from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = sorted(ROOT.glob("requirements*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_line_is_a_requirement_with_a_range(path):
    """setuptools reads these files too, and takes no options of pip's in them."""
    lines = [line.partition(" #")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert requirements
    for requirement in requirements:
        assert {specifier.operator for specifier in requirement.specifier} == {">=", "<"}, requirement


def test_every_file_is_an_extra():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["dynamic"]
    extras = {name: value["file"] for name, value in table["optional-dependencies"].items()}
    assert table["dependencies"]["file"] == ["requirements.txt"]
    assert extras == {
        path.stem.removeprefix("requirements-"): [path.name] for path in FILES if path.stem != "requirements"
    }
