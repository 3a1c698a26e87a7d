"""--longest_side: images and masks are made smaller, and the data set remembers it."""

import cv2
import numpy as np
import pytest
from PIL import Image

from csst_jax.data.store import DataSet
from csst_jax.data.stored.encoded import decode_label, decode_rgb
from csst_jax.types import CsstError
from data_prep import folder, photo_size, raw
from data_prep.label_map import LabelMap
from tests.data_prep import replicas
from tests.data_prep.breaking import file, mask, photo


def written(directory, size, name="a.png", exif=None, **options):
    """A pair of a photo and a mask of three stripes."""
    height, width = size
    (directory / name).write_bytes(file(photo(size=size), Image.registered_extensions()[name[1:]], exif, **options))
    upright = (width, height) if exif == 6 else size
    (directory / "mask.png").write_bytes(file(mask(size=upright)))
    return raw.RawPair("a", directory / name, directory / "mask.png"), mask(size=upright)


@pytest.mark.parametrize("name,format", [("a.png", b"\x89PNG"), ("a.jpg", b"\xff\xd8"), ("a.bmp", b"\x89PNG")])
def test_an_image_and_its_mask_are_made_smaller_together(tmp_path, name, format):
    pair, label = written(tmp_path, (60, 120), name)
    found = raw.read_pair(pair, LabelMap.identity(3), longest_side=40)
    pixels = decode_rgb(found.image_bytes)
    assert found.image_bytes.startswith(format) and pixels.shape == (20, 40, 3) and found.labelled
    np.testing.assert_array_equal(found.label, label[1::3, 1::3])  # the pixels at the centres
    mean = cv2.resize(photo(size=(60, 120)), (40, 20), interpolation=cv2.INTER_AREA)
    assert np.abs(pixels.astype(float) - mean).mean() < 20 < np.abs(pixels.astype(float) - mean[::-1]).mean()
    without = raw.read_pair(raw.RawPair("a", pair.image, None), LabelMap.identity(3), longest_side=40)
    assert without.label.shape == (20, 40) and (without.label == 255).all() and not without.labelled


@pytest.mark.parametrize("longest_side", [0, 120, 500])
def test_an_image_that_is_small_enough_keeps_its_bytes(tmp_path, longest_side):
    pair, label = written(tmp_path, (60, 120))
    found = raw.read_pair(pair, LabelMap.identity(3), longest_side)
    assert found.image_bytes == pair.image.read_bytes()
    np.testing.assert_array_equal(found.label, label)


def test_a_turned_photo_is_upright_and_smaller(tmp_path):
    pair, _ = written(tmp_path, (60, 120), "a.jpg", exif=6)
    found = raw.read_pair(pair, LabelMap.identity(3), longest_side=40)
    assert decode_rgb(found.image_bytes).shape == (40, 20, 3) and found.label.shape == (40, 20) and found.turned


def test_a_mask_of_another_size_is_refused_as_before(tmp_path):
    pair, _ = written(tmp_path, (60, 120))
    pair.mask.write_bytes(file(mask(size=(30, 60))))
    with pytest.raises(raw.Bad, match="the mask is 60x30 but its image .* is 120x60"):
        raw.read_pair(pair, LabelMap.identity(3), longest_side=40)


def test_the_command_keeps_to_it(tmp_path):
    replicas.folder(tmp_path)
    arguments = [f"--images={tmp_path / 'images'}", f"--masks={tmp_path / 'masks'}", f"--data_dir={tmp_path / 'data'}"]
    arguments += ["--classes=ground,thing,sky", "--name=mine", "--num_workers=1"]
    folder.main([*arguments, "--longest_side=16"])
    found = DataSet.open(tmp_path / "data")
    assert found.description.longest_side == 16
    reader = found.reader("train")
    shape = decode_rgb(reader.image_bytes(0)).shape
    assert max(shape) == 16 and decode_label(reader.label_bytes(0)).shape == shape[:2]
    folder.main([*arguments, "--longest_side=16"])  # there is nothing to do
    for other, was in (([], "--longest_side=16"), (["--longest_side=20"], "--longest_side=16")):
        with pytest.raises(CsstError, match=f"was prepared with {was}; give the same, another --name, or --overwrite"):
            folder.main([*arguments, *other])
    folder.main([*arguments, "--overwrite"])
    assert DataSet.open(tmp_path / "data").description.longest_side == 0
    with pytest.raises(CsstError, match="--longest_side=-1 must be 0 or more"):
        folder.main([*arguments, "--longest_side=-1"])


def test_large_photos_are_told(tmp_path, capsys):
    for name, size in (("a.png", (10, 3000)), ("b.png", (2500, 10)), ("c.png", (10, 10))):
        (tmp_path / name).write_bytes(file(photo(size=size)))
    paths = sorted(tmp_path.iterdir())
    photo_size.tell(paths)
    assert "warning: the images are large: their longer side is 2500 px." in capsys.readouterr().err
    assert photo_size.warning([*paths, paths[2]] + 2 * [paths[2]]) == "" == photo_size.warning([])
    assert photo_size.warning(100 * [paths[0]] + [paths[2]]).startswith("the images are large")
