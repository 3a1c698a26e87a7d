"""Whole-image prediction: normalisation, scales and flips."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.evaluation.inference import make_labeller, make_predictor, windows
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.train.sharding import DATA, make_mesh
from csst_jax.types import CsstError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
PREPROCESSING = Preprocessing(MEAN, STD)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 36, 48, 3)).astype(np.uint8)


def test_plain_prediction_is_the_softmax_of_the_normalised_image(images):
    predict = jax.jit(make_predictor(lambda x: x, PREPROCESSING))
    probabilities = predict(images)
    assert probabilities.dtype == jnp.float32 and probabilities.shape == images.shape
    expected = jax.nn.softmax((images / 255.0 - np.array(MEAN)) / np.array(STD), axis=-1)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4, atol=1e-6)


def test_flip_averages_a_network_that_is_not_symmetric(images):
    def leaning(x):
        return x + jnp.linspace(0, 1, x.shape[2])[None, None, :, None] * jnp.arange(3.0)

    plain = np.asarray(make_predictor(leaning, PREPROCESSING)(images))
    flipped = np.asarray(make_predictor(leaning, PREPROCESSING)(images[:, :, ::-1]))[:, :, ::-1]
    assert np.abs(plain - flipped).max() > 0.1
    both = make_predictor(leaning, PREPROCESSING, flip=True)(images)
    np.testing.assert_allclose(both, (plain + flipped) / 2, atol=1e-6)


def test_scales_keep_the_ratio_round_to_the_stride_and_average(images):
    seen = []

    def network(x):
        seen.append(x.shape[1:3])
        return jnp.full((*x.shape[:3], 3), jnp.array([0.0, 0.0, 1.0]) * x.shape[1])

    probabilities = make_predictor(network, PREPROCESSING, scales=(0.5, 1.0, 2.0), stride=8)(images)
    # 36 -> 18 -> 16, 48 -> 24; the image's own size is kept at scale 1; 72 and 96.
    assert seen == [(16, 24), (36, 48), (72, 96)]
    expected = np.mean([jax.nn.softmax(jnp.array([0.0, 0.0, 1.0]) * h) for h in (16, 36, 72)], axis=0)
    np.testing.assert_allclose(probabilities, np.broadcast_to(expected, probabilities.shape), atol=1e-5)
    make_predictor(network, PREPROCESSING, scales=(0.1,), flip=True)(images)
    assert seen[3:] == [(32, 32)]  # one network for the image and its mirror image


def test_smooth_image_is_predicted_alike_at_all_scales():
    ramp = np.linspace(0, 255, 96)
    image = np.stack([np.broadcast_to(ramp, (64, 96)), np.broadcast_to(ramp[::-1], (64, 96)), np.full((64, 96), 9)], -1)
    image = image[None].astype(np.uint8)
    plain = make_predictor(lambda x: x, PREPROCESSING)(image)
    pyramid = make_predictor(lambda x: x, PREPROCESSING, scales=(0.5, 1, 1.5), flip=True)(image)
    np.testing.assert_allclose(plain, pyramid, atol=0.03)
    np.testing.assert_allclose(pyramid.sum(-1), 1, atol=1e-5)


def test_state_reaches_the_network_as_an_argument(images):
    predict = jax.jit(make_predictor(lambda x, scale: x * scale, PREPROCESSING))
    one, two = predict(images, jnp.float32(0)), predict(images, jnp.float32(1))
    np.testing.assert_allclose(one, 1 / 3, atol=1e-6)
    assert np.abs(np.asarray(two) - 1 / 3).max() > 0.1
    assert predict._cache_size() == 1


@pytest.mark.parametrize("overlap", [0.0, 1 / 3, 0.7])
@pytest.mark.parametrize("size", [(36, 48), (16, 50), (10, 12)])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.6])
def test_tiles_cover_the_image_and_lie_in_it(size, scale, overlap):
    region, corners = windows(size, scale, 16, overlap)
    wanted = round(16 / scale)
    assert region == (min(wanted, size[0]), min(wanted, size[1]))
    assert len(set(corners)) == len(corners)
    seen = np.zeros(size, int)
    for top, left in corners:
        assert top + region[0] <= size[0] and left + region[1] <= size[1]
        seen[top : top + region[0], left : left + region[1]] += 1
    assert seen.min() == 1
    lefts = sorted({left for _, left in corners})
    assert all(b - a <= max(int(region[1] * (1 - overlap)), 1) for a, b in itertools.pairwise(lefts))


def place_and_content(x):
    """Logits that depend on the place in the network's input and on all of it."""
    place = jnp.linspace(0, 2, x.shape[2])[None, None, :, None] * jnp.linspace(1, 3, x.shape[1])[None, :, None, None]
    return x * place + x.mean((1, 2), keepdims=True) * jnp.arange(3.0)


