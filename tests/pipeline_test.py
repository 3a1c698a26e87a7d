"""The whole pipeline on a tiny data set, in this process, with the toy network."""

import dataclasses
import json
import logging
import re
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

import csst_jax
from csst_jax import pipeline
from csst_jax.data import readiness
from csst_jax.data.store import DataSet
from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.weights import files
from csst_jax.settings import resolve
from csst_jax.stages import experiment, scoring, train
from csst_jax.stages.artifact import StaleArtifactError
from csst_jax.types import CsstError
from tests.toy_network import train_toys


@pytest.fixture(scope="module", autouse=True)
def toy_in_the_zoo():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
        yield


@pytest.fixture
def config(tiny_config, tiny_data):
    return toy_config(tiny_config, tiny_data)


def toy_config(tiny_config, tiny_data):
    return train_toys(tiny_config(tiny_data))


@pytest.fixture(scope="module")
def finished(tiny_config, tiny_data, tmp_path_factory):
    """A finished run's workdir and results; read-only."""
    workdir = tmp_path_factory.mktemp("run")
    config = toy_config(tiny_config, tiny_data)
    config.stages = "teacher,label,student,baseline,evaluate"
    return workdir, pipeline.run(resolve.run(config), workdir)


@pytest.fixture
def copy(finished, tmp_path):
    """A finished run that a test may spoil."""
    return shutil.copytree(finished[0], tmp_path / "run")


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_):
        raise AssertionError("a stage was trained")

    monkeypatch.setattr(train, "train", refuse)


def all_stages(config):
    config.stages = "teacher,label,student,baseline,evaluate"
    return config


def test_results_say_what_the_readers_of_results_json_rely_on(finished):
    workdir, returned = finished
    results = json.loads((workdir / "results.json").read_text())
    assert results == json.loads(json.dumps(returned))
    assert set(results) == {"teacher", "student", "baseline", "pseudo_labels", "data", "compilations", "wall_s"}
    for name in ("teacher", "student", "baseline"):
        model = results[name]
        assert set(model["iou"]) == {"ground", "box", "post", "sign"}
        shown = [v for v in model["iou"].values() if v is not None]
        assert model["miou"] == pytest.approx(np.mean(shown)) and 0 <= model["miou"] <= 1
        assert model["network"] == "toy" and len(model["weights_sha256"]) == 64
        assert results["compilations"][name]["count"] == results["compilations"][name]["distinct_phases"] == 1
        (phase,) = results["compilations"][name]["phases"]
        assert phase["crop_px"] == 64 and phase["seconds"] > 0 and phase["flops"] > 0 and phase["memory_bytes"] > 0
    assert results["teacher"]["steps"] == results["student"]["steps"] == results["baseline"]["steps"] == 4
    assert results["student"]["weights_sha256"] != results["teacher"]["weights_sha256"]
    assert results["baseline"]["weights_sha256"] == results["teacher"]["weights_sha256"], "the same recipe and seed"
    assert results["pseudo_labels"]["teacher_sha256"] == results["teacher"]["weights_sha256"]
    assert results["data"] == {"name": "tiny", "labelled": 4, "unlabelled": 4, "validation": 3}
    assert set(results["wall_s"]) == {"teacher", "student", "baseline", "pseudo_labels", "evaluate"}
    for file in ("report.html", "pictures/validation.png", "pseudo_labels/contact_sheet.png", "teacher/metrics.jsonl"):
        assert (workdir / file).stat().st_size > 100, file


def test_second_run_skips_everything_and_leaves_results_as_they_are(copy, config, no_training, capsys):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in copy.rglob("*") if p.is_file()}
    results = pipeline.run(resolve.run(all_stages(config)), copy)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in copy.rglob("*") if p.is_file()} == before
    printed = capsys.readouterr().out
    assert "mIoU" in printed and str(copy / "results.json") in printed
    assert results["student"]["miou"] == json.loads((copy / "results.json").read_text())["student"]["miou"]


def test_the_log_says_whose_score_it_is(copy, config, no_training, caplog):
    shutil.rmtree(copy / "student" / "evaluation")
    with caplog.at_level(logging.INFO):
        pipeline.run(resolve.run(all_stages(config)), copy)
    assert re.search(r"student: mIoU \d+\.\d+ % on 3 images", caplog.text)
    assert "evaluation: mIoU" not in caplog.text


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_and_another_seed_another(finished, config, tmp_path):
    config.stages = "teacher,evaluate"
    same = pipeline.run(resolve.run(config), tmp_path / "same")
    assert same["teacher"] == finished[1]["teacher"]
    assert "student" not in same and "pseudo_labels" not in same
    config.seed = 1
    other = pipeline.run(resolve.run(config), tmp_path / "other")
    assert other["teacher"]["weights_sha256"] != same["teacher"]["weights_sha256"]


