"""What is planned is what a run compiles, program by program."""

import dataclasses

import jax
import numpy as np
import pytest

from csst_jax import build
from csst_jax.evaluation.whole_image import PredictProgram
from csst_jax.models import zoo
from csst_jax.planning import programs as planning
from csst_jax.samplers.uniform import UniformImageSampler
from csst_jax.settings import resolve
from csst_jax.train.compile import StepBank
from csst_jax.train.step import StepProgram
from csst_jax.types import CsstError

DATA = planning.DataSize(labelled=4, unlabelled=4, validation=3, classes=4, image_px=(96, 128), pool_px=(96, 128))


@pytest.fixture(autouse=True)
def toy_in_the_zoo(monkeypatch):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))


@pytest.fixture
def config(tiny_config, tiny_data):
    c = tiny_config(tiny_data)
    for stage in (c.teacher, c.student):
        stage.network = "toy"
        stage.augment.jitter = stage.augment.blur = 0.0
    c.label.flip = True
    return c


@pytest.fixture
def lowered(monkeypatch):
    """Texts of all programs that are lowered."""
    texts = []

    def record(program_class):
        lower = program_class.lower

        def recorded(program):
            result = lower(program)
            texts.append(result.as_text())
            return result

        monkeypatch.setattr(program_class, "lower", recorded)

    record(StepProgram)
    record(PredictProgram)
    return texts


def planned(config, stages):
    config.stages = ",".join(stages)
    return planning.programs(resolve.run(config), DATA, jax.devices())


@pytest.mark.slow
def test_training_compiles_what_is_planned(config, lowered):
    works = planned(config, ["student"])
    texts = [work.lower(work.batch).as_text() for work in works]
    lowered.clear()
    # As stages/train.py does: with initial values, where the plan has shapes alone.
    run = resolve.run(config)
    mesh = build.mesh(run.mesh)
    recipe = build.recipe(run.student, DATA.classes, 7, run.mesh, mesh)
    phases = build.phases(run.student, DATA.labelled + DATA.unlabelled, mesh)
    bank = StepBank(recipe, phases)
    for phase in phases:
        bank[phase]
    assert len(lowered) == 2
    assert lowered == texts


@pytest.mark.parametrize("name,section", [("label", "label"), ("evaluate teacher", "evaluate")])
def test_prediction_compiles_what_is_planned(config, lowered, tiny_data, name, section):
    works = {work.name: work for work in planned(config, ["teacher", "label", "evaluate"])}
    text = works[name].lower(works[name].batch).as_text()
    lowered.clear()
    run = resolve.run(config)
    validation = run.data.validation(run.data.open())
    choice = run.teacher.network
    net = build.network(choice, DATA.classes, seed=7)
    averaging, weights = getattr(run, section).averaging, (net.params, net.batch_stats)
    predictor = build.predictor(averaging, net, weights, choice.preprocessing, run.evaluate.batch_size, run.mesh)
    assert len(list(predictor(validation.reader, validation.labelled))) == DATA.validation
    assert lowered == [text]


def test_work_counts_epochs_steps_and_images(config):
    works = planned(config, ["teacher", "label", "student", "baseline", "evaluate"])
    assert [work.name for work in works if work.epochs == 0] == [
        "label",
        "evaluate teacher",
        "evaluate student",
        "evaluate baseline",
    ]
    teacher = [work for work in works if work.name == "teacher"]
    assert [(work.size_px, work.batch, work.steps) for work in teacher] == [((32, 32), 32, 1), ((64, 64), 8, 2)]
    by_name = {work.name: work for work in works}
    assert (by_name["label"].steps, by_name["label"].loops) == (1, 2), "four images on eight devices, mirrored"
    assert (by_name["evaluate student"].batch, by_name["evaluate student"].loops) == (8, 1)
    assert {work.unit for work in works} == {8}


def test_images_of_the_pool_have_a_size_of_their_own(config):
    config.rounds, config.label.reliable_share, config.teacher.snapshots = 2, 0.5, 1
    config.stages, large = "teacher,label,student,evaluate", dataclasses.replace(DATA, pool_px=(192, 256))
    works = [work for work in planning.programs(resolve.run(config), large, jax.devices()) if not work.epochs]
    assert {work.name.partition(" ")[0].strip(","): work.size_px for work in works} == {
        "reliability": (192, 256), "label": (192, 256), "evaluate": (96, 128)
    }  # fmt: skip


def test_rounds_are_planned_one_by_one(config):
    config.rounds, config.label.reliable_share, config.teacher.snapshots = 2, 0.5, 2
    config.teacher.epochs = config.student.epochs = 3
    config.student.samples_per_epoch, config.student.schedule.kind = 0, "constant"
    config.student.batch_size = config.evaluate.batch_size = 8
    works = planned(config, ["teacher", "label", "student", "evaluate"])
    names = [work.name for work in works if work.name != "teacher"]
    assert names == [
        "reliability, round 1", "label, round 1", "student, round 1", "label, round 2", "student, round 2",
        "evaluate teacher", "evaluate student",
    ]  # fmt: skip
    steps = {work.name: work.steps for work in works}
    assert steps["reliability, round 1"] == 2, "12 predictions, 8 at a time"
    assert {work.name: work.loops for work in works}["reliability, round 1"] == 1, "no mirror images"
    assert steps["evaluate student"] == 1 and steps["student, round 1"] == steps["student, round 2"] == 3


def test_every_round_labels_with_the_program_of_one_round(config):
    """Soft labels need the most probable classes of each pixel, and not the first alone."""
    config.label.soft.k = 3
    (alone,) = planned(config, ["label"])
    config.rounds = 2
    rounds = [work for work in planned(config, ["label", "student"]) if work.name.startswith("label")]
    assert [work.name for work in rounds] == ["label, round 1", "label, round 2"]
    text = alone.lower(alone.batch).as_text()
    assert all(work.lower(work.batch).as_text() == text for work in rounds)


