"""Open sizes in a configuration: filled before a run begins, told, and kept for the workdir's life."""

import json
import logging

import pytest

from csst_jax.runtime.machine import Machine
from csst_jax.settings import ranges, resolve, sized
from csst_jax.settings.sizes import KEYS, OPEN
from csst_jax.types import CsstError

LAPTOP, GPU = Machine("cpu", 1, 16 * 2**30, 2), Machine("gpu", 1, 60 * 2**30, 16)


@pytest.fixture
def on(monkeypatch):
    """Lets a function of (machine, configuration, workdir) fill the sizes on that machine."""

    def fill(machine, config, workdir):
        monkeypatch.setattr(sized, "this_machine", lambda: machine)
        return sized.with_sizes(config, workdir)

    return fill


@pytest.fixture
def config(tiny_config, tiny_data):
    c = tiny_config(tiny_data)
    for stage in (c.teacher, c.student):
        stage.crop_px = stage.batch_size = stage.schedule.num_sizes = stage.samples_per_epoch = OPEN
    return c


def sizes(config):
    values = ranges.flattened(config)
    return [[values[f"{stage}.{key}"] for key in KEYS] for stage in ("teacher", "student")]


def test_open_sizes_are_filled_told_and_kept(config, tmp_path, on, caplog):
    caplog.set_level(logging.INFO, logger="csst_jax")
    ranges.require_sound(config)
    found = on(LAPTOP, config, tmp_path)
    assert sizes(found) == [[64, 8, 2, 96], [64, 8, 2, 96]]  # 5/8 of 96 px are 60
    assert OPEN in ranges.flattened(config).values(), "the configuration itself is left as it is"
    assert "teacher: sizes chosen for a CPU of 2 cores and 16 GiB: crop_px=64 (" in caplog.text
    assert resolve.run(found).teacher.request.differing["crop_px"] == 64  # part of the stage's request
    assert json.loads((tmp_path / sized.SIZES_FILE).read_text())["student"]["chosen"]["samples_per_epoch"] == 96


def test_a_run_goes_on_with_its_numbers_on_another_machine(config, tmp_path, on, caplog):
    caplog.set_level(logging.INFO, logger="csst_jax")
    before = sizes(on(LAPTOP, config, tmp_path))
    assert sizes(on(GPU, config, tmp_path)) == before
    assert "for a CPU of 2 cores and 16 GiB when this run began" in caplog.text
    assert sizes(on(GPU, config, tmp_path / "new")) != before


def test_other_data_or_settings_are_another_question(config, tmp_path, on):
    before = sizes(on(LAPTOP, config, tmp_path))
    config.teacher.batch_size = 4
    teacher, student = sizes(on(GPU, config, tmp_path))
    assert teacher != before[0] and teacher[1] == 4 and student == before[1]
    config.teacher.batch_size = OPEN
    assert sizes(on(GPU, config, tmp_path)) == before, "the first question has its first answer"
    (tmp_path / "ids.txt").write_text("image00\nimage01\n")
    config.data.labelled_ids = str(tmp_path / "ids.txt")
    assert sizes(on(GPU, config, tmp_path))[0] != before[0]


def test_a_workdir_of_an_earlier_version_keeps_its_numbers(config, tmp_path, on):
    before, path = sizes(on(LAPTOP, config, tmp_path)), tmp_path / sized.SIZES_FILE
    kept = json.loads(path.read_text())
    for stage in kept.values():
        del stage["asked"]["per_real"]
    path.write_text(json.dumps(kept))
    assert sizes(on(GPU, config, tmp_path)) == before


def test_processes_take_what_the_first_one_chooses(config, tmp_path, on, monkeypatch):
    first = sized.answer(config, sized.read_facts(resolve.data(config)), GPU)
    monkeypatch.setattr("jax.process_count", lambda: 2)
    monkeypatch.setattr("jax.process_index", lambda: 1)
    monkeypatch.setattr("csst_jax.runtime.peers.gathered", lambda own: [first, own])
    found = on(LAPTOP, config, tmp_path)
    assert sizes(found) == sizes(sized.filled(config, first))
    assert not (tmp_path / sized.SIZES_FILE).exists(), "the first process writes"


def test_without_open_sizes_nothing_is_read_or_written(tiny_config, tmp_path, on):
    config = tiny_config(tmp_path / "none")
    assert on(LAPTOP, config, tmp_path / "w") is config
    assert not (tmp_path / "w").exists()


def test_who_only_looks_writes_nothing(config, tmp_path, on):
    sized.with_sizes(config, tmp_path, keep=False)
    assert not list(tmp_path.iterdir())


def test_what_is_kept_and_is_not_ours_is_refused(config, tmp_path, on):
    (tmp_path / sized.SIZES_FILE).write_text('{"teacher": 3}')
    with pytest.raises(CsstError, match="sizes.json was not written by csst_jax"):
        on(LAPTOP, config, tmp_path)


def test_a_network_that_the_zoo_has_not_counted_is_counted(config, monkeypatch):
    from csst_jax.models import zoo

    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    config.teacher.network = "toy"
    assert sized.ask(config, "teacher", sized.Facts(4, 4, (96, 128))).gflop > 0


def test_a_method_that_takes_unlabelled_images_counts_them(config):
    facts = sized.Facts(4, 6, (96, 128))
    assert sized.ask(config, "teacher", facts).images == 4 and sized.ask(config, "student", facts).images == 10
    config.teacher.method.name = "mean_teacher"
    asked = sized.ask(config, "teacher", facts)
    assert asked.images == 10 and asked.pool and asked.parts > 1
    config.student.method.name = "real_and_pseudo"
    config.student.method.real_and_pseudo.pseudo_parts = 3
    asked = sized.ask(config, "student", facts)
    assert asked.images == 10 and asked.pool and asked.parts == asked.per_real == 4
    config.student.method.real_and_pseudo.real_parts = 0
    assert sized.ask(config, "student", facts).per_real == 1
