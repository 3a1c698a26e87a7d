"""A score on few images is told how uncertain it is, by the command that draws them."""

import pytest

from data_prep import folder, validation_size
from tests.data_prep import replicas


@pytest.mark.parametrize("count,points", [(1, 14), (2, 10), (5, 6), (19, 3)])
def test_the_fewer_images_the_less_a_score_says(count, points):
    said = validation_size.warning(count)
    assert said.startswith(f"{count} validation image") and f"about {points} points higher or lower" in said


@pytest.mark.parametrize("count", [0, 20, 500])
def test_enough_images_are_told_nothing_of(count, capsys):
    validation_size.tell(count)
    assert validation_size.warning(count) == "" == capsys.readouterr().err


def test_preparing_says_it(tmp_path, capsys):
    replicas.folder(tmp_path)
    arguments = [f"--images={tmp_path / 'images'}", f"--masks={tmp_path / 'masks'}", f"--data_dir={tmp_path / 'data'}"]
    folder.main([*arguments, "--classes=ground,thing,sky", "--name=mine", "--num_workers=1", "--val_fraction=0.4"])
    assert "warning: 2 validation images: on other images the mIoU could be about 10 points" in capsys.readouterr().err
