"""Every configuration is loaded as the command line does, resolved into phases, and one step is traced abstractly."""

import importlib
import inspect
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from csst_jax import build, command_line
from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.models.weights import importing
from csst_jax.runtime.machine import Machine
from csst_jax.settings import ranges, resolve, sized
from csst_jax.settings.run import Mesh
from csst_jax.train.sharding import make_mesh
from csst_jax.train.step import step_program
from csst_jax.types import CsstError

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = sorted(path.stem for path in (ROOT / "configs").glob("[!_]*.py"))
# Tracing a deep network takes seconds: two stand for all here, and tests/models/zoo_test.py builds each.
NETWORKS = ("fast_scnn", "bisenet_resnet18")


def takes_options(name):
    return bool(inspect.signature(importlib.import_module(f"configs.{name}").get_config).parameters)


def listed_options(name):
    """Options after a config's colon, as its error lists them."""
    with pytest.raises(CsstError, match="option 'nonsense=1'") as unknown:
        importlib.import_module(f"configs.{name}").get_config("nonsense=1")
    return str(unknown.value).rpartition(" one of ")[2].rstrip(".").split(", ")


# The values of options; `pretrained` is a file: see below.
PLAIN = {"net": NETWORKS, "student": NETWORKS[1:], "pretrained": ()}
KNOWN = {
    **dict.fromkeys(("folder", "ade20k", "bdd100k", "mapillary", "voc2012"), PLAIN),
    "cityscapes": PLAIN | {"pool": ("none", "coarse", "mapillary", "bdd100k")},
    "camvid_full": PLAIN | {"pool": ("none", "mapillary")},
    "one_stage": {
        "method": (
            *("consistency", "fixmatch", "unimatch", "unimatch_v2", "cps", "mean_teacher", "freematch"),
            *("cct", "u2pl", "pseudoseg", "hlcon", "dst_cbc", "corrmatch"),
        ),
        "net": NETWORKS[1:],
        "pretrained": (),
    },
    "alternatives": {
        "method": ("finetuned", "soft", "model_regulariser", "model_regulariser_sum", "csst"),
        "net": NETWORKS[1:],
        "pretrained": (),
        "pool": ("mapillary",),
    },
    "st_plus_plus": {"data": ("cityscapes", "voc2012"), "net": (), "pretrained": ()},
    # step=finetuning needs another run's network.
    "cross_domain": dict.fromkeys(("source", "target", "net", "pretrained", "trained", "ids"), ())
    | {"step": ("source", "self_training")},
    "camvid": PLAIN
    | {
        "fraction": ("1_8", "1_4", "1_2", "full"),
        "sampler": ("centroid", "class_uniform_tiles", "uniform"),
    },
}
# Of other configurations, the values of their own options are not known here.
OPTIONS = {
    name: KNOWN.get(name) or {option: PLAIN.get(option, ()) for option in listed_options(name)}
    for name in FILES
    if takes_options(name)
}
ARGUMENTS = [(name, "") for name in FILES] + [
    pytest.param(name, f"{option}={value}", marks=pytest.mark.slow)
    for name in OPTIONS
    for option, values in OPTIONS[name].items()
    for value in values
]
NUM_CLASSES, NUM_IMAGES = 11, 367
# For configurations that leave sizes open.
FACTS, LAPTOP = sized.Facts(46, NUM_IMAGES - 46, (360, 480)), Machine("cpu", 1, 2**34, 2)


def load(name, argument=""):
    found = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", flag_values=found)
    found(["test", f"--config={ROOT / 'configs' / name}.py" + (f":{argument}" if argument else "")])
    return found["config"].value


def test_there_are_configs_and_this_test_knows_their_options():
    assert {"base", "camvid", "demo"} <= set(FILES)
    assert set(KNOWN) <= set(OPTIONS)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_options_are_those_that_are_documented(name):
    module = importlib.import_module(f"configs.{name}")
    assert set(listed_options(name)) == set(OPTIONS[name])
    documentation = f"{module.__doc__} {module.get_config.__doc__}"
    for option, values in OPTIONS[name].items():
        assert f"`{option}`" in documentation
        assert option in ("net", "student") or all(value in documentation for value in values)


