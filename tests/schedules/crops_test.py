"""Crop schedules against paper §3.3."""

import pytest

from csst_jax.schedules import crops
from csst_jax.types import CsstError, Phase

PAPER = {"num_sizes": 6, "smallest_share": 0.5, "stride": 32, "max_batch_factor": 4, "batch_unit": 1}


def phases_of(*args, **changes):
    return crops.phases(*args, **PAPER | changes)


def sizes(*args, **changes):
    return [p.crop_px for p in phases_of(*args, **changes)]


def test_paper_sizes_batches_and_speedup():
    phases = phases_of("coarse2fine+", 800, 16, 180, 43_000, stride=16)
    assert [(p.crop_px, p.global_batch) for p in phases[:6]] == [
        (400, 64),
        (480, 44),
        (560, 32),
        (640, 25),
        (720, 19),
        (800, 16),
    ]
    assert phases[6:12] == phases[:6]
    assert 1 / crops.speedup(phases) == pytest.approx(0.59, abs=0.005)
    assert crops.speedup(phases) == pytest.approx(1.69, abs=0.005)
    per_step = [p.crop_px**2 * p.global_batch for p in phases]
    assert min(per_step) > 0.95 * max(per_step)
    constant = phases_of("constant", 800, 16, 180, 43_000)
    assert crops.speedup(constant) == 1
    assert crops.pixels(constant) == 180 * 2688 * 16 * 800**2
    # At stride 32 the sizes are rounded, and the saving stays.
    assert crops.speedup(phases_of("coarse2fine", 800, 16, 180, 43_000)) == pytest.approx(1.7, abs=0.02)


def test_kinds():
    args = (128, 4, 8, 100)
    kwargs = {"num_sizes": 4, "stride": 1}
    assert sizes("constant", *args, **kwargs) == [128] * 8
    assert sizes("coarse2fine", *args, **kwargs) == [64, 64, 85, 85, 107, 107, 128, 128]
    assert sizes("fine2coarse", *args, **kwargs) == [128, 128, 107, 107, 85, 85, 64, 64]
    assert sizes("coarse2fine+", *args, **kwargs) == [64, 85, 107, 128] * 2
    assert sizes("fine2coarse+", *args, **kwargs) == [128, 107, 85, 64] * 2


def test_the_smallest_crop_is_a_share_of_the_full_one():
    assert sizes("coarse2fine", 224, 8, 6, 100, smallest_share=0.75, stride=1) == [168, 179, 190, 202, 213, 224]
    assert sizes("coarse2fine", 224, 8, 6, 100, smallest_share=0.75) == [160, 160, 192, 192, 224, 224]
    assert sizes("coarse2fine", 224, 8, 2, 100, smallest_share=1.0) == [224, 224]
    for share in (0.0, 1.5):
        with pytest.raises(CsstError, match="smallest_share is"):
            sizes("coarse2fine", 224, 8, 2, 100, smallest_share=share)


def test_a_batch_grows_by_a_part_of_the_full_ones_too():
    phases = phases_of("coarse2fine", 64, 6, 2, 100, num_sizes=2, max_batch_factor=1.5)
    assert [(p.crop_px, p.global_batch) for p in phases] == [(32, 9), (64, 6)]


def test_epochs_that_do_not_divide_into_blocks():
    assert sizes("coarse2fine", 128, 4, 7, 100, num_sizes=3, stride=32) == [64, 64, 64, 96, 96, 128, 128]
    assert sizes("coarse2fine+", 128, 4, 7, 100, num_sizes=3, stride=32) == [64, 96, 128, 64, 96, 128, 64]


@pytest.mark.parametrize("kind", crops.KINDS)
def test_few_epochs_still_see_the_full_size(kind):
    assert sizes(kind, 800, 16, 1, 100) == [800]
    if kind != "constant":
        assert sorted(sizes(kind, 800, 16, 2, 100, stride=16)) == [400, 800]
        assert sorted(sizes(kind, 800, 16, 3, 100, stride=8)) == [400, 600, 800]


def test_rounding_keeps_the_full_size_and_merges_duplicates():
    assert sizes("coarse2fine+", 769, 16, 6, 100) == [384, 448, 544, 608, 704, 769]
    assert sizes("coarse2fine+", 64, 16, 6, 100) == [32, 64, 32, 64, 32, 64]
    assert sizes("coarse2fine+", 20, 16, 3, 100) == [20, 20, 20]
    for crop in range(32, 300, 7):
        got = sizes("coarse2fine+", crop, 16, 6, 100)
        assert max(got) == crop and all(s % 32 == 0 for s in got if s != crop)


def test_batch_is_capped_and_a_multiple_of_its_unit():
    phases = phases_of("coarse2fine+", 800, 16, 6, 1000, stride=16, max_batch_factor=2, batch_unit=8)
    assert [p.global_batch for p in phases] == [32, 32, 32, 24, 16, 16]
    assert [p.steps for p in phases] == [32, 32, 32, 42, 63, 63]


def test_an_epoch_has_at_least_one_step_and_all_its_samples():
    for phase in phases_of("coarse2fine+", 800, 16, 6, 46):
        assert phase.steps >= 1
        assert 46 <= phase.steps * phase.global_batch < 46 + phase.global_batch


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (("zigzag", 800, 16, 6, 100), {}, "unknown crop schedule 'zigzag'; known are constant, coarse2fine"),
        (("constant", 800, 16, 0, 100), {}, "epochs is 0"),
        (("constant", 800, 16, 6, 0), {}, "samples_per_epoch is 0"),
    ],
)
def test_bad_input(args, kwargs, message):
    with pytest.raises(CsstError, match=message):
        phases_of(*args, **kwargs)


def test_compile_keys_are_shared_between_cycles():
    phases = phases_of("coarse2fine+", 800, 16, 60, 1000)
    assert len({p.compile_key for p in phases}) == 6
    assert isinstance(hash(phases[0]), int) and phases[0] == Phase(*phases[6].compile_key, phases[6].steps)
