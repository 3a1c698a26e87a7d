"""Every row of configs/paper: it loads, its names resolve, it has the paper's settings, and its steps can be traced."""

import importlib
import subprocess
import sys

import jax
import pytest
from ml_collections import ConfigDict

from benchmarks import paper_page
from csst_jax import build
from csst_jax.models import nnx_io
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.settings import config_file, ranges, resolve
from csst_jax.settings.run import Mesh
from csst_jax.train.sharding import make_mesh
from csst_jax.train.step import step_program
from csst_jax.types import CsstError

NETWORKS = (
    *("fast_scnn", "bisenet_resnet18", "icnet_resnet50", "pspnet_resnet101", "ocr_hrnet_w48", "deeplab_v2_resnet101"),
    *("deeplab_v3_resnet101", "deeplab_v3_plus_resnext50_32x4d", "deeplab_v3_plus_wide_resnet38", "encnet_resnet101"),
)
MESH = Mesh(-1, 1, split_state=False)


def stages_of(table, name):
    """The stages that a row trains, from random weights: the networks of other rows are not there."""
    c = paper_page.config(table, name)
    for stage in {"teacher", "student"} & set(c.stages.split(",")):
        if c[stage].epochs and not c[stage].pretrained:
            yield c[stage]
        elif c[stage].epochs:
            copy = ConfigDict(c[stage])
            copy.pretrained = ""
            yield copy


def test_every_table_is_there_with_all_its_rows():
    counts = {table: len(paper_page.module(table).ROWS) for table in paper_page.TABLES}
    # Tables 1 and 3 have a row for each figure; Table 7 has the text of §4.4 as well; Fig. 8 has three sources.
    assert counts == {
        "table1": 18,
        "table2": 5,
        "table3": 12,
        "table4": 5,
        "table5": 7,
        "table6": 6,
        "table7": 15,
        "table8": 23,
        "table9": 6,
        "figure8": 23,
    }
    assert sorted(paper_page.TABLES) == [
        n.removeprefix("paper/") for n in config_file.names() if n.startswith("paper/")
    ]


@pytest.mark.parametrize("table", paper_page.TABLES)
def test_every_row_resolves(table):
    module = importlib.import_module(f"configs.paper.{table}")
    assert module.__doc__.startswith(f"{table[:-1].capitalize()} {table[-1]}. ")
    assert f": `paper/{table}:row=" in module.__doc__.partition("\n")[0]
    for name, row in module.ROWS.items():
        assert row.what and row.paper
        if row.make is None:
            with pytest.raises(CsstError, match=rf"row={name} \(.*has no configuration: {row.note}"):
                module.get_config(f"row={name}")
            continue
        ranges.require_sound(paper_page.config(table, name))
        trained = list(stages_of(table, name))
        assert trained, name
        for stage in trained:
            assert stage.network in NETWORKS
            phases = build.phases(resolve.training(stage, IMAGENET), 2975, make_mesh(jax.devices()[:1], 1))
            assert len(phases) == stage.epochs and max(phase.crop_px for phase in phases) == stage.crop_px


def test_a_row_has_the_settings_of_section_4_2_and_table_6():
    for name in paper_page.module("table6").ROWS:
        stage = paper_page.config("table6", name).teacher
        decay = f"{stage.optimizer.sgd.weight_decay:.0e}".replace("e-0", "e-")
        sizes = f"crop {stage.crop_px}, {stage.epochs} epochs, batch {stage.batch_size}"
        assert paper_page.module("table6").ROWS[name].paper == f"rate {stage.lr.base}, decay {decay}, {sizes}"
        assert paper_page.config("table3", name).teacher == stage == paper_page.config("table3", f"{name}_csst").student
    voc, camvid = paper_page.config("table9", "encnet_csst"), paper_page.config("table7", "csst_camvid")
    for c, epochs, crop in ((voc, 50, 480), (camvid, 90, 640), (paper_page.config("table2", "csst"), 180, 800)):
        for stage in (c.teacher, c.student):
            assert (stage.epochs, stage.crop_px, stage.lr.base, stage.batch_size) == (epochs, crop, 0.02, 16)
            assert (stage.loss.ohem, stage.lr.power, stage.sampler.min_area_px) == (True, 0.9, 0)


