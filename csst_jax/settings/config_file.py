"""Loads a configuration file, which is a Python program of the user's, and says what is wrong with it."""

from __future__ import annotations

import difflib
import importlib.util
import pathlib
import traceback

from absl import flags
from ml_collections import ConfigDict, config_flags

from csst_jax.own_packages import home
from csst_jax.settings import ranges
from csst_jax.types import CsstError

_EXAMPLE = """    from configs import base

    def get_config():
        c = base.get_config()
        c.student.epochs = 90
        return c"""
_OURS = home() / "configs"
_STUDIES = "studies"


def names() -> list[str]:
    """Names of the configurations that come with csst_jax; studies are none."""
    found = (path.relative_to(_OURS).with_suffix("").as_posix() for path in _OURS.rglob("[!_]*.py"))
    return sorted(name for name in found if not name.startswith(f"{_STUDIES}/"))


def located(chosen: str) -> str:
    """The value of `--config` with a file in it: `folder:net=fast_scnn` names one that comes with csst_jax.

    A name without `.py` is never a file of the user's.
    """
    name, colon, options = chosen.partition(":")
    return f"{_OURS / name}.py{colon}{options}" if name in names() else chosen


def load(chosen: str) -> ConfigDict:
    """The configuration that a file's `get_config` returns.

    Args:
      chosen: the file, or the name of one of ours; what stands after a colon is handed to `get_config`.

    Raises:
      CsstError: the file is not there, is no Python program that defines `get_config`, fails, or has other keys than
        configs/base.py.
    """
    chosen = located(chosen)
    path = pathlib.Path(chosen.partition(":")[0])
    _require_program(path)
    _require_our_package()
    alone = flags.FlagValues()
    # Without sys_argv it would take the overrides from the process's own command line, and stumble over a wrong one.
    arguments = ["config", f"--config={chosen}"]
    config_flags.DEFINE_config_file("config", None, "The configuration.", flag_values=alone, sys_argv=arguments)
    try:
        alone(arguments)
        config = alone["config"].value
        getattr(config, "items", None)  # where the program raised OSError, ml_collections raises it now
    except CsstError:
        raise
    except Exception as error:  # the user's program may raise anything
        raise CsstError(_failed(path, error)) from error
    if not isinstance(config, ConfigDict):
        kind = "nothing" if config is None else f"a {type(config).__name__}"
        raise CsstError(f"--config={path}: get_config returns {kind}. It should look like this:\n\n{_EXAMPLE}")
    if unknown := ranges.flattened(config).keys() - ranges.known_keys().keys():
        said = [f"{path} sets {key}, an unknown configuration key. {ranges.near(key)}" for key in sorted(unknown)]
        raise CsstError("\n".join(said))
    return config


def _require_program(path: pathlib.Path) -> None:
    if not path.is_file():
        if path.parent.name in ("", _STUDIES) and (_OURS / _STUDIES / f"{path.stem}.py").is_file():
            raise CsstError(_a_study(path, path.stem))
        what = "it is a directory" if path.is_dir() else "no such file"
        near = difflib.get_close_matches(str(path.with_suffix("")).removeprefix("configs/"), names(), n=1)
        hint = f" Did you mean --config={near[0]}?" if near else ""
        raise CsstError(f"--config={path}: {what}.{hint} These come with csst_jax: {', '.join(names())}.")
    if path.suffix != ".py":
        raise CsstError(
            f"--config={path}: a configuration is a Python file, and this one's name does not end in .py. Write one "
            f"that changes what should differ from configs/base.py:\n\n{_EXAMPLE}"
        )
    try:
        program = compile(path.read_bytes(), str(path), "exec")
    except OSError as error:
        raise CsstError(f"--config={path} cannot be read: {error.strerror}.") from error
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise CsstError(f"--config={path}{line}: this is not Python: {error.msg}.") from error
    except ValueError as error:  # NUL bytes
        raise CsstError(f"--config={path}: this is not Python: {error}.") from error
    if "get_config" not in program.co_names and "get_study" in program.co_names:
        raise CsstError(_a_study(path, str(path)))
    if "get_config" not in program.co_names:
        raise CsstError(f"--config={path} does not define get_config. It should look like this:\n\n{_EXAMPLE}")


def _a_study(path: pathlib.Path, chosen: str) -> str:
    return f"--config={path} is a study, not a configuration. Run it with `csst study --config={chosen} --workdir=…`."


def _require_our_package() -> None:
    """Configuration files import `configs.base`; a package of the same name in the way has none."""
    try:
        found = importlib.util.find_spec("configs.base")
    except ModuleNotFoundError:
        found = None
    if found is not None:
        return
    other = importlib.util.find_spec("configs")
    if other is None:
        raise CsstError(f"the package configs of csst_jax is not installed; it should be {_OURS}.")
    raise CsstError(
        f"{other.origin} hides the package configs of csst_jax, which is in {_OURS}. Rename it, or start from another "
        "directory."
    )


def _failed(path: pathlib.Path, error: Exception) -> str:
    """Where the user's program failed, and how: of errors that led to each other, the first one that passed there."""
    chain: list[BaseException] = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    for found in reversed(chain):
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(found.__traceback__)
            if pathlib.Path(frame.filename).name == path.name
        ]
        if lines:
            return f"--config={path}, line {lines[-1]}: {type(found).__name__}: {found}"
    return f"--config={path}: {type(chain[-1]).__name__}: {chain[-1]}"
