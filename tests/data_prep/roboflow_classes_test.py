"""Roboflow's list of classes, and files that are something else."""

import pytest

from data_prep import classes
from tests.data_prep.breaking import told


def test_values_are_those_of_the_file(tmp_path):
    path = tmp_path / "_classes.csv"
    path.write_text("Pixel Value, Class\n0, background\n1, bird\n7, no bird\n")
    description, labels = classes.read(str(path), "mine")
    assert description.classes == ("background", "bird", "no bird")
    assert labels.values == {0: 0, 1: 1, 7: 2}


@pytest.mark.parametrize("text", ["", "a,b\n0,c\n", "Pixel Value, Class\n0\n", "Pixel Value, Class\nx, bird\n"])
def test_another_file_is_told(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    assert "x.csv: expected Roboflow's lines, such as `Pixel" in told(classes.read, str(tmp_path / "x.csv"), "mine")
