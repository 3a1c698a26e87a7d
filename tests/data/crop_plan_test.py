"""The plan of a run's crops needs neither TensorFlow nor JAX; batches_test.py follows it step by step."""

import subprocess
import sys

from tests.small_runs import ROOT

_PROGRAM = """
import sys
from csst_jax.data.crop_plan import batch_specs
from csst_jax.samplers.uniform import UniformImageSampler
from csst_jax.streams import LABELLED
from csst_jax.types import Phase
sampler = UniformImageSampler([(0, record, 96, 128) for record in range(4)])
specs = list(batch_specs([LABELLED], {"labelled": sampler}, [Phase(32, 4, 3)], 0, (0.5, 2.0), 1))
assert [spec.counts for spec in specs] == [{"labelled": 4}] * 2
assert not {"tensorflow", "jax"} & set(sys.modules), "imported for nothing"
"""


def test_a_plan_is_made_without_tensorflow_and_jax():
    subprocess.run([sys.executable, "-c", _PROGRAM], cwd=ROOT, check=True)