@pytest.mark.parametrize("flip", [False, True])
def test_overlapping_tiles_are_averaged(images, flip):
    """Against the sum and the count over windows, as sliding inference is commonly written."""
    one = make_predictor(place_and_content, PREPROCESSING, flip=flip)
    expected, count = np.zeros(images.shape), np.zeros((1, 36, 48, 1))
    for top in (0, 10, 20):
        for left in (0, 10, 20, 30, 32):
            window = np.s_[:, top : top + 16, left : left + 16]
            expected[window] += one(images[window])
            count[window] += 1
    tiled = jax.jit(make_predictor(place_and_content, PREPROCESSING, flip=flip, window_px=16))(images)
    np.testing.assert_allclose(tiled, expected / count, atol=1e-5)
    assert np.abs(one(images) - tiled).max() > 0.1, "windows make no difference: this test sees nothing"


def test_tiles_of_a_scale_are_as_large_as_of_any_other_and_scales_count_the_same(images):
    seen = []

    def network(x):
        seen.append(x.shape[1:3])
        return x

    tiled = make_predictor(network, PREPROCESSING, scales=(0.5, 1.0, 2.0), window_px=16, stride=8)(images)
    assert seen == [(16, 16)] * 3
    whole = make_predictor(lambda x: x, PREPROCESSING, scales=(0.5, 1.0, 2.0), stride=2)(images)
    inner = np.abs(np.asarray(tiled - whole))
    assert inner.mean() < 0.02  # at borders of windows, resizing sees less
    np.testing.assert_allclose(tiled.sum(-1), 1, atol=1e-5)


def test_a_tile_that_holds_the_image_is_the_whole_image(images):
    whole, tiled = (
        make_predictor(place_and_content, PREPROCESSING, scales=(1.0, 2.0), window_px=px)(images) for px in (0, 96)
    )
    np.testing.assert_array_equal(whole, tiled)


def test_bad_input(images):
    for bad in ({"window_px": -1}, {"window_overlap": 1.0}, {"window_overlap": -0.1}):
        with pytest.raises(CsstError, match="window_px=.*: give a side in pixels"):
            make_predictor(lambda x: x, PREPROCESSING, **bad)
    for scales in ((), (1.0, 0.0)):
        with pytest.raises(CsstError, match="prediction scales are"):
            make_predictor(lambda x: x, PREPROCESSING, scales=scales)
    with pytest.raises(ValueError, match="returned logits of shape"):
        make_predictor(lambda x: x[:, ::2], PREPROCESSING)(images)


def wide_network(num_classes, seen=None):
    """Logits of which every value depends on a whole image, so that they cannot be computed pixel by pixel."""

    def network(x, kernel):
        if seen is not None:
            seen.append(x.shape)
        return x @ kernel + x.mean((1, 2), keepdims=True) @ kernel

    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(3, num_classes)), jnp.float32)
    return network, kernel


@pytest.mark.parametrize("devices,batch", [(1, 3), (2, 4)])
def test_labels_are_the_most_probable_classes_image_by_image(devices, batch):
    seen = []
    network, kernel = wide_network(5, seen)
    images = np.random.default_rng(1).integers(0, 256, (batch, 36, 48, 3)).astype(np.uint8)
    mesh = make_mesh(jax.devices()[:devices], 1)
    predict = make_predictor(network, PREPROCESSING, scales=(1.0, 2.0), flip=True)
    everywhere, share = (jax.NamedSharding(mesh, jax.P(*axes)) for axes in ((), (DATA,)))
    label = jax.jit(make_labeller(predict, mesh), in_shardings=(share, everywhere))
    lowered = label.lower(images, kernel)
    assert seen == [(1, 36, 48, 3), (1, 64, 96, 3)], "more than one image at a time"
    compiled = lowered.compile()
    assert not {"all-gather", "all-to-all", "collective-permute", "all-reduce"} & set(
        compiled.as_text().replace("(", " ").split()
    )
    classes, confidence = compiled(jax.device_put(images, share), jax.device_put(kernel, everywhere))
    expected = np.asarray(jax.jit(predict)(images, kernel))
    np.testing.assert_array_equal(classes, expected.argmax(-1))
    np.testing.assert_allclose(confidence, expected.max(-1), rtol=1e-5)
    assert classes.dtype == np.uint8 and confidence.dtype == np.float32


