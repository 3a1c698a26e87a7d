"""A whole run in this process: what it leaves, what a second one does, and what another seed changes."""

import json
import logging
import re
import shutil

import jax
import numpy as np
import pytest

from csst_jax import pipeline
from csst_jax.settings import resolve
from csst_jax.stages import conclude
from tests.pipeline.outcomes import all_stages


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


def test_a_report_that_is_gone_or_was_not_written_any_more_is_written(copy, config, no_training, monkeypatch):
    wanted, report = all_stages(config), copy / "report.html"

    def ends(workdir):
        raise KeyboardInterrupt

    (copy / "results.json").unlink()
    report.write_text("of the stages before")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(conclude, "write_report", ends)
        pipeline.run(resolve.run(wanted), copy)
    assert (copy / "results.json").exists()
    pipeline.run(resolve.run(wanted), copy)
    assert 'id="gallery"' in report.read_text(encoding="utf-8")


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uniform", "class_uniform_tiles"])
def test_other_samplers_run_too(config, tmp_path, name):
    config.stages = "teacher,evaluate"
    config.teacher.sampler.name = name
    assert pipeline.run(resolve.run(config), tmp_path)["teacher"]["steps"] == 4


def test_class_without_a_pixel_is_named_and_the_run_goes_on(config, tmp_path, caplog):
    config.stages = "teacher"
    config.teacher.sampler.min_area_px = 200  # the signs are 12 x 12
    assert pipeline.run(resolve.run(config), tmp_path) is None
    assert "no centroid of sign. Other crops take their share." in caplog.text
    assert (tmp_path / "teacher" / "DONE").exists()
    assert jax.process_count() == 1
