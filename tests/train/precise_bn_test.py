"""Batch normalisation measured after training: means over batches, of weak crops, on any number of devices."""

import dataclasses

import jax
import numpy as np
import pytest

from csst_jax.data.augment import Photometry
from csst_jax.methods.real_and_pseudo import RealAndPseudo
from csst_jax.streams import PSEUDO, REAL, STRONG
from csst_jax.train import precise_bn

CROP, BATCH = 16, 8


def values(network):
    return [{name: np.asarray(value) for name, value in part.items()} for part in (network.params, network.batch_stats)]


def measured(recipe, batches):
    return precise_bn.measure(recipe, seed=3)(*values(recipe.method.parts.network), iter(batches))


def test_it_is_the_mean_of_the_batches_own_statistics(make_recipe, make_network, make_batch):
    recipe = make_recipe(network=make_network(depthwise=False), jitter=0.0, blur=0.0)
    recipe = dataclasses.replace(recipe, augmentation=dataclasses.replace(recipe.augmentation, flip=0.0))
    network = recipe.method.parts.network
    batches = [make_batch(step, CROP, BATCH) for step in range(3)]
    found = measured(recipe, batches)
    assert found.keys() == network.batch_stats.keys()

    expected = {name: 0.0 for name in found}
    for batch in batches:
        images = recipe.augmentation.preprocessing(batch["labelled"]["image"] / np.float32(255))
        # Running averages move by a tenth of the way: ten times their move is the way to the batch's own.
        _, moved = network.apply_train(network.params, network.batch_stats, images, jax.random.key(0))
        for name, old in network.batch_stats.items():
            expected[name] += (np.asarray(old) + 10 * (np.asarray(moved[name]) - np.asarray(old))) / 3
    for name, value in found.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-4, err_msg=name)
    assert any(np.abs(value - network.batch_stats[name]).max() > 0.1 for name, value in found.items())


def test_devices_that_share_a_batch_find_the_same(make_recipe, make_network, make_batch):
    batches = [make_batch(step, CROP, BATCH) for step in range(2)]
    one, eight = (measured(make_recipe(devices, network=make_network(depthwise=False)), batches) for devices in (1, 8))
    for name, value in one.items():
        np.testing.assert_allclose(eight[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.fixture
def student(make_recipe, make_method, make_network):
    """Half of its crops are strongly augmented in training."""
    settings = RealAndPseudo.Settings(1, 1, "weak", "strong", 1.0, 1.0, False, False, 0.0, 0.5, 0.0)
    network = make_network(depthwise=False)
    recipe = make_recipe(network=network)
    return dataclasses.replace(recipe, method=make_method(network, RealAndPseudo, settings))


def of_both(make_batch, step):
    both = make_batch(step, CROP, BATCH)["labelled"]
    return {kind: jax.tree.map(lambda x, n=n: x[4 * n : 4 * n + 4], both) for n, kind in enumerate((REAL, PSEUDO))}


def test_a_student_s_crops_of_both_kinds_count_in_the_weak_view(student, make_batch):
    batches = [of_both(make_batch, step) for step in range(2)]
    found = measured(student, batches)
    views = student.augmentation.views | {STRONG: Photometry(0.0, 0.0)}
    other_strong = dataclasses.replace(student, augmentation=dataclasses.replace(student.augmentation, views=views))
    darker = [batch | {PSEUDO: batch[PSEUDO] | {"image": batch[PSEUDO]["image"] // 2}} for batch in batches]
    same, differing = measured(other_strong, batches), measured(student, darker)
    for name, value in found.items():
        np.testing.assert_array_equal(same[name], value, err_msg=name)
    assert any(np.abs(value - differing[name]).max() > 0.01 for name, value in found.items())


def test_micro_batches_are_batches_of_their_own(student, make_batch):
    whole = of_both(make_batch, 0)
    halves = [jax.tree.map(lambda x, n=n: x[n::2], whole) for n in range(2)]
    found, expected = measured(dataclasses.replace(student, accumulate=2), [whole]), measured(student, halves)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_without_batches_the_running_averages_stay(make_recipe, make_network):
    recipe = make_recipe(network=make_network(depthwise=False))
    found = measured(recipe, [])
    for name, value in recipe.method.parts.network.batch_stats.items():
        np.testing.assert_array_equal(found[name], value)
