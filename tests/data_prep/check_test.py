"""The check of a prepared data set, and the rebuilding of its index."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from csst_jax.data import store
from csst_jax.data.store import DataSet
from csst_jax.data.stored import centroid_index
from csst_jax.types import CsstError, DatasetDescription
from data_prep import builder, check, cli, reindex
from data_prep.raw import RawExample

DESCRIPTION = DatasetDescription("tiny", ("ground", "thing", "rare"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))


def example(name, label, labelled=True):
    stream = io.BytesIO()
    noise = np.random.default_rng(sum(name.encode())).integers(0, 256, (*label.shape, 3)).astype(np.uint8)
    Image.fromarray(noise).save(stream, format="PNG")
    return RawExample(name, stream.getvalue(), label, labelled)


@pytest.fixture
def prepared(tmp_path):
    """Two labelled images and one without a mask in train, one in val; class 2 is nowhere."""
    first = np.zeros((10, 20), np.uint8)
    first[2:4, 3:5] = 1
    first[7:9, 3:6] = 1
    first[:, 19] = 255
    train = [
        example("a", first),
        example("b", np.full((5, 8), 255, np.uint8), labelled=False),
        example("c", np.zeros((10, 20), np.uint8)),
    ]
    return builder.prepare(
        DESCRIPTION, {"train": iter(train), "val": iter([example("v", first)])}, tmp_path, source_sha256="source"
    )


def run(prepared, *flags):
    return check.main([f"--data_dir={prepared}", "--num_workers=1", *flags])


def test_prints_a_table_and_warns_of_absent_classes(prepared, capsys):
    assert run(prepared) == 0
    output = capsys.readouterr().out
    assert "train: 3 images, 2 labelled; sizes 20x10 (2), 8x5 (1)" in output
    assert any(line.split() == ["thing", "2.500", "50.0", "2", "5", "4"] for line in output.splitlines())
    assert any(line.split() == ["rare", "0.000", "0.0", "0", "0", "0"] for line in output.splitlines())
    assert any(line.split() == ["(void)", "2.500"] for line in output.splitlines())
    assert "suggested sampler.min_area_px: 4, the smallest of the classes' own" in output
    assert "warning: no pixel of rare in the labelled images of either split" in output
    assert "centroid index was read; they fit together" in output and "error:" not in output


def test_json_says_the_same(prepared, capsys):
    assert run(prepared, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["errors"], list(found["splits"])) == ("tiny", [], ["train", "val"])
    train = found["splits"]["train"]
    assert (train["images"], train["labelled"], train["sizes"]) == (3, 2, {"20x10": 2, "8x5": 1})
    assert train["void_share"] == pytest.approx(10 / 400)
    assert train["classes"]["thing"] == {
        "pixels": 10, "pixel_share": 10 / 400, "images": 1, "components": 2, "median_area_px": 5.0,
        "suggested_min_area_px": 4,
    }  # fmt: skip
    assert any("rare" in warning for warning in found["warnings"])


def test_contact_sheet_lies_in_the_data_set_or_where_it_is_wanted(prepared, tmp_path, capsys):
    assert run(prepared) == run(prepared, f"--contact_sheet={tmp_path / 'new' / 'sheet.png'}") == 0
    for path in (prepared / "contact_sheet.png", tmp_path / "new" / "sheet.png"):
        with Image.open(path) as sheet:
            assert sheet.width == 4 * 328 + 8
    DataSet.open(prepared).reader("train")  # the picture does no harm there
    (prepared / "contact_sheet.png").unlink()
    (prepared / "contact_sheet.png").mkdir()  # cannot be written
    assert run(prepared) == 0, "the sheet was not asked for"
    assert "warning: cannot write" in capsys.readouterr().err
    with pytest.raises(CsstError, match=r"dataset.json/sheet.png \(.*\); name another place with --contact_sheet"):
        run(prepared, f"--contact_sheet={prepared / 'dataset.json' / 'sheet.png'}")


def test_a_configuration_chooses_the_labelled_images_and_is_looked_at_itself(prepared, tmp_path, capsys):
    (tmp_path / "ids.txt").write_text("a\n")
    flags = [
        "--config=configs/demo.py", f"--config.data.dir={prepared}",
        f"--config.data.labelled_ids={tmp_path / 'ids.txt'}",
        "--config.teacher.crop_px=8", "--config.student.crop_px=16", "--config.student.sampler.min_area_px=5",
    ]  # fmt: skip
    assert check.main(["--num_workers=1", *flags]) == 0
    output = capsys.readouterr().out
    assert "train: 3 images, 1 labelled" in output
    assert "teacher.crop_px=8 is longer than a side of 1 of 3 images" in output
    assert "student.crop_px=16 is longer than a side of 3 of 3 images" in output
    assert "student.sampler.min_area_px=5 leaves out more than specks of some classes; suggested: 4" in output
    assert "teacher.sampler.min_area_px" not in output
    with pytest.raises(CsstError, match=r"unknown configuration key 'data.dri' in --config.data.dri=x"):
        check.main(["--config=configs/demo.py", "--config.data.dri=x"])
    with pytest.raises(CsstError, match=r"student.epochs"):
        check.main(["--config=configs/demo.py", "--config.student.epochs=many"])
    with pytest.raises(CsstError, match="either --data_dir=DIR or --config=FILE"):
        run(prepared, "--config=configs/demo.py")
    with pytest.raises(CsstError, match="either --data_dir=DIR or --config=FILE"):
        check.main([])
    for stray in (["--nonsense"], ["--config.seed=1"]):
        with pytest.raises(SystemExit):
            run(prepared, *stray)
        assert stray[0] in capsys.readouterr().err


def test_workers_find_the_same(prepared):
    found = [check.diagnose(DataSet.open(prepared), None, num_workers) for num_workers in (1, 2)]
    assert found[0][1] == found[1][1] and found[0][0]["train"].sizes == found[1][0]["train"].sizes


def test_stale_index_fails_the_check_until_rebuilt(prepared, capsys):
    path = store.index_path(prepared, "train")
    good = DataSet.open(prepared).centroids("train")
    stale = centroid_index.IndexBuilder(3)
    stale.add(0, "a", np.zeros((10, 20), np.uint8), b"other")
    centroid_index.write(path, stale.finish())
    assert run(prepared) == 1
    output = capsys.readouterr().out
    assert "error:" in output and "the centroid index is stale" in output and "csst_jax reindex" in output
    assert "val: 1 images, 1 labelled" in output, "the sound split is told all the same"
    reindex.main([f"--data_dir={prepared}", "--num_workers=1"])
    again = DataSet.open(prepared).centroids("train")
    assert again.ids == good.ids and again.labels_sha256 == good.labels_sha256
    for column in ("record", "klass", "y", "x", "area"):
        np.testing.assert_array_equal(getattr(again, column), getattr(good, column))
    path.unlink()
    reindex.main([f"--data_dir={prepared.parent}", "--num_workers=1"])
    assert run(prepared) == 0


def test_status_tells_whether_training_would_go_wrong(prepared, monkeypatch):
    def status():
        monkeypatch.setattr("sys.argv", ["check", f"--data_dir={prepared}", "--num_workers=1"])
        with pytest.raises(SystemExit) as stopped:
            cli.run(check.main)
        return stopped.value.code

    assert status() == 0
    store.index_path(prepared, "val").unlink()
    assert status() == 1


def test_commands_print_errors_without_traceback_and_exit_with_2(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.argv", ["check", f"--data_dir={tmp_path / 'nowhere'}"])
    with pytest.raises(SystemExit) as stopped:
        cli.run(check.main)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: data set directory")


def test_many_sizes_of_images_are_told_with_the_padding_that_helps(tmp_path, capsys):
    sized = [example(f"{i:02d}", np.arange(10 * (20 + i)).reshape(10, -1).astype(np.uint8) % 3) for i in range(10)]
    directory = builder.prepare(DESCRIPTION, {"train": sized[:2], "val": sized[2:]}, tmp_path, source_sha256="source")
    assert run(directory) == 0
    assert (
        "warning: split 'val' has images of 8 sizes, and a program is compiled for each of them. --config.evaluate."
        in (output := capsys.readouterr().out)
    )
    assert "split 'train' has images" not in output
    config = ["--config=configs/demo.py", f"--config.data.dir={directory}", "--config.evaluate.pad_px=32"]
    check.main(["--num_workers=1", *config])
    assert "has images of" not in capsys.readouterr().out
