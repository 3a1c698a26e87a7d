"""TensorFlow is imported without Keras, which stays at hand."""

import subprocess
import sys

import pytest

from tests.small_runs import ROOT

_PROGRAM = """
import sys
from csst_jax.data.tensorflow_import import tf
assert int(tf.data.Dataset.range(3).reduce(0, lambda total, _: total + 1)) == 3
assert not any(name.split(".")[0] in ("keras", "matplotlib") for name in sys.modules), "imported for nothing"
"""


@pytest.mark.slow
def test_keras_is_imported_when_it_is_used_and_no_sooner():
    subprocess.run([sys.executable, "-c", _PROGRAM + "assert tf.keras.losses.MeanSquaredError"], cwd=ROOT, check=True)
