"""Stored images in, class maps out: sizes, batches, padding and devices."""

import io
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from csst_jax.evaluation import memory, whole_image
from csst_jax.evaluation.whole_image import Averaging, WholeImagePredictor
from csst_jax.models import nnx_io, zoo
from csst_jax.models.nnx_io import Network
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.train.sharding import make_mesh
from csst_jax.types import CsstError

SIZES = ((20, 30), (24, 32), (24, 32), (17, 9), (32, 33))


class Images:
    """A source of images of many sizes."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.images = [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in SIZES]

    def image_bytes(self, record):
        stream = io.BytesIO()
        Image.fromarray(self.images[record]).save(stream, format="PNG")
        return stream.getvalue()


class Wide(Network):
    """Every logit depends on the 5 x 5 pixels around, as convolutions' do; outside of the input is zero."""

    def __init__(self):
        kernel = np.random.default_rng(1).normal(size=(5, 5, 3, 4)).astype(np.float32)
        super().__init__(None, None, None, {"kernel": jnp.asarray(kernel)}, {})

    def apply_eval(self, params, batch_stats, images):
        del batch_stats
        layout = ("NHWC", "HWIO", "NHWC")
        return {
            "logits": jax.lax.conv_general_dilated(images, params["kernel"], (1, 1), "SAME", dimension_numbers=layout)
        }


@pytest.fixture
def sizes(monkeypatch):
    """Sizes of the images that programs are made for."""
    seen = []
    original = whole_image.predict_program

    def recorded(*arguments, **more):
        program = original(*arguments, **more)
        seen.append(program.abstract_args[0].shape)
        return program

    monkeypatch.setattr(whole_image, "predict_program", recorded)
    return seen


def predicted(monkeypatch, devices=1, batch_size=2, spatial=1, preprocessing=None, ranks=1, **averaging):
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:devices])
    net = Wide()
    predictor = WholeImagePredictor(
        net,
        net.params,
        net.batch_stats,
        averaging=Averaging(**averaging),
        preprocessing=preprocessing or Preprocessing(),
        batch_size=batch_size,
        spatial=spatial,
        ranks=ranks,
    )
    return list(predictor(Images(), range(len(SIZES))))


def test_predictions_have_the_images_sizes_and_order(monkeypatch, sizes):
    found = predicted(monkeypatch)
    assert [p.record for p in found] == [0, 1, 2, 3, 4]
    for prediction, image in zip(found, Images().images, strict=True):
        np.testing.assert_array_equal(prediction.image, image)
        assert prediction.classes.shape == prediction.confidence.shape == image.shape[:2]
    assert sizes == [(2, *size, 3) for size in dict.fromkeys(SIZES)]


def test_further_classes_come_by_their_rank(monkeypatch):
    plain, all_four = predicted(monkeypatch), predicted(monkeypatch, ranks=4)
    for one, more in zip(plain, all_four, strict=True):
        assert one.runner_up is None and one.runner_up_confidence is None and not one.further
        classes, probabilities = more.ranked(4)
        np.testing.assert_array_equal(classes[0], one.classes)
        np.testing.assert_array_equal(np.sort(classes, 0), np.broadcast_to(np.arange(4)[:, None, None], classes.shape))
        assert (np.diff(probabilities, axis=0) <= 0).all()
        np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
        for found, told in zip(more.ranked(2), (classes, probabilities), strict=True):
            np.testing.assert_array_equal(found, told[:2])
        np.testing.assert_array_equal(more.runner_up, classes[1])
        np.testing.assert_array_equal(more.runner_up_confidence, probabilities[1])


@pytest.mark.parametrize("channels,white", [("RGB", 1.0), ("BGR", 255.0)])
def test_padding_is_as_good_as_none_and_saves_programs(monkeypatch, sizes, channels, white):
    mean = tuple(white * m for m in (0.2, 0.4, 0.8))  # whole grey values
    preprocessing = Preprocessing(mean, (0.25 * white,) * 3, channels, white)
    plain = predicted(monkeypatch, preprocessing=preprocessing)
    sizes.clear()
    padded = predicted(monkeypatch, preprocessing=preprocessing, pad_px=32)
    assert sizes == [(2, 32, 32, 3), (2, 32, 64, 3)]
    for one, other in zip(plain, padded, strict=True):
        np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-5)
        np.testing.assert_array_equal(one.classes, other.classes)


