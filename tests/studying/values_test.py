"""Arms that start from other arms' networks, files that a study makes, and curves: Fig. 8 as a study."""

import json
import pathlib
import re
import shutil
from xml.etree import ElementTree

import pytest

from csst_jax import command_line, pipeline
from csst_jax.data.store import DataSet
from csst_jax.models import zoo
from csst_jax.models.weights import files
from csst_jax.settings import resolve
from csst_jax.studying import arms, command, curves, engine, page, study_file
from csst_jax.studying.arms import Arm, Point, Study
from csst_jax.studying.values import Made, Network
from csst_jax.types import CsstError, DatasetDescription
from data_prep import builder
from tests.conftest import tiny_examples
from tests.studying import grid
from tests.toy_network import train_toys

SECOND = {"teacher.pretrained": Network("first", "teacher"), "data.labelled_ids": Made("lists/{seed}.txt")}
ARMS = (Arm("first", {"stages": "teacher,evaluate"}), Arm("second", SECOND), Arm("third", {"teacher.epochs": 3}))


def chain(**fields):
    return grid.study(**({"arms": ARMS, "reference": "", "seeds": (4,)} | fields))


def test_a_network_and_a_file_become_paths_and_are_asked_for_wherever_the_study_lies(tmp_path):
    second = grid.runs(tmp_path, chain())[1]
    assert second.config.teacher.pretrained == str(tmp_path / "runs" / "first-4" / "teacher")
    assert second.config.data.labelled_ids == str(tmp_path / "lists" / "4.txt")
    elsewhere = grid.runs(tmp_path / "other", chain())[1]
    assert elsewhere.asked() == second.asked() and second.asked()["teacher.pretrained"] == "first/teacher"
    assert second.needs == ("first, seed 4",)


def test_a_run_waits_for_the_network_that_it_needs(tmp_path):
    order = []

    def start(run):
        order.append(run.name)
        looks = iter([None, None, 0])

        def poll():
            if (status := next(looks)) == 0:
                order.append(f"{run.name} ended")
                grid.leave(run, 0.5)
            return status

        return type("Process", (), {"poll": staticmethod(poll), "pid": 0})

    assert engine.run_all(grid.runs(tmp_path, chain()), 2, lambda: None, start=start, look_every_s=0) == []
    assert order.index("first, seed 4 ended") < order.index("second, seed 4")
    assert order.index("third, seed 4") < order.index("first, seed 4 ended"), "what needs nothing does not wait"


def test_what_needs_a_run_that_failed_is_not_started(tmp_path, capsys):
    runs = grid.runs(tmp_path, chain())
    made = grid.Made(lambda run: None if run.arm.name == "first" else 0.5)
    failed = engine.run_all(runs, 1, lambda: None, start=made, look_every_s=0)
    assert [run.name for run in failed] == ["first, seed 4", "second, seed 4"]
    assert made.started == ["first, seed 4", "third, seed 4"]
    assert "[2/3] second, seed 4: not started, as it needs first, seed 4" in capsys.readouterr().out


def test_arms_come_with_those_that_they_need():
    assert [arm.name for arm in chain().only(("second",), ()).arms] == ["first", "second"]
    with pytest.raises(CsstError, match="arm 'second' needs 'first'; put that arm before it"):
        chain(arms=ARMS[::-1])
    with pytest.raises(CsstError, match="reference='nobody' is no arm"):
        chain(arms=(Arm("a", reference="nobody"),))
    own = (Arm("a"), Arm("b", reference="a"))
    assert chain(arms=own).only(("b",), ()).arms == (Arm("b"),), "it is compared with nothing then"