def test_what_tells_rows_apart():
    config = paper_page.config
    assert config("table1", "student_6k_cs").data.more_unlabelled == "data/cityscapes:train_extra:6000"
    assert sum(count for _, count in paper_page.pool(config("table1", "student_40k_cs"))) == 39_997
    assert config("table1", "repeated_9k_uniform").teacher.samples_per_epoch == 8925
    for stage in ("teacher", "student"):
        assert config("table1", "student_40k_uniform")[stage].sampler.name == "uniform"
        assert config("table4", "fine2coarse")[stage].schedule.kind == "fine2coarse"
    assert config("table8", "csst").evaluate.scales == (0.5, 1.0, 2.0) and config("table8", "csst").evaluate.flip
    assert config("table2", "consistency").teacher.method.name == "consistency"
    hlcon = config("table7", "hlcon_camvid")
    assert (hlcon.stages, hlcon.teacher.method.name) == ("teacher,evaluate", "hlcon")
    assert hlcon.data.more_unlabelled == config("table7", "csst_camvid").data.more_unlabelled != ""
    few = config("figure8", "bdd100k_5_csst")
    assert (few.data.dir, few.data.labelled_ids) == ("data/bdd100k", "shots/bdd100k/0/5.txt")
    assert few.teacher.pretrained == "runs/figure8/bdd100k_source/student"
    assert (few.teacher.lr.base, few.teacher.loss.ohem, few.teacher.schedule.kind) == (0.002, False, "constant")
    assert config("figure8", "bdd100k_source").data.more_unlabelled == "data/bdd100k:train"


def test_a_trained_teacher_serves_many_rows():
    module = paper_page.module("table3")
    c = module.get_config("row=ocr_csst,trained=runs/t/teacher,pretrained=w.safetensors")
    assert (c.teacher.pretrained, c.teacher.epochs) == ("runs/t/teacher", 0)
    assert (c.student.pretrained, c.student.epochs) == ("w.safetensors", 180)
    c = paper_page.module("table2").get_config("row=csst,pretrained=w.safetensors")
    assert c.teacher.pretrained == c.student.pretrained == "w.safetensors"
    c = module.get_config("row=ocr_csst")
    assert (c.finetune_teacher, c.label.soft.k, c.student.method.name) == (False, 0, "supervised")


def test_table_2_has_the_papers_other_ways():
    c = paper_page.module("table2").get_config("row=finetuned,trained=runs/t/teacher")
    assert c.finetune_teacher and c.teacher.pretrained == "runs/t/teacher"
    assert (c.teacher.epochs, c.student.epochs, c.student.lr.base) == (0, 180, 0.002)
    assert paper_page.config("table2", "soft").label.soft.k == 3
    c = paper_page.config("table2", "model_regulariser").student.method
    assert (c.name, c.model_regulariser.weight, c.model_regulariser.over_classes) == ("model_regulariser", 0.1, "mean")


@pytest.mark.parametrize(
    "chosen,message",
    [
        ("paper/table3", "option row= after the config's colon: give one of pspnet, pspnet_csst, "),
        ("paper/table3:row=psp", "option row=psp after"),
        ("paper/figure8:row=bdd100k_1_finetuned", "fine-tunes a trained network: give trained=DIR, of "),
        ("paper/figure8:row=bdd100k_1_finetuned,trained=a,pretrained=b", "leave pretrained out"),
        ("paper/figure8:row=mapillary_2_csst,trained=a", "has few masks: give ids=FILE, with 2 ids"),
        ("paper/tabel3:row=pspnet", "no such file. Did you mean --config=paper/table3"),
    ],
)
def test_what_a_row_lacks_is_told(chosen, message):
    with pytest.raises(CsstError) as refused:
        config_file.load(chosen)
    assert message in str(refused.value)


def test_a_row_comes_by_name():
    loaded = config_file.load("paper/table3:row=bisenet_csst")
    assert loaded.to_dict() == paper_page.config("table3", "bisenet_csst").to_dict()


CLASSES = {"data/voc2012": 21, "data/voc2012_aug_masks": 21, "data/camvid_full": 11, "data/mapillary_v1_2": 65}


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_the_first_step_of_every_row_can_be_traced(network, monkeypatch):
    monkeypatch.setattr(nnx_io, "create", lambda build, seed: nnx_io.abstract(build))  # shapes alone
    mesh, traced = make_mesh(jax.devices()[:1], 1), set()
    tables = {table: paper_page.module(table).ROWS for table in paper_page.TABLES}
    made = [(table, name) for table, rows in tables.items() for name, row in rows.items() if row.make]
    for table, name in made:
        num_classes = CLASSES.get(paper_page.config(table, name).data.dir, 19)
        for stage in stages_of(table, name):
            # What a step is made of; the rest is data, schedule and the classifier's width.
            parts = (stage.loss.to_json(), stage.augment.to_json(), stage.method.to_json())
            if stage.network != network or parts in traced:
                continue
            traced.add(parts)
            training = resolve.training(stage, IMAGENET)
            first = build.phases(training, 2975, mesh)[0]
            program = step_program(build.recipe(training, num_classes, None, MESH, mesh), first)
            state, metrics = jax.eval_shape(program.fn, *program.abstract_args)
            before = program.abstract_args[0]
            same = jax.tree.map(lambda a, b: a.shape == b.shape and a.dtype == b.dtype, state, before)
            assert all(jax.tree.leaves(same)) and metrics["loss"].shape == ()
    assert traced


@pytest.mark.slow
def test_a_row_is_a_command(tmp_path):
    command = [sys.executable, "-m", "csst_jax", "train", "--config=paper/table8:row=vplr", f"--workdir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=paper_page.DOCS.parent)
    assert done.returncode == 2 and "has no configuration: quoted from its own paper" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
