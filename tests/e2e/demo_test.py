"""`make demo` at a reduced size: its two commands, with its configuration's own paths."""

import json
import os
import subprocess
import sys

import pytest

from tests.small_runs import ROOT

SMALLER = {"epochs": 1, "samples_per_epoch": 8, "crop_px": 64}


@pytest.mark.slow
def test_the_demos_scenes_train_a_teacher_and_a_student(tmp_path):
    def ran(module, *arguments):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    ran("data_prep.synthetic", "--data_dir=data", "--num_labelled=2", "--num_unlabelled=2", "--num_val=2")
    smaller = [f"--config.{stage}.{key}={value}" for stage in ("teacher", "student") for key, value in SMALLER.items()]
    cache = "--config.compilation_cache_dir="  # the tests' own is set in the environment
    ran("csst_jax.main", f"--config={ROOT}/configs/demo.py", "--workdir=runs/demo", cache, *smaller)
    results = json.loads((tmp_path / "runs" / "demo" / "results.json").read_text())
    assert results["data"] == {"name": "synthetic", "labelled": 2, "unlabelled": 2, "validation": 2}
    assert results["teacher"]["network"] == results["student"]["network"] == "light_fpn_efficientnet_lite0"
    assert results["pseudo_labels"]["images"] == 2 and (tmp_path / "runs" / "demo" / "report.html").stat().st_size
