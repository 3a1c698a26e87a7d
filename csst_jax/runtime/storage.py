"""Files of a run, on a disk or in a bucket (`gs://…`): they appear whole, and are read where libraries can read them.

A bucket has no renames, appends or locks: an object is there when its upload has ended. So a file is made on the local
disk and then takes its place; what grows line by line is copied again now and then; a claim is renewed until it ends.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import pathlib
import shutil
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, TypeAlias

# Through gcsfs, as Orbax does: TensorFlow would keep for seconds what it saw of a file, and processes wait for each
# other's files.
os.environ.setdefault("EPATH_USE_TF", "false")
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks of what kind a bucket is, with more rights

from etils import epath

from csst_jax.types import CsstError
from csst_jax.user_files import user_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

StoragePath: TypeAlias = pathlib.Path | epath.Path
"""A file or directory on a disk (pathlib's), or in a bucket (epath's); both have the same methods."""

CACHE = "~/.cache/csst_jax/files"
"""Copies of files of buckets lie here; old ones are nobody's and can be deleted. See `cache`."""
_COPY_EVERY_S = 30


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path names object storage: `gs://`, or another scheme that etils' epath knows."""
    return "://" in os.fspath(path)


def as_path(path: str | os.PathLike[str], name: str = "path") -> StoragePath:
    """The file or directory that a flag or key names, absolute.

    Args:
      path: as the user gave it.
      name: of the flag or key, for the message.

    Raises:
      CsstError: it is empty or no path, or on other object storage than Google's, or gcsfs is not installed.
    """
    value = os.fspath(path)
    if not is_remote(value):
        try:
            return user_path(value).resolve()
        except (CsstError, RuntimeError) as error:  # RuntimeError: symbolic links that lead to each other
            raise CsstError(f"{name}={value}: {error}") from error
    if not value.startswith("gs://"):
        raise CsstError(f"{name}={value}: gs:// is the only object storage supported; give that, or a directory.")
    return remote(value, name)


def remote(path: str | os.PathLike[str], name: str) -> epath.Path:
    """A path on object storage, of which no listing is kept: another process may have made a file since.

    Raises:
      CsstError: gcsfs is needed and not installed.
    """
    if os.fspath(path).startswith("gs://") and importlib.util.find_spec("gcsfs") is None:
        raise CsstError(f"{name}={path} needs gcsfs: python -m pip install -r requirements-gcs.txt")
    import fsspec

    fsspec.config.conf.setdefault("gcs", {}).setdefault("cache_timeout", 0)
    return epath.Path(path)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """A local path to write to, which takes the place of `path` if nothing is raised; missing directories are made.

    Readers see the old file or the new one, whole.
    """
    path = as_path(path)
    if not isinstance(path, pathlib.Path):
        with tempfile.TemporaryDirectory(prefix="csst_jax-") as directory:
            made = pathlib.Path(directory) / path.name
            yield made
            path.write_bytes(made.read_bytes())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def local_file(path: StoragePath) -> pathlib.Path:
    """A file for libraries that read local ones alone: itself, or a copy of what the bucket holds now.

    A copy belongs to the name, length and time (in seconds) of the object.
    """
    if isinstance(path, pathlib.Path):
        return path
    stat = path.stat()
    digest = hashlib.sha256(f"{path} {stat.length} {stat.mtime}".encode()).hexdigest()
    target = cache(CACHE) / digest[:16] / path.name
    if not target.exists():
        copy(path, target, stat.length)
    return target


def checkout() -> pathlib.Path | None:
    """The checkout that this file belongs to; None in an installed package, into which nothing may be written."""
    root = pathlib.Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else None


@functools.cache
def cache(directory: str) -> pathlib.Path:
    """A directory for copies below the home directory; without one that can be written to, a temporary one.

    A line on stderr then says so: the copies are made again by the next run.
    """
    try:
        found = pathlib.Path(directory).expanduser()
        found.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=found):
            return found
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        instead = pathlib.Path(tempfile.mkdtemp(prefix="csst_jax-"))
        print(f"warning: {directory} cannot be used ({error}); copies of files go to {instead}.", file=sys.stderr)
        return instead


def copy(source: epath.Path, target: pathlib.Path, length: int) -> None:
    """Copies an object to the local disk, where it appears whole.

    Raises:
      CsstError: another number of bytes arrived.
    """
    with replacing(target) as unfinished:
        with source.open("rb") as remote, unfinished.open("wb") as local:
            shutil.copyfileobj(remote, local, 1 << 24)
        if unfinished.stat().st_size != length:
            raise CsstError(
                f"{source} has {length} bytes, and {unfinished.stat().st_size} arrived; run the same command again."
            )


def files_below(directory: StoragePath) -> list[tuple[str, StoragePath]]:
    """All files in a directory and the ones in it: (path in the directory, file), in order."""
    found: list[tuple[str, StoragePath]] = []
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.is_dir():
            found += [(f"{path.name}/{name}", file) for name, file in files_below(path)]
        else:
            found.append((path.name, path))
    return sorted(found)


def told_apart(paths: Sequence[StoragePath]) -> list[str]:
    """Names of files or directories: the last parts of their paths, as many as tell all of them apart.

    Raises:
      CsstError: one is given twice.

    >>> told_apart([pathlib.Path("/a/run"), pathlib.Path("/b/run")])
    ['a/run', 'b/run']
    """
    parts = [[part for part in path.parts if part != path.anchor] for path in paths]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    twice = next(path for path in paths if list(paths).count(path) > 1)
    raise CsstError(f"{twice} is given twice; give it once.")


def move(directory: StoragePath, target: StoragePath) -> None:
    """Gives a directory another name on the same disk; in a bucket, copies its files there and deletes them here."""
    if isinstance(directory, pathlib.Path):
        os.replace(directory, target)
        return
    for name, path in files_below(directory):
        (target / name).write_bytes(path.read_bytes())
    directory.rmtree()


class Mirror:
    """A local directory whose files are copied to one in a bucket, every half minute and at the end.

    What a killed process wrote since the last copy is lost.
    """

    def __init__(self, remote: epath.Path):
        """Begins with an empty directory.

        Attributes:
          directory: to write to.
        """
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="csst_jax-"))
        self._remote = remote
        self._copied: dict[str, int] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._copy_now_and_then, name="mirror", daemon=True)
        self._thread.start()

    def fetch(self, name: str) -> None:
        """Copies a file from the bucket, if it is there."""
        source = self._remote / name
        if source.exists():
            copy(source, self.directory / name, source.stat().length)

    def close(self) -> None:
        """Copies what has grown since, and deletes the local directory."""
        self._closing.set()
        self._thread.join()
        self._copy()
        shutil.rmtree(self.directory)

    def _copy_now_and_then(self) -> None:
        while not self._closing.wait(_COPY_EVERY_S):
            with contextlib.suppress(Exception):  # gcsfs has tried several times; `close` will tell
                self._copy()

    def _copy(self) -> None:
        for path in self.directory.iterdir():
            if path.name.startswith("."):  # not whole
                continue
            content = path.read_bytes()
            if self._copied.get(path.name) != len(content):
                (self._remote / path.name).write_bytes(content)
                self._copied[path.name] = len(content)