@pytest.mark.slow
@pytest.mark.parametrize("devices,batch_size,spatial", [(1, 4, 1), (8, 1, 1), (8, 4, 2), (8, 1, 8)])
@pytest.mark.parametrize("averaging", [{}, {"window_px": 16, "flip": True, "scales": (0.5, 1.0, 2.0), "pad_px": 32}])
def test_the_same_classes_on_any_number_of_devices(monkeypatch, devices, batch_size, spatial, averaging):
    """Last batches that are not full included, and heights that the devices along `spatial` do not divide."""
    found = predicted(monkeypatch, devices, batch_size, spatial, **averaging)
    plain = predicted(monkeypatch, batch_size=1, **averaging)
    for one, other in zip(plain, found, strict=True):
        assert one.record == other.record
        np.testing.assert_array_equal(one.classes, other.classes)


@pytest.mark.parametrize(
    "averaging,fix", [({}, "windows, of window_px=1024"), ({"window_px": 16}, "less than window_px=16")]
)
def test_what_the_memory_does_not_hold_is_refused_before_the_kernel_ends_the_process(monkeypatch, averaging, fix):
    monkeypatch.setattr(memory, "room_bytes", lambda: 2**10)
    with pytest.raises(CsstError, match=f"an image of 30 x 20 px takes 0.0 GiB .* this machine has 0.0 GiB; .*{fix}"):
        predicted(monkeypatch, **averaging)
    monkeypatch.setattr(memory, "room_bytes", lambda: None)
    assert len(predicted(monkeypatch)) == len(SIZES)


@pytest.mark.parametrize("height", [64, 67])
def test_rows_are_shared_and_borders_alone_are_exchanged(height):
    net = Wide()
    program = whole_image.predict_program(
        net,
        averaging=Averaging(),
        preprocessing=Preprocessing(),
        batch_size=1,
        image_size=(height, 48),
        mesh=make_mesh(jax.devices()[:8], 8),
    )
    text = program.lower().compile().as_text()
    own = -(-height // 8)
    assert re.search(rf"f32\[1,{own},48,4\]\S* convolution\(|f32\[1,{own},48,4\]", text), "each device has its rows"
    assert not re.search(rf"f32\[1,{height},48,4\]", text), "the logits of the whole image are on one device"


def test_padding_must_be_of_pixels():
    with pytest.raises(CsstError, match="pad_px=0: give a number of pixels"):
        Averaging(pad_px=0)


@pytest.mark.slow
@pytest.mark.essential("an image that devices share")
def test_a_large_image_over_eight_devices_is_predicted_as_on_one():
    network = nnx_io.create(zoo.builder("fast_scnn", 19, width=0.125), seed=0)
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3)).repeat(32, 1).repeat(32, 2).astype(np.uint8)

    def predicted(devices):
        program = whole_image.predict_program(
            network,
            averaging=Averaging(),
            preprocessing=Preprocessing(),
            batch_size=1,
            image_size=images.shape[1:3],
            mesh=make_mesh(jax.devices()[:devices], devices),
        )
        given = jax.device_put((images, network.params, network.batch_stats), program.in_shardings)
        return jax.device_get(program.lower().compile()(*given))

    (classes, confidence), (one_classes, one_confidence) = predicted(8), predicted(1)
    assert images.shape == (1, 1024, 2048, 3) and len(np.unique(one_classes)) > 1
    np.testing.assert_allclose(confidence, one_confidence, rtol=1e-5)
    np.testing.assert_array_equal(classes, one_classes)


def test_programs_of_the_sizes_used_last_are_kept_and_no_more(sizes, monkeypatch):
    monkeypatch.setattr(whole_image, "_MOST_PROGRAMS", 2)
    net = Wide()
    predict = WholeImagePredictor(
        net, net.params, net.batch_stats, averaging=Averaging(), preprocessing=Preprocessing(), batch_size=8
    )
    for height in (16, 24, 16, 32, 16, 24):  # 32 takes the place of 24, which was used before 16
        predict.compile((height, 8))
    assert [shape[1] for shape in sizes] == [16, 24, 32, 24]
