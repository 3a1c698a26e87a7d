"""Training steps and runs of the toy network."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.data.augment import Augmentation, Photometry
from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import HeadLosses
from csst_jax.methods.base import Parts
from csst_jax.methods.supervised import Supervised
from csst_jax.models import nnx_io
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.schedules import crops
from csst_jax.streams import STRONG, STRONG_2, WEAK
from csst_jax.train import optimizers
from csst_jax.train.checkpoint import Checkpoints
from csst_jax.train.loop import TrainingRun
from csst_jax.train.metrics import make_writer
from csst_jax.train.sharding import make_mesh
from csst_jax.train.step import Recipe
from tests.toy_network import Toy

NUM_CLASSES = 3


def toy_network(**options):
    """Drawn by numpy: compiling the initialisation would take longer than the tests."""
    network = nnx_io.abstract(functools.partial(Toy, **options))
    rng = np.random.default_rng(0)
    values = {
        name: rng.normal(size=like.shape) * 0.3 if name.endswith("kernel") else np.full(like.shape, "scale" in name)
        for name, like in network.params.items()
    }
    params = {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}
    stats = {
        name: jnp.full(like.shape, name.endswith("var"), jnp.float32) for name, like in network.batch_stats.items()
    }
    return dataclasses.replace(network, params=params, batch_stats=stats)


def toy_method(network, kind=Supervised, settings=None, ohem=True):
    """A method with the losses of the paper."""
    return kind(
        settings or kind.Settings(),
        Parts(network, HeadLosses(cross_entropy, ohem, 0.7, 1 / 16, 0.4), None, num_classes=3),
    )


def toy_recipe(devices=1, spatial=1, network=None, jitter=0.1, blur=0.5, **options):
    """A whole training step over some devices."""
    method = toy_method(network or toy_network())
    strong = Photometry(0.5, 0.5, 0.8, 0.2)
    views = {WEAK: Photometry(jitter, blur), STRONG: strong, STRONG_2: strong}
    return Recipe(
        method=method,
        augmentation=Augmentation(0.5, views, IMAGENET),
        optimizer=optimizers.make(optimizers.Sgd(0.9, 1e-4), method.trained()[0]),
        mesh=make_mesh(jax.devices()[:devices], spatial),
        **options,
    )


@pytest.fixture(scope="session")
def make_network():
    return toy_network


@pytest.fixture(scope="session")
def make_method():
    return toy_method


@pytest.fixture(scope="session")
def make_recipe():
    return toy_recipe


def sample_batch(step, crop_px, global_batch):
    """Input of a step, a pure function of it: the class of a pixel can be seen in its colour."""
    rng = np.random.default_rng(step)
    label = rng.integers(0, NUM_CLASSES, (global_batch, crop_px // 8, crop_px // 8)).repeat(8, 1).repeat(8, 2)
    image = (80 * label[..., None] + rng.integers(0, 60, (*label.shape, 3))).astype(np.uint8)
    label = label.astype(np.uint8)
    label[:, :2] = 255
    sample = np.stack([np.full(global_batch, 7), step * 100 + np.arange(global_batch)], 1).astype(np.int32)
    return {"labelled": {"image": image, "label": label, "sample": sample}}


@pytest.fixture(scope="session")
def make_batch():
    return sample_batch


@pytest.fixture
def make_run(tmp_path):
    """A function that gives a `TrainingRun` in the test's directory; keywords replace its attributes."""
    opened = []

    def make(kind="coarse2fine+", epochs=5, num_sizes=2, devices=1, directory=tmp_path, **changes):
        recipe = toy_recipe(devices, network=toy_network(depthwise=False), jitter=0, blur=0)
        schedule = {"smallest_share": 0.5, "stride": 8, "max_batch_factor": 4, "batch_unit": devices}
        phases = crops.phases(kind, 48, 8, epochs, 16, num_sizes=num_sizes, **schedule)
        shapes = [(p.crop_px, p.global_batch) for p in phases for _ in range(p.steps)]
        directory.mkdir(exist_ok=True)
        opened.append(Checkpoints(directory / "checkpoints", keep=2))
        run = TrainingRun(
            name="teacher",
            recipe=recipe,
            phases=phases,
            learning_rates=np.linspace(0.1, 0.01, len(shapes), dtype=np.float32),
            seed=3,
            batches=lambda start: (sample_batch(step, *shapes[step]) for step in range(start, len(shapes))),
            checkpoints=opened[-1],
            make_writer=lambda start: make_writer(directory, start, write=True),
            log_every_steps=2,
            checkpoint_every_s=1e9,
            nonfinite_steps=0,
            samples=lambda step: [f"crops of step {step}"],
        )
        return dataclasses.replace(run, **changes)

    yield make
    for checkpoints in opened:
        checkpoints.close()
