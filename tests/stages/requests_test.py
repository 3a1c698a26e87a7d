"""Each input that decides what a stage makes is in its request, or work of other inputs would be taken over."""

import dataclasses
import types

import pytest

from csst_jax.data.store import DataSet
from csst_jax.models.preprocessing import IMAGENET, Preprocessing
from csst_jax.runtime.json_files import fingerprint
from csst_jax.settings import resolve
from csst_jax.stages import requests, turns
from csst_jax.stages.experiment import Experiment
from csst_jax.stages.train import Job
from csst_jax.streams import PSEUDO, REAL

OTHER = Preprocessing(mean=(0.5, 0.5, 0.5))


@pytest.fixture
def this(tiny_config, tiny_data):
    config = tiny_config(tiny_data)
    opened = DataSet.open(tiny_data)
    data = resolve.data(config)
    return Experiment(resolve.run(config), None, data.training(opened), data.validation(opened))


def all_differ(asked):
    """Whether no two requests are the same."""
    return len({fingerprint(request.asked) for request in asked}) == len(asked)


def network(weights="teacher", preprocessing=IMAGENET):
    return types.SimpleNamespace(sha256=weights, expects=preprocessing)


def images(pseudo=(0, 1), labels="made by the teacher"):
    return {
        origin: types.SimpleNamespace(records=records, index=types.SimpleNamespace(labels_sha256=sha256))
        for origin, records, sha256 in ((REAL, (0, 1, 2, 3), "masks"), (PSEUDO, pseudo, labels))
    }


def test_of_a_training_stage(this):
    training = this.settings.student
    choice = training.network
    job = Job("student", training, images(), seed=0, teacher_sha256="teacher", soft_sha256="soft")
    trainings = (
        dataclasses.replace(training, crops=dataclasses.replace(training.crops, batch_size=16)),
        dataclasses.replace(training, network=dataclasses.replace(choice, preprocessing=OTHER)),
        dataclasses.replace(training, network=dataclasses.replace(choice, start_rows=(0, -1))),
    )
    jobs = [
        job,
        dataclasses.replace(job, seed=1),
        dataclasses.replace(job, teacher_sha256="another"),
        dataclasses.replace(job, soft_sha256="others"),
        dataclasses.replace(job, images=images(pseudo=(0, 2))),
        dataclasses.replace(job, images=images(labels="of another threshold")),
        *(dataclasses.replace(job, training=other) for other in trainings),
    ]
    assert all_differ([requests.train(this, asked) for asked in jobs])
    renamed = dataclasses.replace(job, name="another")
    assert requests.train(this, renamed) == requests.train(this, job), "a stage's name decides nothing"


def test_of_the_label_stage(this):
    fewer = dataclasses.replace(this, pool=dataclasses.replace(this.pool, unlabelled=this.pool.unlabelled[:3]))
    label = dataclasses.replace(
        this.settings.label, request=dataclasses.replace(this.settings.label.request, differing={"flip": True})
    )
    flipped = dataclasses.replace(this, settings=dataclasses.replace(this.settings, label=label))
    asked = [
        requests.label(this, network()),
        requests.label(fewer, network()),
        requests.label(flipped, network()),
        requests.label(this, network("another")),
        requests.label(this, network(preprocessing=OTHER)),
        requests.label(this, network(), kept_sha256="labels of the round before"),
    ]
    assert all_differ(asked)


def test_of_an_evaluation(this):
    fewer = dataclasses.replace(this.validation, labelled=this.validation.labelled[:2])
    asked = [
        requests.evaluate(this, network()),
        requests.evaluate(dataclasses.replace(this, validation=fewer), network()),
        requests.evaluate(this, network("another")),
        requests.evaluate(this, network(preprocessing=OTHER)),
    ]
    assert all_differ(asked)


def test_labels_that_stay_from_the_round_before_are_inputs():
    def before(labels="a", records=(0, 2)):
        index = types.SimpleNamespace(labels_sha256=labels)
        return types.SimpleNamespace(images=(None, index), records=records)

    assert turns.inputs(None) == turns.inputs(before(records=None)) == {}, "nothing stays"
    found = [turns.inputs(given)["kept_sha256"] for given in (before(), before("b"), before(records=(0, 3)))]
    assert len(set(found)) == 3
