"""What the tests of `python -m csst_jax.predict` share: a finished run of a toy network, and photos."""

import pytest

from csst_jax.models import zoo
from tests.data_prep.breaking import file, photo
from tests.prediction import toy_file


@pytest.fixture(scope="module", autouse=True)
def toy_in_the_zoo():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workdir whose student and teacher are finished; read-only."""
    workdir = tmp_path_factory.mktemp("run")
    for seed, stage in enumerate(("student", "teacher")):
        toy_file.write(workdir / stage / "model.safetensors", seed=seed)
    return workdir


@pytest.fixture
def photos(tmp_path):
    """Three sizes, two of which are one when padded; one photo lies turned in a folder of its own."""
    where = tmp_path / "photos"
    (where / "b").mkdir(parents=True)
    for name, size in (("a.png", (40, 50)), ("c.bmp", (33, 64)), ("d.tif", (70, 20))):
        (where / name).write_bytes(file(photo(size=size), {"b": "BMP", "t": "TIFF", "p": "PNG"}[name[2]]))
    (where / "b" / "turned.jpg").write_bytes(file(photo(size=(50, 40)), "JPEG", exif=6))
    return where
