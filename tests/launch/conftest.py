"""A machine of stand-ins for each test."""

import pytest

from tests.launch.stand_ins import Machine


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)