def test_changed_settings_are_refused_by_the_stage_that_they_belong_to(copy, config, no_training):
    config.student.lr.base = 0.123
    with pytest.raises(StaleArtifactError) as error:
        pipeline.run(resolve.run(all_stages(config)), copy)
    message = str(error.value)
    hashes = [json.loads((copy / "student" / "stage.json").read_text())["hash"][:12]]
    assert f"{copy / 'student'} was made for another request: hash {hashes[0]} there" in message
    assert "settings.lr.base: 0.02 there, 0.123 now" in message and "--workdir" in message
    assert (copy / "student" / "DONE").exists(), "something was lost"


def test_labels_of_another_teacher_are_refused(copy, config):
    shutil.rmtree(copy / "teacher")
    config.seed = 1
    with pytest.raises(
        StaleArtifactError, match=r"pseudo_labels was made for another request.*differs in teacher_sha256"
    ):
        pipeline.run(resolve.run(config), copy)


@pytest.mark.slow
def test_killed_between_the_last_checkpoint_and_the_mark_it_only_sets_the_mark(copy, config, finished):
    (copy / "student" / "DONE").unlink()
    shutil.rmtree(copy / "student" / "evaluation")
    (copy / "results.json").unlink()
    results = pipeline.run(resolve.run(config), copy)
    assert results["student"] == finished[1]["student"]
    assert results["compilations"]["student"]["count"] == 0


def test_every_network_is_one_file_that_needs_no_other(finished, config, tiny_data, tmp_path):
    workdir, results = finished
    alone = tmp_path / "elsewhere.safetensors"
    shutil.copy(workdir / "student" / "model.safetensors", alone)
    student = csst_jax.load(alone)
    description = DataSet.open(tiny_data).description
    assert (student.classes, student.palette) == (description.classes, description.palette)
    said = student.description
    assert (said.network, said.steps, said.method, said.dtype) == ("toy", 4, "supervised", "float32")
    assert said.weights_sha256 == results["student"]["weights_sha256"]
    assert said.scores == {
        "split": "val", "images": 3, "miou": results["student"]["miou"], "iou": results["student"]["iou"]
    }  # fmt: skip
    asked = json.loads((workdir / "student" / "stage.json").read_text())
    assert said.origin == {
        "stage": "student",
        "data_set": "tiny",
        "request_sha256": asked["hash"],
        "teacher_sha256": results["teacher"]["weights_sha256"],
        **{name: asked["request"][name] for name in ("labels_sha256", "records_sha256", "pretrained_sha256")},
    }
    for name in ("teacher", "student", "baseline"):
        found = files.describe(workdir / name)
        assert found.weights_sha256 == results[name]["weights_sha256"] and found.scores["miou"] == results[name]["miou"]
    images = np.random.default_rng(0).uniform(size=(1, 32, 48, 3)).astype(np.float32)
    assert csst_jax.load(workdir)(images).tobytes() == student(images).tobytes()


def test_a_finished_stage_is_loaded_from_its_file_without_its_checkpoints(copy, config, no_training, monkeypatch):
    monkeypatch.setattr(train, "Checkpoints", None)
    for name in ("teacher", "student", "baseline"):
        shutil.rmtree(copy / name / "checkpoints")
    before = (copy / "results.json").read_bytes()
    pipeline.run(resolve.run(all_stages(config)), copy)
    assert (copy / "results.json").read_bytes() == before


def test_a_finished_stage_that_lost_its_file_gets_it_from_its_checkpoint(copy, config, finished):
    for name in ("teacher", "student", "baseline"):
        (copy / name / "model.safetensors").unlink()
    pipeline.run(resolve.run(all_stages(config)), copy)
    for name in ("teacher", "student", "baseline"):
        again, before = ((workdir / name / "model.safetensors").read_bytes() for workdir in (copy, finished[0]))
        assert again == before, name  # the scores, too


