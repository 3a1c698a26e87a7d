"""Errors of disks in the messages of libraries."""

import contextlib
import errno
import pathlib

import numpy as np
import pytest

from csst_jax.data.disk_errors import as_os_error
from csst_jax.data.stored import centroid_index


def test_the_number_is_found():
    text = "write() failed: No space left on device; writing a/b; at byte 100; Failed to close chunk_writer"
    found = as_os_error(text, "a/b")
    assert isinstance(found, OSError) and found.errno == errno.ENOSPC and found.filename == "a/b"
    assert as_os_error("Failed precondition: the writer is closed", "a/b") is None


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="Linux has it")
def test_tensorflows_error_of_a_disk_has_its_number(tmp_path, monkeypatch):
    """On a device that is always full."""
    monkeypatch.setattr(centroid_index, "replacing", lambda path: contextlib.nullcontext(pathlib.Path("/dev/full")))
    builder = centroid_index.IndexBuilder(1)
    builder.add(0, "0", np.zeros((2, 2), np.uint8), b"")
    with pytest.raises(OSError) as refused:
        centroid_index.write(tmp_path / "index", builder.finish())
    assert refused.value.errno == errno.ENOSPC and refused.value.filename == str(tmp_path / "index")
