"""The recipe's study: its tasks, its arms' commands, what it notes, and its page."""

import argparse
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from benchmarks import recipe, recipe_page, recipe_tasks
from csst_jax.settings import ranges
from csst_jax.types import CsstError


def options(**changes):
    given = {
        "task": "A-46",
        "steps": 500,
        "seed": 1,
        "crop_px": 160,
        "data_dir": pathlib.Path("data"),
        "pretrained": "lite0.safetensors",
        "flags": "",
    }
    return argparse.Namespace(**(given | changes))


@pytest.mark.parametrize("arm", recipe.ARMS, ids=lambda arm: arm.name)
def test_arms_set_keys_that_there_are(arm):
    from configs import base

    config = base.get_config()
    words = recipe.command_of(arm, options(), pathlib.Path("runs/x"))
    known = ranges.flattened(config)
    values = dict(word.removeprefix("--config.").split("=", 1) for word in words if word.startswith("--config."))
    assert values.keys() <= known.keys()
    assert values["teacher.epochs"] == values["student.epochs"] == "10", "500 steps of 8 crops, 400 an epoch"
    assert (values["data.labelled_ids"] == "") == (arm.name == "oracle")
    for key, value in values.items():
        kind, default = ranges.ALL[key], known[key]
        parsed = value == "True" if isinstance(default, bool) else type(default)(value)
        assert kind.allows(parsed), f"{key}={value}"


def test_masks_of_the_published_splits_and_of_other_drives():
    train = [f"train/{d}_{i:03}.png" for d, n in (("0016E5", 40), ("0006R0", 30), ("0001TP", 20)) for i in range(n)]
    pool, judged = recipe_tasks.divided(train, ["val/0016E5_900.png"], "0006R0")
    assert judged == [f"train/0006R0_{i:03}.png" for i in range(15, 30)]
    assert set(pool) | set(judged) == set(train) and not set(pool) & set(judged)
    ids = recipe_tasks.masks(pool, recipe_tasks.TASKS["B-0006R0"])
    assert len(set(ids)) == 46 and not any(i.startswith("0006R0") for i in ids)
    sizes = {name: len(recipe_tasks.masks(train, task)) for name, task in recipe_tasks.TASKS.items()}
    assert sizes == {name: task.masks for name, task in recipe_tasks.TASKS.items()}
    assert set(recipe_tasks.masks(train, recipe_tasks.TASKS["C-12"])) < set(
        recipe_tasks.masks(train, recipe_tasks.TASKS["C-23"])
    )
    assert recipe_tasks.divided(train, ["val/x.png"], "") == (train, ["val/x.png"])