def test_a_finished_stage_without_its_file_and_its_checkpoints_is_explained(copy, config):
    (copy / "teacher" / "model.safetensors").unlink()
    shutil.rmtree(copy / "teacher" / "checkpoints")
    with pytest.raises(CsstError, match="both model.safetensors and the last checkpoint are missing"):
        pipeline.run(resolve.run(config), copy)


def test_a_damaged_file_is_explained_and_made_again(copy, config):
    path = copy / "teacher" / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    config.stages = "teacher"
    with pytest.raises(
        CsstError, match=r"teacher/model.safetensors is damaged: .*, in its stage's directory, delete it"
    ):
        pipeline.run(resolve.run(config), copy)
    path.unlink()
    pipeline.run(resolve.run(config), copy)
    files.read(path)


@pytest.mark.slow
def test_a_student_of_pretrained_weights_is_loaded_when_these_are_gone(config, tmp_path):
    """Their options and preprocessing are in its own file: nothing else has to be where it was."""
    start = tmp_path / "start.safetensors"
    first = nnx_io.create(zoo.builder("toy", 7), 0)
    arrays = {name: np.asarray(value) for name, value in (first.params | first.batch_stats).items()}
    bgr = Preprocessing((104.0, 117.0, 123.0), (57.0, 57.0, 57.0), "BGR", 255.0)
    files.write(start, arrays, files.Description("toy", {"width": 0.5}, 7, "toys", "0" * 64, bgr))
    config.student.pretrained, config.student.width = str(start), 1.0
    results = pipeline.run(resolve.run(config), tmp_path / "run")
    start.unlink()
    said = csst_jax.load(tmp_path / "run").description
    assert said.options == {"width": 0.5} and said.preprocessing == bgr and said.num_classes == 4
    assert said.origin["pretrained_sha256"]
    found = evaluated(config, [tmp_path / "run"], tmp_path / "scores")["student"]
    assert (found["miou"], found["weights_sha256"]) == (results["student"]["miou"], said.weights_sha256)


@pytest.mark.slow
def test_a_teacher_of_another_run_is_taken_by_its_workdir_and_evaluating_it_changes_no_request(copy, config, tmp_path):
    shutil.rmtree(copy / "teacher" / "evaluation")
    files.write(copy / "teacher" / "model.safetensors", *unscored(copy / "teacher"))
    config.teacher.pretrained, config.teacher.epochs, config.stages = str(copy / "teacher"), 0, "teacher"
    pipeline.run(resolve.run(config), tmp_path / "taken")
    files.add_scores(copy / "teacher" / "model.safetensors", {"miou": 0.5})
    pipeline.run(resolve.run(config), tmp_path / "taken")
    taken, given = files.describe(tmp_path / "taken" / "teacher"), files.describe(copy / "teacher")
    assert (taken.weights_sha256, taken.steps) == (given.weights_sha256, 0)
    config.teacher.pretrained = str(copy)  # the student
    with pytest.raises(StaleArtifactError, match="pretrained_sha256"):
        pipeline.run(resolve.run(config), tmp_path / "taken")


def evaluated(config, checkpoints, output):
    parts = (resolve.evaluation(config), resolve.data(config), resolve.mesh(config))
    return scoring.score_networks(*parts, checkpoints, output)


def unscored(directory):
    arrays, description = files.read(directory)
    return arrays, dataclasses.replace(description, scores=None)


@pytest.mark.slow
@pytest.mark.essential("pretrained weights")
def test_pretrained_teacher_is_taken_as_it_is_with_its_preprocessing(copy, config, tmp_path):
    """Stage one is skipped: epochs=0 and a file, whose preprocessing counts and not the configuration's."""
    teacher = finished_teacher(copy, config)
    arrays = {name: np.asarray(value) for part in teacher.weights for name, value in part.items()}
    file = tmp_path / "teacher.safetensors"
    files.write(file, arrays, files.Description("toy", {}, 4, "ours", "0" * 64, teacher.expects))
    config.teacher.update({"pretrained": str(file), "epochs": 0})
    config.normalisation.mean = (0.0, 0.0, 0.0)
    config.stages = "teacher,evaluate"
    results = pipeline.run(resolve.run(config), tmp_path / "taken")
    before = json.loads((copy / "results.json").read_text())
    assert results["teacher"]["steps"] == 0
    for key in ("miou", "iou", "weights_sha256"):
        assert results["teacher"][key] == before["teacher"][key]


