"""The list of classes that somebody edited after it was written."""

import pytest

from data_prep import annotations
from tests.data_prep.annotated import exports as e
from tests.data_prep.breaking import told

EDITED = """
classes:
  - {name: background, color: [0, 0, 0]}
  - {name: square, color: [200, 0, 0]}
void: {colors: [[9, 9, 9]]}
"""


@pytest.fixture
def classes_file(tmp_path):
    e.images(tmp_path / "photos")
    run(tmp_path, "square")
    return tmp_path / "masks" / "classes.yaml"


def run(where, *labels, more=()):
    outlines = {"square": e.SQUARE, "triangle": e.TRIANGLE}
    (where / "a.json").write_text(e.labelme("a", [e.labelme_shape(label, outlines[label]) for label in labels]))
    flags = {"annotations": where / "a.json", "images": where / "photos", "masks": where / "masks"}
    annotations.main([*(f"--{name}={path}" for name, path in flags.items()), *more])


def test_a_list_of_the_same_names_stays_as_somebody_edited_it(classes_file, tmp_path, capsys):
    classes_file.write_text(EDITED)
    run(tmp_path, "square")
    assert classes_file.read_text() == EDITED
    assert "1 masks, 0 of them new or changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", [EDITED, "# mine\nclasses: [background, square]", "[background, square]", "a: [", "classes: 7"]
)
def test_an_edited_list_of_other_names_is_replaced_only_when_asked_for(classes_file, tmp_path, text):
    classes_file.write_text(text)
    (tmp_path / "masks" / "a.png").unlink()  # so that no mask differs
    said = told(run, tmp_path, "square", "triangle")
    assert f"{classes_file}: somebody has edited it, and the classes are now background, square, triangle. Save" in said
    assert classes_file.read_text() == text and not (tmp_path / "masks" / "a.png").exists()
    run(tmp_path, "square", "triangle", more=["--overwrite"])
    assert classes_file.read_text() == "classes:\n- background\n- square\n- triangle\n"


def test_a_list_that_nobody_edited_grows(classes_file, tmp_path):
    (tmp_path / "masks" / "a.png").unlink()
    run(tmp_path, "square", "triangle")
    assert "- triangle" in classes_file.read_text()


def test_masks_of_other_images_are_known_by_the_names_of_an_edited_list(classes_file, tmp_path):
    classes_file.write_text(EDITED)
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "b.png")
    assert "b. Their classes are background, square; the classes are now background, triangle" in told(
        run, tmp_path, "triangle"
    )


def test_hidden_masks_are_nobodys(classes_file, tmp_path, capsys):
    hidden = tmp_path / "masks" / ".ipynb_checkpoints" / "a-checkpoint.png"
    hidden.parent.mkdir()
    (tmp_path / "masks" / "a.png").rename(hidden)
    run(tmp_path, "triangle")
    assert "- triangle" in classes_file.read_text() and "keeps masks" not in capsys.readouterr().err