def segnet(directory, drives):
    """CamVid as the SegNet tutorial lays it out, with a few pictures of noise a drive."""
    rng = np.random.default_rng(0)
    for split, names in drives.items():
        rows = []
        for name in names:
            for kind, shape in (("", (36, 48, 3)), ("annot", (36, 48))):
                (directory / f"{split}{kind}").mkdir(parents=True, exist_ok=True)
                picture = rng.integers(0, 11, shape).astype(np.uint8)
                Image.fromarray(picture).save(directory / f"{split}{kind}" / f"{name}.png")
            rows.append(f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png\n")
        (directory / f"{split}.txt").write_text("".join(rows), encoding="utf-8")


def test_prepare_writes_a_data_set_and_a_list_for_each_task(tmp_path, monkeypatch):
    from csst_jax.data.store import DataSet

    names = [f"{drive}_{i:03}" for drive in recipe_tasks.DRIVES for i in range(4)]
    segnet(tmp_path / "source", {"train": names, "val": ["0016E5_900"]})
    tasks = {"B-0001TP": recipe_tasks.Task("0001TP", 3, "0001TP")}
    monkeypatch.setattr(recipe_tasks, "TASKS", tasks)
    assert recipe.main(["prepare", f"--source_dir={tmp_path / 'source'}", f"--data_dir={tmp_path / 'data'}"]) == 0
    stored = DataSet.open(tmp_path / "data" / "0001TP")
    assert sorted(stored.ids("val")) == ["0001TP_002", "0001TP_003"] and len(stored.ids("train")) == 10
    listed = (tmp_path / "data" / "B-0001TP.txt").read_text(encoding="utf-8").split()
    assert listed == ["0006R0_000", "0016E5_000", "0016E5_003"]
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["0001TP", "B-0001TP.txt"], "nothing is left over"


def test_arms_run_one_after_another_and_their_scores_are_noted(tmp_path, monkeypatch):
    started = []

    def run(command, check):
        del check
        workdir = pathlib.Path(next(w for w in command if w.startswith("--workdir=")).partition("=")[2])
        started.append(workdir.name)
        (workdir / "teacher").mkdir(parents=True, exist_ok=True)
        (workdir / "teacher" / "DONE").touch()
        score = {"miou": 0.5, "iou": {"road": 0.5}, "steps": 500}
        labels = {"ignored_share": 0.1, "class_share": {"road": 1.0}}
        results = {"teacher": score, "student": score | {"miou": 0.6}, "pseudo_labels": labels}
        (workdir / "results.json").write_text(json.dumps(results))
        return argparse.Namespace(returncode=0)

    monkeypatch.setattr(recipe.subprocess, "run", run)
    words = ["run", "--task=C-12", "--steps=500", f"--data_dir={tmp_path}", "--pretrained=x"]
    words += [f"--workdir={tmp_path / 'runs'}", f"--logs={tmp_path / 'logs'}"]
    assert recipe.main([*words, "--arms=student"]) == 2, "its teacher is the baseline's"
    assert recipe.main([*words, "--arms=baseline,student"]) == 0
    assert started == ["C-12-500-0-baseline", "C-12-500-0-student"]
    log = json.loads((tmp_path / "logs" / "recipe-C-12-500-0.json").read_text(encoding="utf-8"))
    assert (log["baseline"]["miou"], log["student"]["miou"]) == (0.5, 0.6)
    assert log["student"]["flags"]["student.method.name"] == "real_and_pseudo"
    assert log["student"]["pseudo_labels"]["ignored_share"] == 0.1
    assert recipe.main([*words, "--arms=nonsense"]) == 2
    assert recipe.main([*words[:2], "--steps=501", *words[3:]]) == 2
    assert recipe.main([*words[:-1], "--flags=--config.seed=3"]) == 2, "a trial must not pass for an arm"


def log_of(task, steps, seed, **scores):
    arms = {arm: {"miou": value, "iou": {"road": value, "pole": value / 2}} for arm, value in scores.items()}
    return {"task": task, "steps": steps, "seed": seed, "crop_px": 160, "precise_bn_steps": 50, **arms}


def table_of(text, title):
    """The lines of the table below a heading."""
    return text.partition(f"### {title}\n\n")[2].partition("\n\n")[0].split("\n")


def test_page_pairs_seeds_and_shows_the_room():
    logs = [
        log_of("B-0006R0", 500, 0, baseline=0.40, student_lower_16=0.45, oracle=0.50),
        log_of("B-0006R0", 500, 1, baseline=0.42, student_lower_16=0.45),
        log_of("B-0006R0", 1000, 0, baseline=0.44),
    ]
    text = recipe_page.page(logs, [], "It gains.\n\n## Notes\n\nTried: nothing.", chart=False)
    rows = ("500 | 0 | 40.0 | 45.0 | 50.0", "500 | 1 | 42.0 | 45.0 | –", "500 | mean of 0, 1 | 41.0 | 45.0 | –")
    assert "\n".join(f"| {row} |" for row in (*rows, "1,000 | 0 | 44.0 | – | –")) in text
    assert text.index("This page compares") < text.index("| B | 46 ") < text.index("| B-0006R0 |"), "explained first"
    header = ["| task | 500 steps |", "| --- | --: |"]
    assert "| B-0006R0 | 500 | 41.0 | 45.0 | +4.0 | +5.0, +3.0 | – |" in text
    assert table_of(text, "Recipe against masks alone for twice the steps") == [*header, "| B-0006R0 | +1.0 |"]
    assert table_of(text, "All masks against masks alone") == [*header, "| B-0006R0 | +10.0 |"]
    assert "1,000" not in text.partition("## Task")[0], "masks alone gain nothing on themselves"
    assert text.index("It gains.") < text.index("## Controls") < text.index("## Notes")
    assert "IoU by class at 500 steps, mean of seeds 0, 1." in text
    assert "| masks alone | 41.0 | 20.5 |\n| recipe | 45.0 | 22.5 |" in text, "all masks have one of the two seeds"
    assert text.endswith("Tried: nothing.\n")


def test_page_tells_tasks_with_other_crops_or_statistics_apart():
    logs = [log_of("B-0006R0", 500, 0, baseline=0.40, student_lower_16=0.45)]
    larger = log_of("B-0006R0", 500, 0, baseline=0.5) | {"crop_px": 224}
    before = log_of("B-0006R0", 500, 0, baseline=0.3) | {"precise_bn_steps": 0}
    text = recipe_page.page([*logs, larger, before], [], "", chart=False)
    assert "## Task B-0006R0, 224 px\n" in text and "## Task B-0006R0, running averages\n" in text
    assert "| B-0006R0 | 500 | 40.0 | 45.0 | +5.0 | +5.0 | – |" in text and "IoU by class at 500 steps, seed 0." in text


def test_page_has_the_mean_of_drives_where_all_have_been_run():
    logs = [log_of(f"B-{drive}", 500, 0, baseline=0.4, student_lower_16=0.5) for drive in recipe_tasks.DRIVES]
    logs += [log_of("B-0001TP", 500, 1, baseline=0.4, student_lower_16=0.2)]
    text = recipe_page.page(logs, [], "", chart=False)
    assert "| B, mean of the three | 500 | 40.0 | 45.0 | +5.0 |  |  |" in text
    assert "| B-0001TP | 500 | 40.0 | 35.0 | -5.0 | +10.0, -20.0 | road -5.0 |" in text
    assert "mean of the three" not in recipe_page.page(logs[:2], [], "", chart=False)


def test_page_is_written_from_logs(tmp_path):
    logs = tmp_path / "results" / "logs"
    logs.mkdir(parents=True)
    assert recipe.main(["page", f"--logs={logs}"]) == 2
    (logs / "recipe-A-46-500-0.json").write_text(json.dumps(log_of("A-46", 500, 0, baseline=0.4)), encoding="utf-8")
    assert recipe.main(["page", f"--logs={logs}"]) == 0
    page = tmp_path / "results" / "recipe.md"
    assert "## Task A-46" in page.read_text(encoding="utf-8") and "recipe.svg" not in page.read_text(encoding="utf-8")
    (logs / "recipe-A-46-1000-0.json").write_text(json.dumps(log_of("A-46", 1000, 0, baseline=0.5)), encoding="utf-8")
    assert recipe.main(["page", f"--logs={logs}"]) == 0
    assert "](recipe.svg)" in page.read_text(encoding="utf-8")
    assert "masks alone, 1,000: 50.00" in (tmp_path / "results" / "recipe.svg").read_text(encoding="utf-8")


def test_tasks_that_differ_in_the_masks_alone_share_the_oracle():
    logs = [
        log_of("A-46", 500, 0, baseline=0.4, oracle=0.6),
        log_of("C-23", 500, 0, baseline=0.3),
        log_of("C-23", 1000, 0, baseline=0.3),
        log_of("B-0006R0", 500, 0, baseline=0.3),
        log_of("C-12", 500, 0, baseline=0.3) | {"precise_bn_steps": 0},
    ]
    found = recipe_page.with_shared_oracles(logs)
    assert [log.get("oracle", {}).get("miou") for log in found] == [0.6, 0.6, None, None, None]


def test_seeds_of_the_demo_have_a_mean_and_classes():
    def log(seed, alone, student, task="demo"):
        what = recipe_page.DEMO + (f", seed {seed}" if seed else "")
        scores = {
            name: {"miou": x, "iou": {"road": x, "pole": None}}
            for name, x in (("teacher", alone), ("student", student))
        }
        return {"task": task, "what": what, **scores}

    assert recipe_page.seeds_of_the_demo([log(0, 0.5, 0.6), log(1, 0.1, 0.9, task="B-0001TP")]) == []
    other = {**log(0, 0.1, 0.9), "what": "a threshold"}
    table = recipe_page.seeds_of_the_demo([log(1, 0.52, 0.51), other, log(0, 0.50, 0.55)])
    assert table[2:5] == [
        "| 0 | 50.0 | 55.0 | +5.0 |",
        "| 1 | 52.0 | 51.0 | -1.0 |",
        "| mean | 51.0 | 53.0 | +2.0 ± 4.2 |",
    ]
    assert table[-2:] == ["| masks alone | 51.0 | 0.0 |", "| student | 53.0 | 0.0 |"]


def test_a_list_that_is_missing_is_named(tmp_path):
    with pytest.raises(CsstError, match=r"cannot read .*train\.txt"):
        recipe_tasks.prepare(tmp_path, tmp_path / "data")


def test_a_trial_is_kept_and_shown_with_what_it_cost(tmp_path, capsys):
    words = ["tried", f"--workdir={tmp_path / 'run'}", "--task=demo", "--name=x", "--what=a threshold"]
    words.append(f"--logs={tmp_path / 'logs'}")
    assert recipe.main(words) == 2 and "not finished" in capsys.readouterr().err
    teacher = {"miou": 0.5, "iou": {"road": 0.9, "pole": 0.1}, "steps": 500}
    student = {"miou": 0.48, "iou": {"road": 0.95, "pole": 0.01}, "steps": 500}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text(json.dumps({"teacher": teacher, "student": student}))
    assert recipe.main(words) == 0
    log = json.loads((tmp_path / "logs" / "recipe_tried-x.json").read_text())
    assert "| demo | a threshold | 500 | 50.0 | 48.0 | pole -9.0 | road +5.0 |" in recipe_page.tried([log])
