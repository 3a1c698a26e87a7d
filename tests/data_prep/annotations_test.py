"""The commands of docs/annotations.md, from an export to a prepared data set."""

import pathlib
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.store import DataSet
from csst_jax.data.stored import encoded
from data_prep import annotations, folder
from tests.data_prep.annotated import exports as e
from tests.readme_test import problems, python_commands

PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "annotations.md").read_text(encoding="utf-8")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_from_an_export_to_a_data_set(here, capsys):
    e.images(here / "photos")
    (here / "annotations.json").write_text(e.coco())
    assert problems(PAGE) == []
    (_, first), (_, second), _ = python_commands(PAGE)
    annotations.main(first)
    said = capsys.readouterr().out
    assert "annotations.json: COCO" in said and "masks: 2 masks, 2 of them new or changed" in said
    assert re.search(r"^  square +1 +2 +\d", said, re.M) and "several classes; the smallest counts" in said
    assert shlex.split(said.splitlines()[-1].removeprefix("next: "))[3:] == second
    folder.main([*second, "--num_workers=1"])
    assert "left out" not in capsys.readouterr().err
    data_set = DataSet.open("data/mine")
    assert data_set.description.classes == ("background", "square", "triangle")
    assert {*data_set.labelled_ids("train"), *data_set.labelled_ids("val")} == {"a", "b"}
    split = "val" if "b" in data_set.ids("val") else "train"
    label = encoded.decode_label(data_set.reader(split).pair_bytes(data_set.ids(split).index("b"))[1])
    assert np.array_equal(label == 1, e.square())


def test_masks_of_roboflow_need_no_conversion(here):
    for split in ("train", "valid"):
        e.images(here / "export" / split)
        for name in "ab":
            Image.fromarray(e.square().astype(np.uint8)).save(here / "export" / split / f"{name}_mask.png")
        (here / "export" / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, square\n")
    for path in (here / "export" / "valid").glob("*.jpg"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)  # other photos than those of train
    *_, (_, arguments) = python_commands(PAGE)
    folder.main([*arguments, "--num_workers=1"])
    data_set = DataSet.open("data/mine")
    assert data_set.description.classes == ("background", "square")
    ids = {*data_set.labelled_ids("train"), *data_set.labelled_ids("val")}
    assert ids == {f"{split}/{name}" for split in ("train", "valid") for name in "ab"}
