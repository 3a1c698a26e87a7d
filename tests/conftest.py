"""What tests share: eight CPU devices, a compilation cache, and small data."""

from __future__ import annotations

import gc
import io
import os
import pathlib
import signal
import time
from typing import TYPE_CHECKING, Any

from tests import fake_bucket, quick_compilation

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# etils decides when it is first imported, and tests import in any order (csst_jax/runtime/storage.py says why).
os.environ.setdefault("EPATH_USE_TF", "false")
# A shell's background ignores Ctrl-C, and the processes that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Read when JAX is imported; the processes that tests start inherit them.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(__file__).resolve().parent.parent / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {quick_compilation.XLA_FLAGS}"

import jax
import numpy as np
import pytest
from PIL import Image

from tests import shape_check  # noqa: F401  jaxtyping's import hook (pyproject.toml) looks it up by name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ml_collections import ConfigDict

# In this process alone: XLA_FLAGS in the environment would give eight devices to the processes that tests start, too.
jax.config.update("jax_num_cpu_devices", 8)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests come first, so that the workers end with short ones, at about the same time."""
    essential, slow = ({item.path for item in items if item.get_closest_marker(mark)} for mark in ("essential", "slow"))
    # Stable: a file's tests stay together.
    items.sort(key=lambda item: (item.path not in essential, item.path not in slow))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Skips what there is no time for: `.ci/run` says until when, since a machine may be several times slower today."""
    until = os.environ.get("CSST_TESTS_UNTIL", "")
    if until and time.time() > float(until):
        pytest.skip("not run: the time that .ci/run has for tests is over (CSST_TESTS_UNTIL)")


def pytest_collection_finish() -> None:
    """What is imported by now stays, and traces stay for a test: Python need not look for garbage there so often."""
    from csst_jax.runtime.host_memory import collect_seldom

    gc.freeze()
    collect_seldom()


ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY_CLASSES = ("ground", "box", "post", "sign")
TINY_SIZE = (96, 128)  # height, width


@pytest.fixture(scope="session")
def served_bucket() -> Iterator[fake_bucket.Bucket]:
    """What `gs://bucket` leads to, in this process."""
    with fake_bucket.served() as (bucket, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield bucket


@pytest.fixture
def bucket(
    served_bucket: fake_bucket.Bucket, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> fake_bucket.Bucket:
    """The same, empty, and nothing of it on this disk."""
    from csst_jax.data.stored import object_store
    from csst_jax.runtime import storage

    served_bucket.clear()
    monkeypatch.setattr(storage, "CACHE", str(tmp_path / "cached files"))
    monkeypatch.setattr(object_store, "CACHE", str(tmp_path / "cached data"))
    return served_bucket


@pytest.fixture(scope="session")
def shared_camvid() -> pathlib.Path:
    """The folder with the real CamVid, which lies beside the repository on the project's machines."""
    path = ROOT.parent / "shared" / "camvid"
    if not path.is_dir():
        pytest.skip(f"needs the real CamVid in {path}")
    return path


def tiny_label(seed: int) -> np.ndarray:
    """uint8 [96, 128]: a few rectangles of classes 1 to 3 on class 0, under a void row; every class is there."""
    rng = np.random.default_rng(seed)
    label = np.zeros(TINY_SIZE, np.uint8)
    label[0] = 255
    for klass, (height, width) in ((1, (30, 40)), (2, (50, 8)), (3, (12, 12))):
        for _ in range(2):
            y, x = rng.integers(1, TINY_SIZE[0] - height), rng.integers(0, TINY_SIZE[1] - width)
            label[y : y + height, x : x + width] = klass
    return label


def tiny_examples(first_seed: int, count: int, labelled: int) -> Iterator[Any]:
    """Images whose colour tells the class, under noise; the first `labelled` come with a mask."""
    from data_prep.raw import RawExample

    colours = np.array([(90, 90, 90), (200, 60, 60), (60, 200, 60), (60, 60, 200)])
    for i in range(count):
        label = tiny_label(first_seed + i)
        noise = np.random.default_rng(first_seed + i).normal(0, 20, (*TINY_SIZE, 3))
        image = np.clip(colours[np.where(label == 255, 0, label)] + noise, 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="PNG")
        if i >= labelled:
            label = np.full(TINY_SIZE, 255, np.uint8)
        yield RawExample(f"image{i:02d}", stream.getvalue(), label, i < labelled)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A prepared data set, read-only: 4 labelled and 4 unlabelled images in train, 3 in val; 96 x 128 px, 4 classes."""
    from csst_jax.types import DatasetDescription
    from data_prep import builder

    palette = ((128, 64, 128), (220, 20, 60), (190, 153, 153), (220, 220, 0))
    return builder.prepare(
        DatasetDescription("tiny", TINY_CLASSES, palette),
        {"train": tiny_examples(0, 8, labelled=4), "val": tiny_examples(100, 3, labelled=3)},
        tmp_path_factory.mktemp("tiny"),
        source_sha256="tests/conftest.py",
    )


@pytest.fixture(scope="session")
def tiny_config() -> Callable[[pathlib.Path], ConfigDict]:
    """A function of the data directory: a run of seconds (a quarter of the width, two epochs, crops of 32 and 64)."""
    from configs import base

    def config(data_dir: pathlib.Path) -> ConfigDict:
        c = base.get_config()
        c.data.dir = str(data_dir)
        for stage in (c.teacher, c.student):
            stage.width = 0.25
            stage.epochs = 2
            stage.samples_per_epoch = 16
            stage.crop_px = 64
            stage.batch_size = 8  # one each for the eight devices of a test
            stage.schedule.num_sizes = 2
            stage.sampler.pseudo_min_area_px = 4
        c.label.shard_size = 2
        c.evaluate.batch_size = 8
        c.evaluate.num_pictures = 2
        c.log_every_steps = 1
        c.compilation_cache_dir = ""  # the tests' own is set in the environment
        return c

    return config
