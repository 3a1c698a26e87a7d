"""Interrupted preparations go on: which parts are taken over, and which are made again."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from csst_jax.data.store import DataSet
from csst_jax.types import CsstError, DatasetDescription
from data_prep import builder, distributed, parts, problems
from data_prep.raw import Bad, RawExample

DESCRIPTION = DatasetDescription("tiny", ("ground", "thing"), ((0, 0, 0), (255, 0, 0)))
COUNT = 10


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "IMAGES_A_PART", 3)


def example(number):
    stream = io.BytesIO()
    Image.new("RGB", (9, 7), (number, 0, 0)).save(stream, format="PNG")
    label = np.zeros((7, 9), np.uint8)
    label[number % 5, 2:4] = 1
    return RawExample(f"{number:02d}", stream.getvalue(), label, number % 2 == 0)


class Maker:
    """Makes examples, notes which, and fails as it is told."""

    def __init__(self, **failures):
        self.made, self.failures = [], {int(number.strip("n")): error for number, error in failures.items()}

    def __call__(self, number):
        self.made.append(number)
        if number in self.failures:
            raise self.failures[number]
        return example(number)


def prepare(data_dir, make, numbers=range(COUNT), **settings):
    settings = {"source_sha256": "s", "part_sha256": lambda split, items: f"{split}{items}"} | settings
    return builder.prepare(DESCRIPTION, {"train": numbers, "val": [99]}, data_dir, make=make, **settings)


def test_an_interrupted_preparation_goes_on_and_stores_what_an_uninterrupted_one_does(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "a", Maker(n7=KeyboardInterrupt()))
    with pytest.raises(CsstError, match="holds no prepared data set"):
        DataSet.open(tmp_path / "a")
    again = Maker()
    capsys.readouterr()
    prepare(tmp_path / "a", again)
    assert again.made == [6, 7, 8, 9, 99]  # 0 to 5 are in whole parts
    assert "2 of 5 parts are there from an interrupted run" in capsys.readouterr().out
    prepare(tmp_path / "b", Maker())
    one, other = (tmp_path / side / "tiny" / builder.VERSION for side in "ab")
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    for name in names:
        if "array_record" not in name:
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert sorted(path.name for path in (tmp_path / "a" / "tiny").iterdir()) == [".in_use", ".lock", builder.VERSION]


def test_a_killed_part_leaves_no_notes_and_its_half_file_goes(tmp_path):
    with pytest.raises(ValueError, match="broken"):
        prepare(tmp_path, Maker(n4=ValueError("broken")))
    records = tmp_path / "tiny" / f".unfinished-{builder.VERSION}" / "records"
    (records / ".tiny-train.array_record-00001-of-00004.77.tmp").write_bytes(b"half")
    (records.parent / "notes" / "tiny-train.array_record-00000-of-00004.npz").write_bytes(b"")  # the machine went down
    maker = Maker()
    directory = prepare(tmp_path, maker)
    assert maker.made == [*range(COUNT), 99]
    assert not [path for path in directory.iterdir() if path.name.startswith(".")]


def test_a_part_that_was_made_from_other_files_is_made_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, Maker(n99=KeyboardInterrupt()))
    maker = Maker()
    changed = lambda split, items: f"{split}{items}{'new' if 4 in items else ''}"  # noqa: E731
    prepare(tmp_path, maker, part_sha256=changed, source_sha256="t")
    assert maker.made == [3, 4, 5, 99]
    # Another number of parts has other names, and nothing of the old ones stays.
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, Maker(n99=KeyboardInterrupt()), source_sha256="u", overwrite=True)
    directory = prepare(tmp_path, Maker(), range(4), source_sha256="v", overwrite=True)
    assert sorted(path.name for path in directory.glob("*array_record*")) == [
        *(f"tiny-train.array_record-{number:05d}-of-00002" for number in range(2)),
        "tiny-val.array_record-00000-of-00001",
    ]
    assert DataSet.open(directory).ids("train") == ("00", "01", "02", "03")


def test_what_a_run_left_that_was_killed_as_it_put_its_data_set_in_place(tmp_path):
    directory = prepare(tmp_path, Maker())
    replaced = tmp_path / "tiny" / f".unfinished-{builder.VERSION}" / "replaced"
    replaced.mkdir(parents=True)
    (replaced / "dataset.json").write_text("old")
    assert prepare(tmp_path, Maker(), range(4), source_sha256="t", overwrite=True) == directory
    assert len(DataSet.open(tmp_path).ids("train")) == 4 and not replaced.parent.exists()


def test_records_and_index_of_several_parts_are_in_order(tmp_path):
    data_set = DataSet.open(prepare(tmp_path, Maker()))
    assert data_set.ids("train") == tuple(f"{number:02d}" for number in range(COUNT))
    assert data_set.labelled_ids("train") == tuple(f"{number:02d}" for number in range(0, COUNT, 2))
    source, index = data_set.reader("train"), data_set.centroids("train")
    for number in range(COUNT):
        assert source.image_bytes(number) == example(number).image_bytes
        thing = (index.record == number) & (index.klass == 1)
        assert (index.y[thing].tolist(), index.x[thing].tolist()) == ([number % 5], [2.5])


def test_bad_items_of_all_parts_are_told_and_good_parts_wait(tmp_path):
    with pytest.raises(CsstError, match=r"(?s)3 problems:.*a\.png is bad.*b\.png is bad.*c\.png is bad"):
        prepare(tmp_path, Maker(n0=Bad("a.png is bad"), n2=Bad("b.png is bad"), n7=Bad("c.png is bad")))
    maker = Maker()
    prepare(tmp_path, maker)
    assert maker.made == [0, 1, 2, 6, 7, 8]


def test_ten_problems_are_enough(tmp_path):
    maker = Maker(**{f"n{number}": Bad(f"{number}.png is bad") for number in range(30)})
    with pytest.raises(CsstError, match=r"10 problems \(stopped looking here\)"):
        prepare(tmp_path, maker, range(30))
    assert len(maker.made) <= problems.MAX_PROBLEMS + 3


def test_without_beam_its_flag_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "apache_beam", None)
    with pytest.raises(CsstError, match=r"--beam_runner=DirectRunner needs Apache Beam .*requirements-beam\.txt"):
        prepare(tmp_path, example, beam=distributed.BeamRun("DirectRunner"))


def test_beam_stores_what_processes_store(tmp_path):
    pytest.importorskip("apache_beam", reason="Apache Beam is an extra (requirements-beam.txt)")
    run = distributed.BeamRun("DirectRunner", "direct_num_workers=2,direct_running_mode=multi_threading")
    one, other = prepare(tmp_path / "a", example, beam=run), prepare(tmp_path / "b", example)
    for directory in (one, other):
        assert DataSet.open(directory).ids("train") == tuple(f"{number:02d}" for number in range(COUNT))
    for split in ("train", "val"):
        index = f"centroids-{split}.tfrecord"
        assert (one / index).read_bytes() == (other / index).read_bytes()
        sources = [DataSet.open(directory).reader(split) for directory in (one, other)]
        for record in range(len(sources[0])):
            assert sources[0].pair_bytes(record) == sources[1].pair_bytes(record)


def test_beam_tells_what_is_bad(tmp_path):
    pytest.importorskip("apache_beam", reason="Apache Beam is an extra (requirements-beam.txt)")
    with pytest.raises(CsstError, match=r"a\.png is bad"):
        prepare(tmp_path, bad_at_four, beam=distributed.BeamRun("DirectRunner"))
    notes = tmp_path / "tiny" / f".unfinished-{builder.VERSION}" / "notes"
    assert sorted(path.suffix for path in notes.iterdir()) == [".npz"] * 4
    assert DataSet.open(prepare(tmp_path, example)).ids("val") == ("99",)


def bad_at_four(number):
    if number == 4:
        raise Bad("a.png is bad")
    return example(number)


def test_parts_of_an_earlier_version_are_made_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, Maker(n7=KeyboardInterrupt()))
    for path in tmp_path.rglob("*.npz"):
        with np.load(path) as arrays:
            kept = {name: arrays[name] for name in arrays.files if name != "image_digests"}
        np.savez(path, **kept)
    again = Maker()
    prepare(tmp_path, again)
    assert again.made == [*range(COUNT), 99]


def test_hashes_of_images_are_stored(tmp_path):
    data_set = DataSet.open(prepare(tmp_path, Maker()))
    digests = data_set.image_digests("train")
    assert len(set(digests)) == COUNT and {len(digest) for digest in digests} == {16}
    assert digests[3] == hashlib.sha256(example(3).image_bytes).hexdigest()[:16]
