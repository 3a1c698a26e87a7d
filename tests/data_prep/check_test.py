"""The check of a prepared data set, and the rebuilding of its index."""

import io

import numpy as np
import pytest
from PIL import Image

from csst_jax.data import centroid_index, store
from csst_jax.data.store import DataSet
from csst_jax.types import DatasetDescription
from data_prep import builder, check, cli, reindex
from data_prep.raw import RawExample

DESCRIPTION = DatasetDescription("tiny", ("ground", "thing", "rare"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))


def example(name, label, labelled=True):
    stream = io.BytesIO()
    Image.new("RGB", label.shape[::-1]).save(stream, format="PNG")
    return RawExample(name, stream.getvalue(), label, labelled)


@pytest.fixture
def prepared(tmp_path):
    """Two labelled images and one without a mask; class 2 is nowhere."""
    first = np.zeros((10, 20), np.uint8)
    first[2:4, 3:5] = 1
    first[7:9, 3:5] = 1
    first[:, 19] = 255
    train = [
        example("a", first),
        example("b", np.full((5, 8), 255, np.uint8), labelled=False),
        example("c", np.zeros((10, 20), np.uint8)),
    ]
    return builder.prepare(DESCRIPTION, {"train": iter(train)}, tmp_path, source_sha256="source")


def test_statistics(prepared):
    found = check.statistics(DataSet.open(prepared), "train")
    assert (found.num_images, found.num_labelled) == (3, 2)
    assert found.sizes == {(20, 10): 2, (8, 5): 1}
    np.testing.assert_allclose(found.pixel_share, [(400 - 10 - 8) / 400, 8 / 400, 0])
    assert found.num_components.tolist() == [2, 2, 0]
    assert found.num_images_with.tolist() == [2, 1, 0]


def test_prints_a_table_and_warns_of_absent_classes(prepared, capsys):
    check.main([f"--data_dir={prepared}"])
    output = capsys.readouterr().out
    assert "train: 3 images, 2 labelled; sizes 20x10 (2), 8x5 (1)" in output
    assert "warning: no pixel of rare" in output
    assert "index matches" in output
    assert any(line.split() == ["thing", "2.000", "2", "1"] for line in output.splitlines())


def test_stale_index_fails_the_check_until_rebuilt(prepared, capsys):
    path = store.index_path(prepared, "train")
    good = DataSet.open(prepared).centroids("train")
    stale = centroid_index.IndexBuilder(3)
    stale.add(0, "a", np.zeros((10, 20), np.uint8), b"other")
    centroid_index.write(path, stale.finish())
    with pytest.raises(centroid_index.StaleIndexError, match="data_prep.reindex"):
        check.main([f"--data_dir={prepared}"])
    reindex.main([f"--data_dir={prepared}", "--num_workers=1"])
    again = DataSet.open(prepared).centroids("train")
    assert again.ids == good.ids and again.labels_sha256 == good.labels_sha256
    for column in ("record", "klass", "y", "x", "area"):
        np.testing.assert_array_equal(getattr(again, column), getattr(good, column))
    path.unlink()
    reindex.main([f"--data_dir={prepared.parent}", "--num_workers=1"])
    check.main([f"--data_dir={prepared}"])
    assert "index matches" in capsys.readouterr().out


def test_commands_print_errors_without_traceback_and_exit_with_2(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.argv", ["check", f"--data_dir={tmp_path / 'nowhere'}"])
    with pytest.raises(SystemExit) as stopped:
        cli.run(check.main)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: data set directory")