def finished_teacher(workdir, config):
    """The finished teacher of a workdir."""
    caught = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "evaluate_network", lambda run, name, network: caught.append(network) or {})
        patch.setattr(pipeline.conclude, "conclude", lambda *_: None)
        config.stages = "teacher,evaluate"
        pipeline.run(resolve.run(config), workdir)
    return caught[0]


def stored(stage):
    """The last checkpoint's arrays, by part of the state."""
    (newest,) = sorted((p for p in (stage / "checkpoints").iterdir() if p.name.isdigit()), key=lambda p: int(p.name))[
        -1:
    ]
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.metadata(newest / "default").item_metadata.tree
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), tree)
        return checkpointer.restore(newest / "default", like)


@pytest.mark.slow
@pytest.mark.essential("a method of two views and an average")
def test_a_student_of_the_mean_teacher_needs_no_teacher_and_is_its_average(config, tmp_path):
    """The whole way: streams, state, checkpoint, model file, scores, hash."""
    config.stages = "student,evaluate"
    config.student.update({"batch_size": 16, "samples_per_epoch": 64})
    config.student.method.name = "mean_teacher"
    config.student.method.mean_teacher.confidence_threshold = 0.0
    results = pipeline.run(resolve.run(config), tmp_path)
    assert set(results) == {"student", "data", "compilations", "wall_s"} and results["student"]["steps"] == 8
    assert not (tmp_path / "teacher").exists() and not (tmp_path / "pseudo_labels").exists()
    arrays, description = files.read(tmp_path / "student")
    state = stored(tmp_path / "student")
    average = state["method"]["average"]
    for name, value in arrays.items():
        part = "params" if name in average["params"] else "batch_stats"
        np.testing.assert_array_equal(value, average[part][name], err_msg=name)
    assert any(not np.array_equal(arrays[name], value) for name, value in state["params"].items())
    assert description.method == "mean_teacher"
    assert description.weights_sha256 == results["student"]["weights_sha256"] == files.weights_sha256(arrays)
    online = tmp_path / "online.safetensors"
    files.write(online, {**state["params"], **state["batch_stats"]}, description)
    config.student.method.name = "supervised"
    average_scores = evaluated(config, [tmp_path / "student"], tmp_path / "a")["student"]
    online_scores = evaluated(config, [online], tmp_path / "b")["online"]
    assert average_scores["confusion"] != online_scores["confusion"], "this test sees no difference"
    assert average_scores["miou"] == results["student"]["miou"]


def test_any_stage_can_predict_with_an_average_of_its_weights(config, tmp_path):
    config.stages = "teacher"
    config.teacher.average_decay = 0.9
    pipeline.run(resolve.run(config), tmp_path)
    arrays, _ = files.read(tmp_path / "teacher")
    state = stored(tmp_path / "teacher")
    for name, value in state["method"]["average"]["params"].items():
        np.testing.assert_array_equal(arrays[name], value, err_msg=name)
    assert any(not np.array_equal(arrays[name], value) for name, value in state["params"].items())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uniform", "class_uniform_tiles"])
def test_other_samplers_run_too(config, tmp_path, name):
    config.stages = "teacher,evaluate"
    config.teacher.sampler.name = name
    assert pipeline.run(resolve.run(config), tmp_path)["teacher"]["steps"] == 4