@pytest.mark.parametrize("name,argument", ARGUMENTS)
def test_config_resolves_to_a_training_step(name, argument, monkeypatch):
    config = load(name, argument)
    ranges.require_sound(config)
    config = sized.filled(config, sized.answer(config, FACTS, LAPTOP))
    if config.data.labelled_ids:
        assert pathlib.Path(config.data.labelled_ids).read_text(encoding="utf-8").split()
    importing.imagenet("light_fpn_efficientnet_lite0", {})  # kept, so that no initial values are drawn below
    monkeypatch.setattr(nnx_io, "create", lambda build, seed: nnx_io.abstract(build))  # shapes alone
    for stage in (config.teacher, config.student):
        step_of(resolve.training(stage, IMAGENET), stage)


TRACED = set()
MESH = Mesh(-1, 1, split_state=False)


def step_of(training, stage):
    mesh = make_mesh(jax.devices()[:1], 1)
    phases = build.phases(training, NUM_IMAGES, mesh)
    assert len(phases) == stage.epochs
    assert max(phase.crop_px for phase in phases) == stage.crop_px and all(phase.steps > 0 for phase in phases)
    rates = build.learning_rates(training, phases)
    assert rates.shape == (sum(phase.steps for phase in phases),)
    assert np.all(np.isfinite(rates)) and np.all(rates >= 0) and rates.max() > 0
    if stage.network not in NETWORKS:
        assert stage.network in zoo.NETWORKS
        return
    # What a step is made of; most options change the data or the schedule alone, and tracing takes seconds.
    parts = (stage.network, stage.width, stage.dtype, stage.loss.to_json(), stage.augment.to_json())
    if parts in TRACED:
        return
    TRACED.add(parts)
    smallest = min(phases, key=lambda phase: phase.global_batch * phase.crop_px**2)
    program = step_program(build.recipe(training, NUM_CLASSES, None, MESH, mesh), smallest)
    state, metrics = jax.eval_shape(program.fn, *program.abstract_args)
    before = program.abstract_args[0]
    assert jax.tree.structure(state) == jax.tree.structure(before)
    same = jax.tree.map(lambda a, b: a.shape == b.shape and a.dtype == b.dtype, state, before)
    assert all(jax.tree.leaves(same)), "a step's state must fit the next step"
    assert metrics["loss"].shape == ()


def test_options_reach_the_config():
    camvid = load("camvid", "fraction=1_4,sampler=uniform")
    assert camvid.student.sampler.name == camvid.teacher.sampler.name == "uniform"
    assert pathlib.Path(camvid.data.labelled_ids).name == "1_4.txt"
    assert load("camvid", "fraction=full").data.labelled_ids == ""


def test_cityscapes_has_the_papers_settings_of_each_network():
    config = load("cityscapes", "student=fast_scnn,pool=mapillary")
    assert (config.teacher.crop_px, config.teacher.epochs, config.teacher.lr.base) == (800, 180, 0.02)
    assert (config.student.crop_px, config.student.epochs, config.student.lr.base) == (1024, 1000, 0.045)
    assert config.data.more_unlabelled.split(",") == [
        "data/cityscapes:train_extra",
        "data/mapillary_v1_2:train",
        "data/mapillary_v1_2:val",
    ]
    with pytest.raises(CsstError, match="option pool=fine .* give one of none, coarse, mapillary, bdd100k"):
        load("cityscapes", "pool=fine")


def one_stage(method):
    return load("one_stage", f"method={method},net=fast_scnn").teacher


def test_published_recipes_draw_images_uniformly_and_have_a_weak_view_without_jitter_and_blur():
    for method in ("unimatch", "cps", "u2pl", "corrmatch"):
        stage = one_stage(method)
        assert (stage.sampler.name, stage.augment.jitter, stage.augment.blur) == ("uniform", 0.0, 0.0), method
    papers = one_stage("consistency")  # has no recipe of its own
    assert (papers.sampler.name, papers.augment.jitter, papers.augment.blur) == ("centroid", 0.1, 0.5)


def test_hlcon_leaves_its_classifier_out_as_the_authors_do_for_cityscapes():
    hlcon = one_stage("hlcon").method.hlcon
    assert (hlcon.threshold, hlcon.discriminator_rate, hlcon.presence_weight) == (0.7, 1e-5, 0.0)
    assert load("paper/table7", "row=hlcon_camvid").teacher.method.hlcon == hlcon


