"""The generated data set: which scenes, what is kept of their labels, and that nothing is rendered twice."""

import contextlib
import io
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.descriptions import SYNTHETIC
from csst_jax.data.store import DataSet
from csst_jax.types import IGNORE_LABEL, CsstError
from data_prep import synthetic

REPOSITORY = pathlib.Path(__file__).parents[2]


def fake_render(seed, index):
    """Cheap and like the real one in type: the scene's number in the pixels."""
    rng = np.random.default_rng((seed, index))
    return rng.integers(0, 256, (12, 16, 3), np.uint8), rng.integers(0, 11, (12, 16)).astype(np.uint8)


def arguments(data_dir, *more):
    numbers = ["--num_labelled=2", "--num_unlabelled=3", "--num_val=2", "--num_workers=1"]
    return [f"--data_dir={data_dir}", *numbers, *more]


def label_of(data_set, split, record):
    return np.asarray(Image.open(io.BytesIO(data_set.reader(split).label_bytes(record))))


def test_unlabelled_scenes_keep_no_mask_and_splits_share_no_scene(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "render", fake_render)
    synthetic.main(arguments(tmp_path))
    data_set = DataSet.open(tmp_path / "synthetic")
    assert data_set.description == SYNTHETIC
    train = data_set.ids("train")
    assert train == tuple(f"scene_{i:07d}" for i in range(5))
    assert data_set.labelled_ids("train") == train[:2]
    assert data_set.labelled_ids("val") == data_set.ids("val") == ("scene_1000000", "scene_1000001")
    for record in range(5):
        image, label = fake_render(0, record)
        np.testing.assert_array_equal(
            np.asarray(Image.open(io.BytesIO(data_set.reader("train").image_bytes(record)))), image
        )
        expected = label if record < 2 else np.full_like(label, IGNORE_LABEL)
        np.testing.assert_array_equal(label_of(data_set, "train", record), expected)
    np.testing.assert_array_equal(label_of(data_set, "val", 1), fake_render(0, 1_000_001)[1])
    assert set(data_set.centroids("train").record.tolist()) == {0, 1}


def test_a_second_run_renders_one_scene_at_most_and_other_settings_are_an_error(tmp_path, monkeypatch, capsys):
    rendered = []

    def counting(seed, index):
        rendered.append(index)
        return fake_render(seed, index)

    monkeypatch.setattr(synthetic, "render", counting)
    synthetic.main(arguments(tmp_path))
    rendered.clear()
    synthetic.main(arguments(tmp_path))
    assert len(rendered) <= 1
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(CsstError, match="another source"):
        synthetic.main(arguments(tmp_path, "--seed=1"))
    before = DataSet.open(tmp_path).reader("val").image_bytes(0)
    synthetic.main(arguments(tmp_path, "--seed=1", "--overwrite"))
    assert DataSet.open(tmp_path).reader("val").image_bytes(0) != before


@pytest.mark.parametrize(
    "flag", ["--num_labelled=0", "--num_val=0", "--num_unlabelled=-1", "--seed=-1", "--num_workers=0"]
)
def test_bad_numbers_are_named(tmp_path, flag):
    with pytest.raises(CsstError, match=flag):
        synthetic.main(arguments(tmp_path, flag))


def processes_of_group(group):
    """Process ids whose process group is `group`."""
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended meanwhile
            state, _, process_group = status.read_text().rsplit(")", 1)[1].split()[:3]
            if int(process_group) == group and state != "Z":
                found.append(int(status.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
def test_killing_the_command_leaves_no_process_and_nothing_finished(tmp_path):
    numbers = [f"--data_dir={tmp_path}", "--num_unlabelled=500", "--num_workers=2"]
    command = [sys.executable, "-m", "data_prep.synthetic", *numbers]
    process = subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while len(processes_of_group(process.pid)) < 4 and time.monotonic() < deadline:  # itself, tracker, two workers
            time.sleep(0.1)
        assert len(processes_of_group(process.pid)) >= 4
        time.sleep(3)  # into the rendering
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 20
    while processes_of_group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    orphans = processes_of_group(process.pid)
    for orphan in orphans:
        os.kill(orphan, signal.SIGKILL)
    assert not orphans
    with pytest.raises(CsstError, match="holds no prepared data set"):
        DataSet.open(tmp_path)


@pytest.mark.slow
@pytest.mark.essential("made-up scenes, in two processes")
def test_command_line_with_two_processes_gives_what_one_gives(tmp_path):
    command = [sys.executable, "-m", "data_prep.synthetic", *arguments(tmp_path / "two", "--num_workers=2")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    progress = r"(?m)^synthetic: (\d+ of \d+ images|.* …( \(.*\))?)\n"  # on a slow machine
    assert (done.returncode, re.sub(progress, "", done.stderr)) == (0, "")
    synthetic.main(arguments(tmp_path / "one"))
    one, two = DataSet.open(tmp_path / "one"), DataSet.open(tmp_path / "two")
    for split in ("train", "val"):
        assert one.labels_sha256(split) == two.labels_sha256(split)
        for record in range(len(one.ids(split))):
            assert one.reader(split).image_bytes(record) == two.reader(split).image_bytes(record)
