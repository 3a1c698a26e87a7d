"""Loads a study's file, a Python program that defines `get_study`."""

from __future__ import annotations

import importlib.util
import inspect
import pathlib
import sys
import traceback

from csst_jax.own_packages import home
from csst_jax.studying.arms import Study
from csst_jax.types import CsstError

_OURS = home() / "configs" / "studies"
_EXAMPLE = """    from csst_jax.studying.arms import Arm, Study

    def get_study():
        arms = (Arm("crops of 224"), Arm("crops of 320", {"student.crop_px": 320}))
        return Study("Size of crops", "camvid", arms, seeds=(0, 1, 2), reference="crops of 224")"""


def names() -> list[str]:
    """Names of the studies that come with csst_jax."""
    return sorted(path.stem for path in _OURS.glob("[!_]*.py"))


def load(chosen: str) -> Study:
    """The study that a file's `get_study` returns.

    Args:
      chosen: the file, or the name of one of ours; what stands after a colon is handed to `get_study`.

    Raises:
      CsstError: the file is not there, does not define `get_study`, takes no options, fails, or returns something else.
    """
    name, colon, options = chosen.partition(":")
    path = _OURS / f"{name}.py" if name in names() else pathlib.Path(name).expanduser()
    if not path.is_file() or path.suffix != ".py":
        raise CsstError(f"--config={name}: no such Python file. These come with csst_jax: {', '.join(names())}.")
    spec = importlib.util.spec_from_file_location(f"study_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_study"):
            raise CsstError(f"--config={path} does not define get_study. It should look like this:\n\n{_EXAMPLE}")
        takes = bool(inspect.signature(module.get_study).parameters)
        if colon and not takes:
            raise CsstError(f"--config={chosen}: this study takes no options; leave out what stands after the colon.")
        study = module.get_study(options) if takes else module.get_study()
    except CsstError:
        raise
    except Exception as error:  # the user's program may raise anything
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else next(reversed(lines), None)
        at = f", line {line}" if line else ""
        raise CsstError(f"--config={path}{at}: {type(error).__name__}: {error}") from error
    if not isinstance(study, Study):
        raise CsstError(
            f"--config={path}: get_study returns {type(study).__name__}. It should look like this:\n\n{_EXAMPLE}"
        )
    return study
