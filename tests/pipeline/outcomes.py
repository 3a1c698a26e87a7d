"""What tests of whole runs ask for, and what they look at afterwards."""

import dataclasses

import jax
import orbax.checkpoint as ocp
import pytest

from csst_jax import pipeline
from csst_jax.models.weights import files
from csst_jax.settings import resolve
from csst_jax.stages import scoring
from tests.toy_network import train_toys


def toy_config(tiny_config, tiny_data):
    return train_toys(tiny_config(tiny_data))


def all_stages(config):
    config.stages = "teacher,label,student,baseline,evaluate"
    return config


def evaluated(config, checkpoints, output):
    parts = (resolve.evaluation(config), resolve.data(config), resolve.mesh(config))
    return scoring.score_networks(*parts, checkpoints, output)


def unscored(directory):
    arrays, description = files.read(directory)
    return arrays, dataclasses.replace(description, scores=None)


def finished_teacher(workdir, config):
    """The finished teacher of a workdir."""
    caught = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "evaluate_network", lambda run, name, network: caught.append(network) or {})
        patch.setattr(pipeline.conclude, "conclude", lambda *_: None)
        config.stages = "teacher,evaluate"
        pipeline.run(resolve.run(config), workdir)
    return caught[0]


def stored(stage):
    """The last checkpoint's arrays, by part of the state."""
    (newest,) = sorted((p for p in (stage / "checkpoints").iterdir() if p.name.isdigit()), key=lambda p: int(p.name))[
        -1:
    ]
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.metadata(newest / "default").item_metadata.tree
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), tree)
        return checkpointer.restore(newest / "default", like)
