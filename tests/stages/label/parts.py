"""What tests of the label stage give it, and what they read."""

import io
import json
import types

import numpy as np
from PIL import Image

from csst_jax.settings import resolve
from csst_jax.stages.experiment import Experiment
from csst_jax.stages.model_file import Trained

TEACHER = Trained(None, None, types.SimpleNamespace(weights_sha256="teacherhash", steps=1, preprocessing=None))


def experiment(config, pool):
    return Experiment(resolve.run(config), None, pool, pool)


def decoded(labelled, i):
    return np.asarray(Image.open(io.BytesIO(labelled.label_bytes(i))))


def files(directory):
    """Everything that the stage leaves, but for its times."""
    found = {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}
    done = json.loads(found.pop("DONE"))
    del done["wall_s"]
    return found | {"DONE": done}
