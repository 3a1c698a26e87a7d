"""Label fractions: sizes, evenness over drives and time, nesting, and that the command reproduces the lists."""

import collections
import pathlib

import numpy as np
import pytest

from csst_jax.types import CsstError
from data_prep import splits

REPOSITORY = pathlib.Path(__file__).parents[2]
REAL = REPOSITORY.parent / "shared" / "camvid"
KEPT = REPOSITORY / "data_prep" / "splits" / "camvid"
SIZES = {"1_8": 46, "1_4": 92, "1_2": 184}
DRIVES = {"0001TP": 62, "0006R0": 101, "0016E5": 204}


def drive(image_id):
    return image_id.split("_")[0]


def fake_ids():
    return [f"{name}_{i:05d}" for name, count in DRIVES.items() for i in range(count)]


def kept(fraction):
    return (KEPT / f"{fraction}.txt").read_text().splitlines()


@pytest.mark.parametrize("fraction", SIZES)
def test_kept_lists_have_the_size_and_the_drives(fraction):
    ids = kept(fraction)
    assert len(ids) == len(set(ids)) == SIZES[fraction]
    assert ids == sorted(ids)
    counts = collections.Counter(map(drive, ids))
    for name, size in DRIVES.items():
        assert abs(counts[name] - size * SIZES[fraction] / 367) < 1


def test_kept_lists_are_nested():
    assert set(kept("1_8")) < set(kept("1_4")) < set(kept("1_2"))


@pytest.mark.parametrize("seed", range(5))
def test_drawn_ids_are_spread_over_the_time_of_a_drive(seed):
    ids = fake_ids()
    for fraction, drawn in splits.draw(ids, drive, seed).items():
        assert len(set(drawn)) == SIZES[fraction]
        assert set(drawn) <= set(ids)
        for name, size in DRIVES.items():
            frames = [int(image_id.split("_")[1]) for image_id in drawn if drive(image_id) == name]
            gaps = np.diff([-1, *frames, size])
            # drawn from the fraction above it, so a gap may differ from the mean by that one's gap
            assert gaps.max() <= 2 * size / len(frames) + 2


def test_seeds_differ_and_the_order_of_ids_does_not_matter():
    ids = fake_ids()
    assert splits.draw(ids, drive, 0) == splits.draw(ids[::-1], drive, 0)
    assert splits.draw(ids, drive, 0) != splits.draw(ids, drive, 1)


def test_allot_by_largest_remainder():
    assert splits.allot([62, 101, 204], 46) == [8, 13, 25]
    assert splits.allot([1, 1, 1], 2) == [1, 1, 0]
    assert splits.allot([3, 2], 5) == [3, 2]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real CamVid is not beside the repository (../shared/camvid)")
def test_the_command_reproduces_the_lists_and_every_class_occurs(tmp_path, capsys):
    splits.main(["camvid", f"--source_dir={REAL}", f"--output_dir={tmp_path}"])
    for fraction in SIZES:
        assert (tmp_path / "camvid" / f"{fraction}.txt").read_bytes() == (KEPT / f"{fraction}.txt").read_bytes()
    assert "warning" not in capsys.readouterr().out


def test_bad_arguments(tmp_path, capsys):
    with pytest.raises(CsstError, match="--seed=-1"):
        splits.main(["camvid", f"--source_dir={tmp_path}", "--seed=-1"])
    with pytest.raises(CsstError, match="holds no prepared data set"):
        splits.main(["camvid", f"--data_dir={tmp_path}"])
    with pytest.raises(SystemExit):
        splits.main(["camvid"])
    assert "one of the arguments --source_dir --data_dir is required" in capsys.readouterr().err
