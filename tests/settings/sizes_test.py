"""From data and machine to sizes: a table, and what must hold for every row of it."""

import dataclasses

import pytest

from csst_jax.runtime.machine import Machine
from csst_jax.settings.sizes import KEYS, Question, choose

GIB = 2**30
LAPTOP = Machine("cpu", 1, 16 * GIB, 2)
WORKSTATION = Machine("cpu", 1, 128 * GIB, 16)
GPU = Machine("gpu", 1, 12 * GIB, 8)
BIG_GPU = Machine("gpu", 1, 60 * GIB, 16)
SLICE = Machine("tpu", 16, 16 * GIB, 100)
FAST, HEAVY = ("fast_scnn", 27.0), ("deeplab_v3_plus_resnet50", 2789.0)


def question(images, pool, image_px, network=FAST, **more):
    values = {"parts": 1, "per_real": 1.0, "spatial": 1, "stride": 32, "given": {}} | more
    return Question(images, pool, image_px, *network, **values)


TWELVE = question(10, False, (360, 480))
FORTY = question(38, True, (360, 480))
CITYSCAPES = question(2975, False, (1024, 2048))
PHOTOS = question(10, False, (3024, 4032))


@pytest.mark.parametrize(
    "asked,machine,crop_px,batch_size,num_sizes,samples",
    [
        (TWELVE, LAPTOP, 224, 8, 2, 96),
        (FORTY, LAPTOP, 224, 8, 2, 96),
        (question(367, True, (360, 480)), LAPTOP, 224, 8, 2, 179),  # ten seconds of it
        (question(367, True, (360, 480)), WORKSTATION, 224, 8, 2, 367),
        (question(367, True, (360, 480), parts=2, per_real=2.0), LAPTOP, 224, 16, 2, 192),
        (question(367, True, (360, 480), parts=4, per_real=4 / 3), LAPTOP, 224, 8, 2, 179),
        (question(367, True, (360, 480), parts=2, per_real=2.0), GPU, 352, 32, 3, 1024),
        (PHOTOS, LAPTOP, 320, 8, 2, 96),
        (question(10, False, (64, 64)), LAPTOP, 32, 8, 2, 96),
        (question(10, False, (96, 96)), LAPTOP, 64, 8, 2, 96),  # 5/8 are 60
        (question(10, False, (95, 128)), GPU, 64, 16, 3, 256),
        (question(10, False, (20, 40)), LAPTOP, 32, 8, 2, 96),
        (question(10, False, (20, 20)), LAPTOP, 20, 8, 2, 96),
        (question(10, False, (360, 480), HEAVY), LAPTOP, 224, 8, 2, 96),
        (question(10, False, (360, 480), HEAVY), Machine("cpu", 1, 4 * GIB, 2), 224, 2, 2, 96),
        (TWELVE, GPU, 352, 16, 3, 256),
        (FORTY, GPU, 352, 16, 3, 512),
        (CITYSCAPES, BIG_GPU, 800, 16, 6, 2975),
        (question(2975, False, (1024, 2048), HEAVY), GPU, 640, 2, 6, 2975),
        (question(2975, False, (1024, 2048), HEAVY), BIG_GPU, 800, 4, 6, 2975),
        (CITYSCAPES, SLICE, 800, 16, 6, 2975),
        (question(22973, True, (1024, 2048)), SLICE, 800, 16, 6, 22973),
        (CITYSCAPES, Machine("gpu", 1, None, 8), 800, 8, 6, 2975),
    ],
)
def test_sizes_follow_from_data_and_machine(asked, machine, crop_px, batch_size, num_sizes, samples):
    found = choose(asked, machine)
    assert tuple(found.values[key] for key in KEYS) == (crop_px, batch_size, num_sizes, samples)
    assert set(found.reasons) == set(KEYS) and all(found.reasons.values())


def test_numbers_that_were_given_stay_and_the_others_fit_them():
    given = {"crop_px": 640, "samples_per_epoch": 0}
    found = choose(dataclasses.replace(TWELVE, given=given), LAPTOP)
    assert set(found.values) == {"batch_size", "schedule.num_sizes"}
    found = choose(dataclasses.replace(TWELVE, network=HEAVY[0], gflop=HEAVY[1], given={"batch_size": 16}), LAPTOP)
    assert found.values["crop_px"] < 224 and "fits" in found.reasons["crop_px"]
    assert choose(dataclasses.replace(TWELVE, given=dict.fromkeys(KEYS, 3)), LAPTOP).values == {}


@pytest.mark.parametrize("parts", [1, 2, 6])
@pytest.mark.parametrize("spatial", [1, 2])
def test_devices_and_kinds_of_crops_share_a_batch_evenly(parts, spatial):
    found = choose(dataclasses.replace(CITYSCAPES, parts=parts, spatial=spatial), SLICE)
    assert found.values["batch_size"] % (16 // spatial * parts) == 0
    assert found.values["crop_px"] % 32 == 0


def test_reasons_are_told_in_words():
    reasons = choose(TWELVE, LAPTOP).reasons
    assert reasons["crop_px"] == "about 5/8 of the images' shorter side, 360 px"
    assert reasons["samples_per_epoch"] == "10 images, but training needs steps"
    assert "largest crop on a CPU" in choose(PHOTOS, LAPTOP).reasons["crop_px"]
    assert "time" in choose(question(5000, True, (360, 480)), LAPTOP).reasons["samples_per_epoch"]
