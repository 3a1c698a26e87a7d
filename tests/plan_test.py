"""`python -m csst_jax.plan`: what it needs to know, what it refuses, and what it shows."""

import json
import pathlib
import re
import subprocess
import sys

import jax
import pytest

from csst_jax import plan
from csst_jax.data.stored import encoded
from csst_jax.models import zoo
from csst_jax.planning import programs as planning
from csst_jax.planning import topology
from csst_jax.planning.cost import Collective, ProgramCost
from csst_jax.planning.table import report
from csst_jax.settings import resolve, sized
from csst_jax.types import CsstError

ROOT = pathlib.Path(__file__).resolve().parent.parent
GIVEN = {"num_labelled": 372, "num_unlabelled": 2603, "num_validation": 500, "num_classes": 19, "image_size": "96x128"}
PROGRAM = """
import runpy, sys
from csst_jax.models import zoo
zoo.NETWORKS["toy"] = zoo.Entry("tests.toy_network:build")
runpy.run_module("csst_jax.plan", run_name="__main__")
"""


@pytest.fixture
def config(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    c = tiny_config(tmp_path / "none")
    for stage in (c.teacher, c.student):
        stage.network = "toy"
        stage.augment.jitter = stage.augment.blur = 0.0
    c.stages = "teacher,label,student,evaluate"
    return c


@pytest.fixture
def refused_above(monkeypatch):
    """A function of a batch: from then on every program with a larger one runs out of memory; nothing is compiled."""

    def limit(most):
        cost = ProgramCost(2e12, 4e9, 3 * 2**30, {"all-reduce": Collective(5, 2_500_000)})

        def compiled(self, work, batch):
            fits = batch <= most
            return planning.Outcome(cost if fits else None, None if fits else 20 * 2**30, 1.5)

        monkeypatch.setattr(planning.Compiler, "__call__", compiled)
        monkeypatch.setattr(topology, "chip_of", lambda device: topology.CHIPS["v5e"])

    return limit


def test_numbers_come_from_the_data_or_from_flags(config, tiny_data):
    assert plan.data_size(resolve.data(config), GIVEN) == planning.DataSize(372, 2603, 500, 19, (96, 128), (96, 128))
    config.data.dir = str(tiny_data)
    assert plan.data_size(resolve.data(config), {}) == planning.DataSize(4, 4, 3, 4, (96, 128), (96, 128))
    with pytest.raises(CsstError, match="--num_labelled: data.dir=.* gives this number. Leave the flag out"):
        plan.data_size(resolve.data(config), {"num_labelled": 4})


def test_images_that_are_labelled_and_those_that_are_scored_have_sizes_of_their_own(config, tiny_data, monkeypatch):
    def size(data):
        return (200, 300) if encoded.decode_label(data).min() == 255 else (96, 128)  # void: it came without a mask

    monkeypatch.setattr(encoded, "size", size)
    config.data.dir = str(tiny_data)
    found = plan.data_size(resolve.data(config), {})
    assert (found.image_px, found.pool_px) == ((96, 128), (200, 300))


def test_what_is_missing_or_misspelt_is_named(config):
    with pytest.raises(
        CsstError, match="data.dir=.*none does not exist: set --config.data.dir .*or give --num_labelled, "
    ):
        plan.data_size(resolve.data(config), {})
    config.data.dir = ""
    missing = {name: value for name, value in GIVEN.items() if name != "num_classes"}
    with pytest.raises(CsstError, match="data.dir is empty: .*or give --num_classes.$"):
        plan.data_size(resolve.data(config), missing)
    with pytest.raises(CsstError, match="--image_size=1024: give HEIGHTxWIDTH in pixels"):
        plan.data_size(resolve.data(config), GIVEN | {"image_size": "1024"})


def test_every_program_is_planned_with_its_estimate(config, refused_above):
    refused_above(1000)
    made = plan.make_plan(config, "local", GIVEN, search=False)
    assert made["devices"] == jax.device_count() == 8
    names = ["teacher", "teacher", "label", "student", "student", "evaluate teacher", "evaluate student"]
    assert [row["name"] for row in made["programs"]] == names
    row = made["programs"][0]
    assert row["compute_s"] == pytest.approx(2e12 / 197e12) and row["traffic_s"] == pytest.approx(4e9 / 819e9)
    assert row["total_s"] == pytest.approx(row["steps"] * max(row["compute_s"], row["traffic_s"]))
    assert all(row["fits"] and "largest_batch" not in row for row in made["programs"])
    text = "\n".join(report(json.loads(json.dumps(made))))
    assert (
        "| teacher | 32 x 32 | 32 | 1 | 3.00 (19 %) | 2000.00 | 4.00 | 5 all-reduce (2.50 MB) | 10.15 | 4.88 |" in text
    )
    assert f"estimate: {sum(row['total_s'] for row in made['programs']) / 60:.1f} min" in text


def test_what_does_not_fit_is_told_with_the_largest_batch_that_does(config, refused_above):
    config.stages = "teacher"
    refused_above(20)
    made = plan.make_plan(config, "local", GIVEN, search=False)
    small, full = made["programs"]
    assert (small["batch"], small["fits"], small["largest_batch"]) == (32, False, 16)
    assert (full["batch"], full["fits"]) == (8, True) and "largest_batch" not in full
    text = "\n".join(report(made))
    assert "| teacher | 32 x 32 | 32 | 1 | 20.00 (125 %) | - |" in text
    assert "teacher, 32 x 32 px: batch 32 does not fit; the largest that does: 16." in text
    assert "All programs" not in text
    searched = plan.make_plan(config, "local", GIVEN, search=True)
    assert searched["programs"][1]["largest_batch"] == 16
    assert "teacher, 64 x 64 px: batch 8 fits; the largest that does: 16." in report(searched)


def test_sizes_that_are_left_open_are_chosen_for_the_slice(config, refused_above):
    config.stages = "teacher"
    for stage in (config.teacher, config.student):
        stage.crop_px = stage.batch_size = stage.schedule.num_sizes = stage.samples_per_epoch = -1
    refused_above(1000)
    rows = plan.make_plan(config, "local", GIVEN, search=False)["programs"]  # a v5e: of tests' eight devices
    assert [(row["size_px"], row["batch"]) for row in rows] == [([64, 64], 32), ([96, 96], 16)]


def test_sizes_are_chosen_from_the_images_that_a_run_looks_at(config, tiny_data, refused_above, monkeypatch):
    config.stages, config.data.dir = "teacher", str(tiny_data)
    for stage in (config.teacher, config.student):
        stage.crop_px = stage.batch_size = stage.schedule.num_sizes = stage.samples_per_epoch = -1
    seen = []
    answer = sized.answer
    monkeypatch.setattr(
        sized, "answer", lambda config, facts, *more: seen.append(facts) or answer(config, facts, *more)
    )
    monkeypatch.setattr(sized, "_median_size", lambda pool: (70, 70))
    refused_above(1000)
    plan.make_plan(config, "local", {}, search=False)
    assert seen == [sized.Facts(4, 4, (70, 70))], "validation images are 96 x 128"


def test_a_device_without_published_figures_has_costs_and_no_estimates(config):
    config.stages = "teacher"
    for key in ("epochs", "samples_per_epoch"):
        config.teacher[key] = 1
    with pytest.raises(CsstError, match="--largest_batch: a cpu does not say which programs fit. Give a TPU slice"):
        plan.make_plan(config, "local", GIVEN, search=True)
    (row,) = plan.make_plan(config, "local", GIVEN, search=False)["programs"]
    assert row["fits"] and row["flops"] > 0 and row["bytes_accessed"] > 0 and row["memory_bytes"] > 0
    assert row["collectives"]["all-reduce"]["count"] > 0
    assert not {"compute_s", "traffic_s", "total_s", "largest_batch"} & set(row)


def test_command_says_what_to_fix():
    command = [sys.executable, "-m", "csst_jax.plan", "--config=configs/demo.py", "--topology=v5e:4x4x4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: --topology=v5e:4x4x4: a v5e slice has 2 sides; give local,")


@pytest.mark.slow
@pytest.mark.essential("plan")
def test_command_plans_for_this_machine():
    flags = [f"--{name}={value}" for name, value in GIVEN.items()]
    small = [f"--config.{stage}.{key}" for stage in ("teacher", "student") for key in ("network=toy", "epochs=1")]
    size = [f"--config.{stage}.crop_px=64" for stage in ("teacher", "student")]
    arguments = ["--config=configs/base.py", "--json", *flags, *small, *size]
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "xla_bridge" not in done.stderr, "JAX looks for a TPU first, and says so"
    *table, last = done.stdout.splitlines()
    made = json.loads(last)
    assert table == report(made)
    names = ["teacher", "label", "student", "evaluate teacher", "evaluate student"]
    assert [row["name"] for row in made["programs"]] == names


@pytest.mark.parametrize(
    "flag,limit",
    [
        ("--num_classes=300", "upper bound of 255|255"),
        pytest.param("--num_classes=1", "2", marks=pytest.mark.slow),
        pytest.param("--num_labelled=0", "positive integer", marks=pytest.mark.slow),
        pytest.param("--num_validation=-1", "non-negative integer", marks=pytest.mark.slow),
        ("--topology=", "--topology="),
        pytest.param("--image_size=0x0", "HEIGHTxWIDTH", marks=pytest.mark.slow),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_compiled(flag, limit):
    given = [f"--{name}={value}" for name, value in GIVEN.items() if not flag.startswith(f"--{name}=")]
    command = [sys.executable, "-m", "csst_jax.plan", "--config=configs/demo.py", "--config.data.dir=", *given, flag]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "compiling" not in done.stdout + done.stderr
    assert re.search(limit, done.stderr) and flag.partition("=")[0].removeprefix("--") in done.stderr
