"""The training input: the same samples from any step on, on any number of processes, after any restart."""

import gc
import io
import threading
import time
import weakref

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from csst_jax.data import batches as module
from csst_jax.data.crop_plan import batch_specs
from csst_jax.data.kept import kept_in_memory
from csst_jax.data.stored import tiles
from csst_jax.samplers.plan import PLAN_DTYPE
from csst_jax.schedules import crops
from csst_jax.streams import LABELLED
from csst_jax.types import CsstError, Phase


class Marked:
    """A sampler whose rows tell epoch, position and seed."""

    def plan(self, epoch, seed, num_samples):
        plan = np.zeros(num_samples, PLAN_DTYPE)
        plan["origin"] = np.arange(num_samples) % 2
        plan["record"] = np.arange(num_samples) % 3
        plan["y"], plan["x"], plan["klass"] = epoch, np.arange(num_samples), seed
        return plan


SCHEDULE = {"num_sizes": 3, "smallest_share": 0.5, "stride": 8, "max_batch_factor": 4, "batch_unit": 4}
PHASES = crops.phases("coarse2fine+", 64, 4, 5, 24, **SCHEDULE)
TOTAL = sum(phase.steps for phase in PHASES)


def specs(start=0, seed=5, process=(0, 1), phases=PHASES):
    return list(batch_specs([LABELLED], {"labelled": Marked()}, phases, seed, (0.5, 2.0), start, *process))


def batches(specs, readers, **settings):
    """Of the one stream."""
    whole = module.batches(specs, [LABELLED], readers, **settings)
    try:
        for step in whole:
            assert set(step) == {"labelled"}
            yield step["labelled"]
    finally:
        whole.close()


def as_tuple(spec):
    return spec.crop_px, spec.rows.tobytes(), spec.scales.tobytes(), spec.samples.tobytes()


def test_steps_follow_the_phases():
    whole = specs()
    expected = [
        (phase.crop_px, phase.global_batch, epoch) for epoch, phase in enumerate(PHASES) for _ in range(phase.steps)
    ]
    assert [(s.crop_px, len(s.rows), int(s.samples[0, 0])) for s in whole] == expected
    for epoch in range(len(PHASES)):
        positions = np.concatenate([s.samples[:, 1] for s in whole if s.samples[0, 0] == epoch])
        np.testing.assert_array_equal(positions, np.arange(len(positions)))
        # Row and draws belong to the same position.
        np.testing.assert_array_equal(
            np.concatenate([s.rows["x"] for s in whole if s.samples[0, 0] == epoch]), positions
        )


@pytest.mark.parametrize("start", range(TOTAL + 1))
def test_resuming_at_any_step_goes_on_as_if_nothing_had_happened(start):
    assert [as_tuple(s) for s in specs(start)] == [as_tuple(s) for s in specs()[start:]]


