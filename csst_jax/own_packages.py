"""Finds `configs` and `data_prep`, packages of csst_jax that lie beside it or in it (docs/adr/0014)."""

from __future__ import annotations

import pathlib
import sys

_HERE = pathlib.Path(__file__).resolve().parent
_BUNDLE = _HERE / "bundled"


def home() -> pathlib.Path:
    """The directory that holds both: the root of a checkout; of an installed package `csst_jax/bundled` (setup.py)."""
    return _BUNDLE if _BUNDLE.is_dir() else _HERE.parent


def make_importable() -> None:
    """Lets this process import them by these names, from whatever directory it was started.

    In an installed package they come first, as another program may have installed a package `configs`. A checkout's
    root comes last, as it holds more than these two.
    """
    place = str(home())
    if place not in sys.path:
        sys.path.insert(0 if home() == _BUNDLE else len(sys.path), place)