def test_the_page_says_what_each_arm_is_compared_with_and_has_notes_and_curves(tmp_path):
    own = chain(
        arms=tuple(
            Arm(f"{x} {curve}", reference=f"{x} alone" if curve == "both" else "", point=Point("(a) Same", curve, x))
            for x in ("1", "all")
            for curve in ("alone", "both")
        ),
        axis="masks",
        seeds=(0, 1),
    )
    runs = grid.runs(tmp_path, own)
    for run in runs:
        grid.leave(run, 0.4 + 0.1 * ("both" in run.name) + 0.2 * ("all" in run.name) + 0.02 * run.seed)
        (run.workdir / "run.json").write_text(json.dumps({"asked": {}, "command": [], "versions": {}}))
    (tmp_path / "notes.md").write_text("## Drawn masks\n\n* draw 0, 1: a\n")
    page.write(own, runs, tmp_path)
    text = (tmp_path / "study.md").read_text(encoding="utf-8")
    assert re.search(r"\| 1 both +\| 51\.0 ± 1\.4 \| +2 \| \+10\.0 ± 0\.0 \| +1 alone \| +2 of 2 \|", text), text
    assert "## Drawn masks\n\n* draw 0, 1: a\n" in text and "](curves.svg)" in text
    svg = ElementTree.parse(tmp_path / "curves.svg").getroot()
    named = {dot[0].text: (float(dot.get("cx")), float(dot.get("cy"))) for dot in svg.iter(f"{{{SVG}}}circle")}
    assert set(named) == {f"{c}, {x}: {m}" for c, x, m in DOTS}
    assert named["both, 1: 52.00"][0] == named["alone, 1: 40.00"][0] < named["alone, all: 60.00"][0]
    assert named["both, 1: 52.00"][1] < named["alone, 1: 40.00"][1], "higher up"
    lines = [line.get("points") for line in svg.iter(f"{{{SVG}}}polyline")]
    assert len(lines) == 2 and all(len(line.split()) == 2 for line in lines)


SVG = "http://www.w3.org/2000/svg"
DOTS = [(c, x, f"{m + s:.2f}") for c, x, m in (
    ("alone", "1", 40), ("both", "1", 50), ("alone", "all", 60), ("both", "all", 70)
) for s in (0, 2)]  # fmt: skip


def test_a_study_without_points_has_no_curves(tmp_path):
    runs = grid.runs(tmp_path)
    grid.leave(runs[0], 0.5)
    (runs[0].workdir / "run.json").write_text(json.dumps({"asked": {}, "command": [], "versions": {}}))
    page.write(grid.study(), runs, tmp_path)
    assert not (tmp_path / "curves.svg").exists()
    assert curves.of_rows(grid.study(), []) == {}


def two_classes_more(directory):
    """The tiny data set with five classes, as a target of other classes."""
    palette = tuple((40 * k, 0, 0) for k in range(6))
    description = DatasetDescription("other", tuple("abcdef"), palette)
    splits = {"train": tiny_examples(0, 8, labelled=4), "val": tiny_examples(100, 3, labelled=3)}
    return builder.prepare(description, splits, directory, source_sha256="tests")


@pytest.mark.slow
def test_networks_go_from_arm_to_arm(tiny_data, tiny_config, tmp_path, monkeypatch):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    target = shutil.copytree(tiny_data, tmp_path / "target" / "tiny" / "1.0.0")

    def in_this_process(run):
        pipeline.run(resolve.run(run.config), run.workdir)
        return type("Ended", (), {"poll": staticmethod(lambda: 0), "pid": 0})

    def load(chosen):
        plain = command_line.with_overrides(chosen, [])[0]
        config = tiny_config(tiny_data)
        with config.unlocked():
            for key in ("data", "stages"):
                config[key] = plain[key]
        for stage in ("teacher", "student"):
            config[stage].network, config[stage].pretrained = "toy", plain[stage].pretrained
            config[stage].lr.base, config[stage].loss.ohem = plain[stage].lr.base, plain[stage].loss.ohem
        config.evaluate.boundary_ratio = 0.0
        return plain, train_toys(config)

    monkeypatch.setattr(engine, "_process", in_this_process)
    other = two_classes_more(tmp_path / "other")
    options = f"size=paper,source={tiny_data},target={target},new_target={other},net=toy,shots=1"
    study = study_file.load(f"cross_domain:{options}").only(("1 mask after self-training", "new classes: 1 mask"), (0,))
    assert command.run(study, tmp_path / "w", load) == 0
    runs = tmp_path / "w" / "runs"
    described = {path.parents[1].name: files.describe(path) for path in sorted(runs.glob("*/*/model.safetensors"))}
    assert set(described) == {"source-0", "self_training-0", "1_mask_after_self_training-0", "new_classes_1_mask-0"}
    for arm, start in (
        ("1_mask_after_self_training", "self_training-0/student"),
        ("new_classes_1_mask", "source-0/teacher"),
    ):
        assert described[f"{arm}-0"].origin["pretrained_sha256"] == files.identity(runs / start)
    assert len(described["new_classes_1_mask-0"].classes) == 6 > len(described["source-0"].classes)
    assert (tmp_path / "w" / "curves.svg").exists()