@pytest.mark.parametrize(
    "change,message",
    [
        ({"data.dir": ""}, "data.dir is empty; set --config.data.dir=DIR"),
        ({"data.dir": "nowhere"}, "data set directory nowhere does not exist"),
        ({"data.train_split": "val"}, "the unlabelled pool is empty: all 3 images of split 'val'"),
        ({"data.val_split": "test"}, "no split 'test'; there are: train, val"),
        ({"stages": "teacher,studnet"}, "stages='teacher,studnet': give a comma-separated list of teacher, label"),
        (
            {"stages": "teacher,label,student,baseline", "baseline.longer_by": "copy"},
            "baseline.longer_by is 'copy'; give 'copies' or another one of: epochs",
        ),
        ({"stages": "teacher,baseline"}, "baseline trains for the student's number of steps; add student"),
        (
            {"teacher.network": "fastscnn"},
            "teacher.network is 'fastscnn'; give 'fast_scnn' or",
        ),
        ({"student.network": "fastscnn"}, "student.network is 'fastscnn'; give 'fast_scnn' or"),
        ({"teacher.epochs": 0}, "epochs=0 takes pretrained weights as they are; set pretrained=FILE"),
        ({"teacher.pretrained": "nowhere.safetensors"}, "cannot read .*nowhere.safetensors as safetensors"),
        ({"teacher.output_stride": 8}, "network 'toy' has no option output_stride; it has: "),
        ({"teacher.crop_px": 160}, r"crop_px=160 is larger than every training image \(the longest side is 128 px\)"),
        ({"student.crop_px": 160}, "crop_px=160 is larger than every training image"),
        ({"teacher.batch_size": 6}, "a global batch of 6 is not divisible by 8, the devices"),
        ({"student.batch_size": 6}, "a global batch of 6 is not divisible by 8, the devices"),
        ({"student.accumulate": 2}, "a global batch of 8 is not divisible by 16, the devices"),
        ({"student.accumulate": 0}, "student.accumulate is 0; give a whole number of at least 1"),
        ({"mesh.data": 3}, "mesh.data=3 and mesh.spatial=1 do not make 8 devices"),
        ({"mesh.spatial": 3}, "mesh.spatial=3 does not divide the 8 devices"),
        (
            {"teacher.dtype": "float16"},
            "teacher.dtype is 'float16'; give 'bfloat16' or another one of: float32, bfloat16",
        ),
        (
            {"teacher.sampler.name": "random"},
            "teacher.sampler.name is 'random'; give one of: centroid, class_uniform_tiles, uniform",
        ),
        (
            {"student.sampler.name": "class_uniform_tiles", "student.sampler.class_uniform_tiles.share": 1.5},
            "student.sampler.class_uniform_tiles.share is 1.5; give a number from 0 to 1",
        ),
        (
            {"student.sampler.real_share": 1.5},
            "student.sampler.real_share is 1.5; give a number from 0 to 1, or -1 for the union",
        ),
        (
            {"teacher.sampler.name": "class_uniform_tiles", "teacher.sampler.class_uniform_tiles.tile_px": 0},
            "teacher.sampler.class_uniform_tiles.tile_px is 0; give a whole number of at least 1",
        ),
        ({"student.method.name": "mean_techer"}, "student.method.name is 'mean_techer'; give 'mean_teacher' or"),
        ({"teacher.optimizer.rate_factors": (("^nowhere", 0.1),)}, "the rule '\\^nowhere' .* matches none of the"),
        ({"teacher.lr.base": -0.1}, "teacher.lr.base is -0.1; give a number above 0"),
        ({"teacher.augment.scale_min": 3.0}, "teacher.augment.scale_min is 3.0, above teacher.augment.scale_max"),
        ({"label.shard_size": 0}, "label.shard_size is 0; give a whole number of at least 1"),
        ({"evaluate.scales": ()}, r"evaluate.scales is \(\); give one number or more"),
        ({"teacher.sampler.min_area_px": 10**6}, "there is no centroid to sample: .* lower the minimum area"),
        ({"teacher.schedule.kind": "fast"}, "teacher.schedule.kind is 'fast'; give one of: constant, coarse2fine"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(config, tmp_path, no_training, change, message):
    config.update_from_flattened_dict(change)
    with pytest.raises(CsstError, match=message):
        pipeline.run(resolve.run(config), tmp_path)


def test_data_that_scores_would_be_wrong_on_is_refused_and_oddities_are_logged(
    config, tmp_path, no_training, monkeypatch, caplog
):
    config.data.val_split = "train"
    config.stages = "teacher"
    with pytest.raises(AssertionError, match="a stage was trained"):
        pipeline.run(resolve.run(config), tmp_path)
    assert "data: split 'train' is trained on and validated on" in caplog.text
    found = readiness.Findings(["a is wrong.", "b is wrong."], ["c is odd."])
    monkeypatch.setattr(experiment.readiness, "findings", lambda pool, validation: found)
    with pytest.raises(CsstError, match=r"a is wrong.\nb is wrong.\n`python -m csst_jax check` .* looks closer"):
        pipeline.run(resolve.run(config), tmp_path / "other")
    assert "data: c is odd." in caplog.text


def test_class_without_a_pixel_is_named_and_the_run_goes_on(config, tmp_path, caplog):
    config.stages = "teacher"
    config.teacher.sampler.min_area_px = 200  # the signs are 12 x 12
    assert pipeline.run(resolve.run(config), tmp_path) is None
    assert "no centroid of sign: their share of each epoch goes to other crops" in caplog.text
    assert (tmp_path / "teacher" / "DONE").exists()
    assert jax.process_count() == 1
