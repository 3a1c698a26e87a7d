"""Lists of few masks: sizes, nesting, and that every class has its images."""

import pytest

from csst_jax.data.store import DataSet
from csst_jax.types import CsstError
from data_prep import shots
from data_prep.splits import classes_by_id

IDS = [f"image{i:02d}" for i in range(40)]
# Class 0 everywhere, 1 in every fourth image, 2 in three images.
CLASSES = {
    name: frozenset({0} | ({1} if i % 4 == 0 else set()) | ({2} if i in (3, 17, 20) else set()))
    for i, name in enumerate(IDS)
}


def test_shots_of_images_are_nested_and_depend_on_the_draw_alone():
    drawn = shots.of_images(IDS, (1, 2, 5, 10), 0)
    assert {count: len(ids) for count, ids in drawn.items()} == {1: 1, 2: 2, 5: 5, 10: 10}
    assert set(drawn[1]) < set(drawn[2]) < set(drawn[5]) < set(drawn[10]) <= set(IDS)
    assert drawn == shots.of_images(IDS[::-1], (1, 2, 5, 10), 0) != shots.of_images(IDS, (1, 2, 5, 10), 1)
    with pytest.raises(CsstError, match="41 shots, and there are 40 masks. Give at most 40"):
        shots.of_images(IDS, (1, 41), 0)


@pytest.mark.parametrize("seed", range(3))
def test_shots_of_classes_have_so_many_images_of_each(seed):
    drawn = shots.of_classes(CLASSES, (1, 2, 5), seed)
    assert set(drawn[1]) <= set(drawn[2]) <= set(drawn[5])
    for count, ids in drawn.items():
        for klass, have in ((0, 40), (1, 10), (2, 3)):
            assert sum(klass in CLASSES[image_id] for image_id in ids) >= min(count, have)
        assert len(ids) <= 3 * count


def test_the_command_writes_the_lists(tiny_data, tmp_path, capsys):
    command = [f"--data_dir={tiny_data}", f"--output_dir={tmp_path}", "--draws=2", "--shots=1,3"]
    shots.main(command)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")) == [
        *("tiny/0/1.txt", "tiny/0/3.txt"),
        *("tiny/1/1.txt", "tiny/1/3.txt"),
    ]
    known = classes_by_id(DataSet.open(tiny_data), "train")
    assert set((tmp_path / "tiny/0/3.txt").read_text().split()) < set(known)
    assert f"{tmp_path / 'tiny/1/3.txt'}: 3 of {len(known)} images" in capsys.readouterr().out
    shots.main([*command, "--per=class"])
    ids = (tmp_path / "tiny/0/1.txt").read_text().split()
    assert frozenset().union(*(known[i] for i in ids)) == frozenset().union(*known.values())
    for wrong, message in (("--shots=1,a", "give whole numbers"), ("--draws=0", "must be at least 1")):
        with pytest.raises(CsstError, match=message):
            shots.main([*command, wrong])