@pytest.mark.parametrize("start", [0, TOTAL // 2])
def test_four_processes_together_are_one(start):
    parts = [specs(start, process=(index, 4)) for index in range(4)]
    for whole, *shares in zip(specs(start), *parts, strict=True):
        for name in ("rows", "scales", "samples"):
            np.testing.assert_array_equal(np.concatenate([getattr(s, name) for s in shares]), getattr(whole, name))
        assert {s.crop_px for s in shares} == {whole.crop_px}


def test_batch_that_processes_cannot_share_is_refused():
    with pytest.raises(CsstError, match="a global batch of 6 is not divisible by 4 processes"):
        specs(process=(0, 4), phases=[Phase(32, 6, 1)])


def test_scales_are_uniform_and_drawn_anew_by_epoch_and_seed():
    phases = [Phase(32, 4000, 1)] * 2
    first, second = (s.scales for s in specs(phases=phases))
    assert first.dtype == np.float32 and first.min() >= 0.5 and first.max() <= 2.0
    np.testing.assert_allclose(np.quantile(first, [0.25, 0.5, 0.75]), [0.875, 1.25, 1.625], atol=0.05)
    assert np.abs(np.corrcoef(first, second)[0, 1]) < 0.1
    assert not np.array_equal(first, specs(phases=phases, seed=6)[0].scales)


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


class Colours:
    """Three images of different size and of one colour each, told apart by `base`."""

    def __init__(self, base):
        self.base = base

    def __len__(self):
        return 3

    def image_bytes(self, record):
        return png(np.full((40 + record, 50, 3), self.base + record, np.uint8))

    def label_bytes(self, record):
        return png(np.full((40 + record, 50), self.base + record, np.uint8))

    def pair_bytes(self, record):
        return self.image_bytes(record), self.label_bytes(record)

    def describe(self, record):
        return f"colours {self.base}, record {record}"


def read(start=0, parallel_batches=2):
    return list(batches(iter(specs(start)), [Colours(10), Colours(20)], parallel_batches=parallel_batches, prefetch=2))


def test_batches_hold_the_right_images_and_are_the_same_after_a_restart():
    whole = read()
    for spec, batch in zip(specs(), whole, strict=True):
        b, s = len(spec.rows), spec.crop_px
        assert {n: (a.shape, a.dtype) for n, a in batch.items()} == {
            "image": ((b, s, s, 3), np.uint8), "label": ((b, s, s), np.uint8), "sample": ((b, 2), np.int32),
        }  # fmt: skip
        np.testing.assert_array_equal(batch["sample"], spec.samples)
        expected = 10 + 10 * spec.rows["origin"] + spec.rows["record"]
        for label, image, value in zip(batch["label"], batch["image"], expected, strict=True):
            assert set(np.unique(label)) - {255} == {value}
            assert (image[label != 255] == value).all()
    resumed = read(start=TOTAL - 3, parallel_batches=1)
    for ours, theirs in zip(resumed, whole[-3:], strict=True):
        for name in theirs:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_jpeg_and_grey_images_become_rgb():
    grey = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)

    class Grey(Colours):
        def image_bytes(self, record):
            stream = io.BytesIO()
            Image.fromarray(grey).save(stream, "JPEG" if record else "PNG", quality=95)
            return stream.getvalue()

        def label_bytes(self, record):
            return png(np.zeros((64, 64), np.uint8))

    for batch in batches(iter(specs()[:2]), [Grey(0), Grey(0)], parallel_batches=1, prefetch=1):
        assert (batch["image"][..., 0] == batch["image"][..., 2]).mean() > 0.99


class Tiled:
    """Noise in tiles, larger than one."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.images = [tiles.encode(rng.integers(0, 256, (150, 300, 3), np.uint8)) for _ in range(3)]
        self.labels = [tiles.encode(rng.integers(0, 19, (150, 300), np.uint8)) for _ in range(3)]

    def __len__(self):
        return 3

    def pair_bytes(self, record):
        return self.images[record], self.labels[record]

    def label_bytes(self, record):
        return self.labels[record]

    def describe(self, record):
        return f"noise.array_record: record {record}"


def test_batches_are_the_same_on_any_number_of_cores(monkeypatch):
    found = []
    for cores, parallel_batches in ((1, 1), (2, 2), (7, 3)):
        monkeypatch.setattr("csst_jax.data.batches.num_cores", lambda cores=cores: cores)
        settings = {"parallel_batches": parallel_batches, "prefetch": 1}
        found.append(list(batches(iter(specs()), [Tiled(), Tiled()], **settings)))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            for name in one:
                np.testing.assert_array_equal(one[name], two[name])


def test_a_damaged_image_is_named():
    source = Tiled()
    source.images[1] = source.images[1][:-1]
    with pytest.raises(CsstError, match=r"noise.array_record: record 1: an image in tiles is cut off"):
        list(batches(iter(specs()), [source, source], parallel_batches=2, prefetch=1))


def test_an_error_that_is_no_damage_is_not_hidden():
    class Failing(Tiled):
        def pair_bytes(self, record):
            raise RuntimeError("disk on fire")

    with pytest.raises(tf.errors.OpError, match="disk on fire"):
        list(batches(iter(specs()), [Failing(), Failing()], parallel_batches=1, prefetch=1))


def test_nothing_tunes_the_pipeline(monkeypatch):
    """A tuning thread sleeps for up to a minute at a time, and the end of the pipeline would wait for it."""
    made, options = [], tf.data.Options
    monkeypatch.setattr(tf.data, "Options", lambda: made.append(options()) or made[-1])
    next(batches(iter(specs()), [Tiled(), Tiled()], parallel_batches=1, prefetch=1))
    assert [found.autotune.enabled for found in made] == [False]


def test_leaving_early_leaves_no_thread_behind():
    def crop_threads():
        return [thread for thread in threading.enumerate() if thread.name.startswith("crop") and thread.is_alive()]

    before = set(crop_threads())  # an earlier test's may be about to end
    reader = batches(iter(specs()), [Tiled(), Tiled()], parallel_batches=2, prefetch=2)
    next(reader)
    assert set(crop_threads()) - before
    reader.close()
    del reader
    gc.collect()
    deadline = time.monotonic() + 10
    while set(crop_threads()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(crop_threads()) - before


@pytest.mark.parametrize("steps", [1, TOTAL])
def test_what_readers_keep_in_memory_ends_with_the_pipeline(steps):
    """TensorFlow keeps the function that cuts crops until the process ends: the cache of every stage would stay."""
    readers = kept_in_memory([Tiled(), Tiled()], 2**30)
    cache = weakref.ref(readers[0])
    reader = batches(iter(specs()), readers, parallel_batches=2, prefetch=2)
    for _ in range(steps):
        next(reader)
    reader.close()
    del readers, reader
    deadline = time.monotonic() + 10
    while cache() is not None and time.monotonic() < deadline:  # a crop may be under way
        gc.collect()
        time.sleep(0.05)
    assert cache() is None