def test_steps_from_one_data_set_to_another():
    with pytest.raises(CsstError, match="step=finetuning starts from a trained network: give trained=DIR"):
        load("cross_domain", "step=finetuning")
    tuned = load("cross_domain", "step=finetuning,source=a,target=b,ids=c.txt,trained=d")
    assert (tuned.data.dir, tuned.data.labelled_ids, tuned.data.more_unlabelled) == ("b", "c.txt", "")
    assert (tuned.teacher.pretrained, tuned.teacher.lr.base, tuned.stages) == ("d", 0.002, "teacher,evaluate")
    both = load("cross_domain", "step=self_training,source=a,target=b,trained=d")
    assert (both.data.dir, both.data.more_unlabelled) == ("a", "b:train")
    assert (both.teacher.pretrained, both.teacher.epochs, both.student.pretrained) == ("d", 0, "")
    assert not tuned.teacher.loss.ohem and both.student.schedule.kind == "constant"


def test_pretrained_weights_shorten_the_training_of_the_network_that_takes_them():
    plain = load("camvid", "net=fast_scnn")
    camvid = load("camvid", "net=fast_scnn,pretrained=w.safetensors,student=bisenet_resnet18")
    assert camvid.teacher.pretrained == "w.safetensors" and camvid.teacher.epochs < plain.teacher.epochs
    assert (camvid.teacher.network, camvid.student.network) == ("fast_scnn", "bisenet_resnet18")
    assert camvid.student.pretrained == "" and camvid.student.epochs == plain.student.epochs
    assert load("camvid", "net=fast_scnn,pretrained=w.safetensors").student.pretrained == "w.safetensors"


@pytest.mark.parametrize("name", ["camvid", "folder", "demo"])
def test_the_recipe_for_few_masks_is_the_default_where_they_are_few(name):
    config = load(name)
    assert config.student.method.name == "real_and_pseudo" and config.label.class_portion == 0.5
    assert config.label.lower_of_two == (name != "demo")
    for stage in (config.teacher, config.student):
        assert (stage.network, stage.pretrained) == ("light_fpn_efficientnet_lite0", "imagenet")
    assert config.teacher.epochs == config.student.epochs


@pytest.mark.slow
def test_auxiliary_weights_are_the_networks_own_unless_set():
    stage = load("camvid", "net=bisenet_resnet18").teacher

    def weights():
        loss = build.method(resolve.training(stage, IMAGENET), NUM_CLASSES, None).parts.loss
        return [loss.aux_weights.get(head, loss.aux_weight) for head in ("stride8", "stride16")]

    assert weights() == [1.0, 1.0]
    stage.loss.aux_weight = 0.2
    assert weights() == [0.2, 0.2]
    stage.network, stage.loss.aux_weight = "icnet_resnet50", -1.0
    assert weights() == [0.4, 1.0]
    stage.lineage = "original"
    assert weights() == [0.4, 0.16]
    stage.network, stage.lineage = "fast_scnn", ""
    assert weights() == [0.4, 0.4]


def rejected(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        command_line.parse_flags(["main", *arguments])
    assert exit_.value.code == 2
    return capsys.readouterr().err


DEMO = f"--config={ROOT / 'configs' / 'demo.py'}"


def test_unknown_key_lists_the_near_ones(capsys):
    message = rejected(capsys, DEMO, "--workdir=w", "--config.student.epoch=3")
    assert "unknown configuration key 'student.epoch'" in message and "student.epochs" in message
    message = rejected(capsys, DEMO, "--workdir=w", "--config.studnet.epochs=3")
    assert "'studnet.epochs'" in message and "student.epochs" in message


def test_unknown_option_lists_the_known(capsys):
    message = rejected(capsys, f"--config={ROOT / 'configs' / 'camvid.py'}:frac=1_8", "--workdir=w")
    assert "option 'frac=1_8'" in message and "net, student, pretrained, fraction, sampler" in message


def test_missing_config_file_is_named(capsys):
    assert "--config=configs/none.py: no such file" in rejected(capsys, "--config=configs/none.py", "--workdir=w")
    assert "--config is missing" in rejected(capsys, "--workdir=w")


def test_unknown_network_lists_the_known():
    with pytest.raises(CsstError, match=r"unknown network 'fast_scn'; known are: .*Did you mean 'fast_scnn'"):
        resolve.training(load("camvid", "net=fast_scn").teacher, IMAGENET)


@pytest.mark.slow
def test_command_line_refuses_a_wrong_value_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "csst_jax.main", DEMO, f"--workdir={tmp_path}"]
    done = subprocess.run([*command, "--config.student.epochs=many"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and "student.epochs" in done.stderr and "many" in done.stderr