def test_micro_batches_are_loops_and_devices_that_share_rows_share_an_image(config):
    config.mesh.spatial, config.teacher.accumulate = 4, 2
    works = planned(config, ["teacher", "evaluate"])
    assert {(work.unit, work.loops) for work in works if work.epochs} == {(4, 2)}
    (evaluation,) = [work for work in works if not work.epochs]
    assert (evaluation.unit, evaluation.batch, evaluation.loops) == (2, 8, 4)


def test_tiles_are_loops(config):
    config.evaluate.window_px, config.evaluate.scales = 64, (1.0, 2.0)
    (work,) = [work for work in planned(config, ["teacher", "evaluate"]) if work.epochs == 0]
    # 2 x 3 regions of 64 px, 42 apart, and 5 x 6 of 32 px, 21 apart, cover 96 x 128.
    assert work.loops == (6 + 30) / 2


def test_padded_images_are_planned_at_the_size_that_they_get(config):
    config.evaluate.pad_px, config.evaluate.window_px = 160, 64
    (work,) = [work for work in planned(config, ["teacher", "evaluate"]) if work.epochs == 0]
    assert work.size_px == (160, 160)
    assert work.loops == 4 * 4, "regions of 64 px, 42 apart"
    assert "8x160x160x3xui8" in work.lower(work.batch).as_text()


@pytest.mark.parametrize("steps", [4, 37, 400])
def test_the_control_takes_about_as_many_steps_by_epochs_or_by_copies(config, steps):
    config.teacher.schedule.kind = "constant"
    run = resolve.run(config)
    stage, mesh = run.teacher, build.mesh(run.mesh)

    def control(longer_by):
        longer = build.lengthened(stage, 4, steps, mesh, longer_by)
        return longer, sum(phase.steps for phase in build.phases(longer, 4, mesh))

    longer, taken = control("epochs")
    assert (longer.crops.epochs, longer.crops.samples_per_epoch) == (steps // 2, stage.crops.samples_per_epoch)
    assert abs(taken - steps) < 2
    longer, taken = control("copies")
    assert longer.crops.epochs == stage.crops.epochs == 2 and steps <= taken < steps + 2
    least = 8 * (taken // 2 - 1) + 1
    assert longer.crops.samples_per_epoch == least, "one image less and it would be an epoch's step less"


def test_copies_repeat_the_real_labels_to_the_number_of_the_students_images(config):
    """Table 1b: with the student's epochs and batches, the teacher sees as many images an epoch, each as often."""
    for stage in (config.teacher, config.student):
        stage.epochs, stage.samples_per_epoch, stage.batch_size, stage.sampler.name = 5, 0, 8, "uniform"
    config.mesh.spatial = 8  # one device shares the batch
    run = resolve.run(config)
    mesh, real, pseudo = build.mesh(run.mesh), 40, 600
    steps = sum(phase.steps for phase in build.phases(run.student, real + pseudo, mesh))
    copies = build.lengthened(run.teacher, real, steps, mesh, "copies").crops
    assert (real + pseudo) * 0.95 < copies.samples_per_epoch <= real + pseudo
    sampler = UniformImageSampler([(0, record, 96, 128) for record in range(real)])
    uses = np.bincount(sampler.plan(0, 0, copies.samples_per_epoch)["record"])
    assert uses.max() - uses.min() <= 1 and uses.max() == 1 + pseudo // real


def test_a_teacher_that_does_not_train_has_no_control(config):
    config.teacher.epochs = 0
    run = resolve.run(config)
    with pytest.raises(CsstError, match="baseline: a teacher of epochs=0 has no training to lengthen"):
        build.lengthened(run.teacher, 4, 10, build.mesh(run.mesh), "epochs")


def test_a_program_that_two_stages_share_is_compiled_once(config):
    compiler = planning.Compiler()
    by_name = {work.name: work for work in planned(config, ["teacher", "student"])}
    one, other = (compiler(by_name[name], by_name[name].batch) for name in ("teacher", "student"))
    assert one is other
    assert one.cost.flops > 0 and one.cost.collectives["all-reduce"].count > 0 and one.seconds > 0


def test_running_out_of_memory_is_an_outcome_and_other_failures_are_not(config):
    class Refused:
        def __init__(self, text):
            self.text = text

        def as_text(self):
            return self.text

        def compile(self):
            raise jax.errors.JaxRuntimeError(self.text)

    def work(text):
        return planning.Work("teacher", (64, 64), 8, 8, 8, 1, 1, 1, lambda batch: Refused(text))

    full = planning.Compiler()(work("RESOURCE_EXHAUSTED: required for HLO temporaries (20.00G) exceeds"), 8)
    assert full.cost is None and full.needed_bytes == 20 * 2**30
    assert not planning.Compiler().fits(work("RESOURCE_EXHAUSTED: Used 20.00G of 15.75G hbm"), 8)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        planning.Compiler()(work("INTERNAL: the compiler is broken"), 8)


@pytest.mark.parametrize("most", [0, 3, 16, 17, 40, 64, 100, 1000])
@pytest.mark.parametrize("unit,batch", [(1, 16), (16, 16), (16, 64)])
def test_largest_batch_is_the_largest_multiple_that_fits(most, unit, batch):
    tried = []

    def fits(batch):
        tried.append(batch)
        return batch <= most

    assert planning.largest_batch(fits, batch, unit) == most // unit * unit
    assert all(n % unit == 0 and n > 0 for n in tried) and len(tried) == len(set(tried)) <= 16