def test_further_ranks_are_the_next_classes_by_their_probability():
    network, kernel = wide_network(5)
    images = np.random.default_rng(1).integers(0, 256, (2, 12, 16, 3)).astype(np.uint8)
    predict, mesh = make_predictor(network, PREPROCESSING), make_mesh(jax.devices()[:1], 1)
    found = jax.jit(make_labeller(predict, mesh, ranks=3))(images, kernel)
    p = np.asarray(jax.jit(predict)(images, kernel))
    order = np.argsort(-p, -1)
    for rank, (classes, confidence) in enumerate(zip(found[::2], found[1::2], strict=True)):
        np.testing.assert_array_equal(classes, order[..., rank])
        np.testing.assert_allclose(confidence, np.sort(p, -1)[..., -1 - rank], rtol=1e-5)
        assert classes.dtype == np.uint8 and confidence.dtype == np.float32
    alike = jax.jit(make_labeller(predict, mesh, ranks=3))(images, jnp.zeros_like(kernel))
    assert [np.unique(classes).tolist() for classes in alike[::2]] == [[0], [1], [2]], "none comes twice"


@pytest.mark.parametrize("num_classes", [19, 66])
@pytest.mark.parametrize("flip", [False, True])
def test_memory_grows_by_the_labels_alone_with_the_images_of_a_device(num_classes, flip):
    size = (128, 256)
    network, kernel = wide_network(num_classes)
    predict = make_predictor(network, PREPROCESSING, flip=flip)
    one_image = 4 * size[0] * size[1] * num_classes  # bytes of its logits

    def temporaries(program, batch):
        image = jax.ShapeDtypeStruct((batch, *size, 3), jnp.uint8)
        return jax.jit(program).lower(image, kernel).compile().memory_analysis().temp_size_in_bytes

    def of_the_whole_batch(images, kernel):
        p = predict(images, kernel)
        return jnp.argmax(p, -1).astype(jnp.uint8), jnp.max(p, -1)

    label = make_labeller(predict, make_mesh(jax.devices()[:1], 1))
    one, four = temporaries(label, 1), temporaries(label, 4)
    assert one >= one_image, "the logits are not there: this test sees nothing"
    assert four - one < one_image / 2
    assert temporaries(of_the_whole_batch, 4) - one >= 3 * one_image, "this test cannot fail"


@pytest.mark.parametrize("num_classes", [19, 66])
@pytest.mark.parametrize("averaging", [{}, {"flip": True, "scales": (0.5, 1.0, 2.0)}])
def test_tiles_hold_the_logits_of_one_tile_beside_the_sum_of_the_image(num_classes, averaging):
    size, tile = (128, 256), 32
    network, kernel = wide_network(num_classes)
    pixel = 4 * num_classes  # bytes

    def temporaries(batch):
        predict = make_predictor(network, PREPROCESSING, window_px=tile, **averaging)
        image = jax.ShapeDtypeStruct((batch, *size, 3), jnp.uint8)
        label = make_labeller(predict, make_mesh(jax.devices()[:1], 1))
        return jax.jit(label).lower(image, kernel).compile().memory_analysis().temp_size_in_bytes

    one = temporaries(1)
    image_sum, largest_tile = size[0] * size[1] * pixel, (tile / min(averaging.get("scales", (1,)))) ** 2 * pixel
    images = 3 * 4 * size[0] * size[1]  # normalised
    assert image_sum <= one < image_sum + images + 3 * largest_tile
    assert temporaries(4) - one < image_sum / 2, "grows with the images of a device"
