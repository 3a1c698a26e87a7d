"""What surrounds a run: its configuration on disk."""

import json

import pytest
from ml_collections import ConfigDict

from csst_jax.start import recorded_config
from csst_jax.types import CsstError


def recorded(workdir):
    return json.loads((workdir / "config.json").read_text(encoding="utf-8"))


def test_the_configuration_lies_beside_the_results_from_the_beginning(tmp_path):
    with recorded_config(ConfigDict({"a": {"b": (1, 2)}}), tmp_path):
        assert recorded(tmp_path) == {"a": {"b": [1, 2]}}
    with recorded_config(ConfigDict({"a": 3}), tmp_path):
        pass
    assert recorded(tmp_path) == {"a": 3}


def test_a_refused_run_leaves_the_configuration_of_the_one_before(tmp_path):
    with recorded_config(ConfigDict({"lr": 0.1}), tmp_path):
        pass
    with pytest.raises(CsstError, match="stale"), recorded_config(ConfigDict({"lr": 0.2}), tmp_path):
        assert recorded(tmp_path) == {"lr": 0.2}
        raise CsstError("stale")
    assert recorded(tmp_path) == {"lr": 0.1}


def test_the_first_run_leaves_its_configuration_even_if_it_is_refused(tmp_path):
    with pytest.raises(CsstError), recorded_config(ConfigDict({"lr": 0.2}), tmp_path):
        raise CsstError("no data")
    assert recorded(tmp_path) == {"lr": 0.2}
