"""Label fractions: sizes, evenness over drives and time, nesting, and that the command reproduces the lists."""

import collections
import pathlib

import numpy as np
import pytest

from csst_jax.types import CsstError
from data_prep import camvid, splits

REPOSITORY = pathlib.Path(__file__).parents[2]
REAL = REPOSITORY.parent / "shared" / "camvid"
KEPT = REPOSITORY / "data_prep" / "splits" / "camvid"
SIZES = {"1_16": 23, "1_8": 46, "1_4": 92, "1_2": 184}
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
    assert set(kept("1_16")) < set(kept("1_8")) < set(kept("1_4")) < set(kept("1_2"))


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


@pytest.mark.filterwarnings("error")
def test_fractions_of_next_to_no_masks_are_empty():
    assert splits.draw(["a", "b", "c"], lambda _: "", 0)["1_16"] == []


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real CamVid is not beside the repository (../shared/camvid)")
def test_the_command_reproduces_the_lists_and_every_class_occurs(tmp_path, capsys):
    camvid.main([f"--source_dir={REAL}", f"--data_dir={tmp_path}", "--splits=train"])
    splits.main([f"--data_dir={tmp_path}", f"--output_dir={tmp_path}"])
    for fraction in SIZES:
        assert (tmp_path / "camvid" / f"{fraction}.txt").read_bytes() == (KEPT / f"{fraction}.txt").read_bytes()
    assert "warning" not in capsys.readouterr().out


def test_sizes_are_those_of_the_literature():
    ids = [f"aachen_{i:06d}_000019" for i in range(174)] + [f"zurich_{i:06d}_000019" for i in range(2975 - 174)]
    cityscapes = splits.draw(ids, splits.DRIVES["cityscapes"], 0)
    assert {name: len(drawn) for name, drawn in cityscapes.items()} == {
        "1_2": 1488,
        "1_4": 744,
        "1_8": 372,
        "1_16": 186,
    }
    assert [sum("aachen" in image_id for image_id in drawn) for drawn in cityscapes.values()] == [87, 44, 22, 11]
    voc = splits.draw([f"2007_{i:06d}" for i in range(1464)], lambda _: "", 0)
    assert [len(drawn) for drawn in voc.values()] == [732, 366, 183, 92]


def test_any_prepared_data_set_can_be_divided(tiny_data, tmp_path, capsys):
    splits.main([f"--data_dir={tiny_data}", f"--output_dir={tmp_path}", "--seed=3"])
    assert len((tmp_path / "tiny" / "1_2.txt").read_text().split()) == 2
    assert len((tmp_path / "tiny" / "1_4.txt").read_text().split()) == 1
    said = capsys.readouterr().out
    assert "1_2.txt: 2 of 4 images" in said
    assert f"{tmp_path / 'tiny' / '1_16.txt'}: not written, since 1/16 of 4 images rounds to none" in said
    assert not (tmp_path / "tiny" / "1_16.txt").exists(), "a run would refuse a list of no image"


def test_lists_do_not_go_into_an_installed_package(tiny_data, monkeypatch):
    monkeypatch.setattr(splits, "checkout", lambda: None)
    with pytest.raises(CsstError, match="would go into the installed package; give --output_dir=DIR"):
        splits.main([f"--data_dir={tiny_data}"])


def test_bad_arguments(tmp_path, capsys):
    with pytest.raises(CsstError, match="--seed=-1"):
        splits.main([f"--data_dir={tmp_path}", "--seed=-1"])
    with pytest.raises(CsstError, match="holds no prepared data set"):
        splits.main([f"--data_dir={tmp_path}"])