@pytest.mark.slow
@pytest.mark.essential("the paper's Fig. 8 as a study")
def test_fig_8_draws_its_masks_writes_them_down_and_goes_on(tiny_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(engine, "_process", grid.Made(lambda run: 0.5))
    study = study_file.load(f"cross_domain:source={tiny_data},target={tiny_data},new_target={tiny_data},shots=1/3/all")
    study = study.only((), (0, 1))

    def load(chosen):
        return command_line.with_overrides(chosen, [])

    assert command.run(study, tmp_path, load) == 0
    ids = DataSet.open(tiny_data).labelled_ids("train")
    drawn = {path.relative_to(tmp_path).as_posix(): path.read_text().split() for path in tmp_path.rglob("shots/*/*/*")}
    assert set(drawn) == {f"shots/{t}/{s}/{k}.txt" for t in ("target", "new_target") for s in (0, 1) for k in (1, 3)}
    assert all(set(found) < set(ids) and len(found) == int(name[-5]) for name, found in drawn.items())
    assert set(drawn["shots/target/0/1.txt"]) < set(drawn["shots/target/0/3.txt"])
    text = (tmp_path / "study.md").read_text(encoding="utf-8")
    assert f"* tiny, draw 1, 3: {', '.join(drawn['shots/target/1/3.txt'])}" in text
    svg = (tmp_path / "curves.svg").read_text()
    assert "(a) Same classes" in svg and "(b) New classes" in svg and "self-training, then fine-tuning" in svg
    assert f"curves  {tmp_path / 'curves.svg'}" in capsys.readouterr().out
    assert command.run(study, tmp_path, load) == 0, "goes on"
    (tmp_path / "shots/target/0/1.txt").write_text("other\n")
    with pytest.raises(CsstError, match=r"target/0/1\.txt holds other ids than are drawn now"):
        command.run(study, tmp_path, load)


@pytest.mark.parametrize(
    "options,words",
    [("shots=1/few", "'few' is no number above 0"), ("per=mask", "give one of image, class"), ("x=1", "name one of")],
)
def test_wrong_options_are_told(options, words):
    with pytest.raises(CsstError, match=words):
        study_file.load(f"cross_domain:{options}")


def test_a_study_without_options_refuses_them():
    with pytest.raises(CsstError, match="this study takes no options"):
        study_file.load("table3:net=fast_scnn")


def test_the_paths_of_fig_8_are_those_of_the_steps(tmp_path):
    runs = arms.runs(study_file.load("cross_domain"), pathlib.Path("w"), lambda c: command_line.with_overrides(c, []))
    of = {run.name: run.config for run in runs}
    both = of["self-training, seed 2"]
    assert (both.teacher.pretrained, both.teacher.epochs) == ("w/runs/source-2/teacher", 0)
    assert both.data.more_unlabelled == "data/camvid_target_0001tp:train" and both.data.dir.endswith("source_0001tp")
    few = of["5 masks after self-training, seed 1"]
    assert few.teacher.pretrained == "w/runs/self-training-1/student" or "self_training" in few.teacher.pretrained
    assert (few.data.labelled_ids, few.stages) == ("w/shots/target/1/5.txt", "teacher,evaluate")
    assert few.teacher.lr.base == 0.002 and not few.teacher.loss.ohem
    assert of["all masks, seed 0"].data.labelled_ids == "" and of["0 masks, seed 0"].teacher.epochs == 0
    assert Study("t", "c", (Arm("a"),)).prepare is None
