"""Every addition of docs/extending.md, made as the page says in a copy of the repository, and run there."""

import ast
import dataclasses
import difflib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy
from PIL import Image

from tests import conftest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "extending.md"
MADE = {ROOT / name for name in ("data", "runs", "weights", "site")}  # by the commands of README.md and docs
KINDS = ("A network", "A sampler", "A method", "A loss", "A data set")

# After a command's own settings: a few steps on a tiny data set. The network is the page's, which compiles in seconds.
SMALL = {
    "network": "plain",
    "pretrained": "",
    "width": 0.125,
    "epochs": 2,
    "samples_per_epoch": 8,
    "crop_px": 32,
    "batch_size": 4,
    "schedule.kind": "constant",
    "augment.blur": 0.0,
}

# What knows of networks, methods, samplers, losses, data sets, settings and commands, as far as it is fast.
TESTS = (
    "tests/command_line_test.py",
    "tests/configs_test.py",
    "tests/data_prep/inspect_sampling_test.py",
    "tests/layering_test.py",
    "tests/models/weights/catalogue_test.py",
    "tests/models/zoo_test.py",
    "tests/readme_test.py",
)

PYTEST = ("-m", "pytest", "--verbose", "-p", "no:cacheprovider")


@dataclasses.dataclass(frozen=True)
class Addition:
    """What a section of the page says: files by path, lines as (where, path, line), commands as lists of words."""

    files: dict[str, str]
    lines: list[tuple[str, str, str]]
    commands: list[list[str]]

    def make(self, root):
        """Writes it into a copy of the repository."""
        for path, text in self.files.items():
            (root / path).write_text(text, encoding="utf-8")
        for where, path, line in self.lines:
            (root / path).write_text(with_line((root / path).read_text(encoding="utf-8"), where, line))


def addition(title):
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^([^\n]*):\n\n```python\n(.*?)^```$", section, re.M | re.S)
    named = {head: re.fullmatch(r"(?:One line in `(\w+)` of )?`(\S+)`", head) for head, _ in blocks}
    return Addition(
        files={named[head][2]: code for head, code in blocks if not named[head][1]},
        lines=[(*named[head].groups(), code) for head, code in blocks if named[head][1]],
        commands=[
            shlex.split(line, comments=True)
            for block in re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)
            for line in block.replace("\\\n", " ").splitlines()
        ],
    )


def with_line(text, where, line):
    """A module with a line at the end of one of its dicts, or before the `return` of one of its functions."""
    (number,) = (
        node.body[-1].lineno if isinstance(node, ast.FunctionDef) else node.end_lineno
        for node in ast.parse(text).body
        if where in (getattr(node, "name", None), *map(ast.unparse, getattr(node, "targets", [node])))
        or (isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == where)
    )
    lines = text.splitlines(keepends=True)
    return "".join((*lines[: number - 1], line, *lines[number - 1 :]))


def content(root):
    """The lines of every text file that an addition might touch."""
    suffixes = (".py", ".md", ".toml", ".jsonl")
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8").splitlines()
        for path in root.rglob("*")
        if path.suffix in suffixes
    }


def left_out(directory, names):
    """Caches, and what the commands make."""
    at = pathlib.Path(directory)
    return {name for name in names if name.startswith((".", "__pycache__")) or at / name in MADE}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The repository with all additions, and what each of them changed: new files, and lines in other files."""
    root = tmp_path_factory.mktemp("copy") / "csst_jax"
    shutil.copytree(ROOT, root, ignore=left_out)
    changes = {}
    for title in KINDS:
        before = content(root)
        addition(title).make(root)
        after = content(root)
        changed = [
            line
            for path in before
            for line in difflib.unified_diff(before[path], after[path], n=0, lineterm="")
            if re.match(r"[+-](?![+-])", line)
        ]
        changes[title] = (after.keys() - before.keys(), changed)
    return root, changes


@pytest.mark.parametrize("title", KINDS)
def test_an_addition_is_one_file_and_at_most_two_lines(copy, title):
    files, lines = copy[1][title]
    assert files == addition(title).files.keys() and len(files) == 1
    assert len(lines) == len(addition(title).lines) <= 2
    assert addition(title).commands, "a command shows that it works"


def in_copy(copy, *command):
    """What a command prints that runs in the copy."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=copy[0],
        env={**os.environ, "PYTHONPATH": str(copy[0])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def run(copy, tiny_data, title, *more):
    """Runs the commands of a section, those of `csst_jax.main` for a few steps; returns the last stage's directory."""
    stage = None
    for python, *words in addition(title).commands:
        assert python == "python"
        if "csst_jax.main" in words:
            (workdir,) = (word.partition("=")[2] for word in words if word.startswith("--workdir="))
            stage = copy[0] / workdir / "teacher"
            small = [f"--config.teacher.{key}={value}" for key, value in SMALL.items()]
            if not any(word.startswith("--config.data.dir=") for word in words):
                small.append(f"--config.data.dir={tiny_data}")
            words += [*small, "--config.compilation_cache_dir=", "--config.log_every_steps=1", *more]
        in_copy(copy, *words)
    return stage


def logged(stage):
    """Names of the metrics that a stage logged."""
    lines = (stage / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {name for line in lines for name in json.loads(line)}


def test_the_code_passes_the_linter(copy):
    touched = {path for title in KINDS for path in (*addition(title).files, *(p for _, p, _ in addition(title).lines))}
    in_copy(copy, "-m", "ruff", "check", *touched)
    in_copy(copy, "-m", "ruff", "format", "--check", *touched)


@pytest.mark.slow
def test_network(copy, tiny_data):
    stage = run(copy, tiny_data, "A network")
    assert "stem.conv.kernel" in (stage / "parameters.txt").read_text(encoding="utf-8")
    assert (stage / "model.safetensors").is_file()
    assert "| plain | – |" in (copy[0] / "docs" / "zoo.md").read_text(encoding="utf-8"), "--record shows it"


@pytest.mark.slow
@pytest.mark.parametrize(
    "title", [pytest.param("A sampler", marks=pytest.mark.essential("an addition of docs/extending.md")), "A loss"]
)
def test_sampler_and_loss(copy, tiny_data, title):
    stage = run(copy, tiny_data, title)
    section, name = {"A sampler": ("sampler", "balanced"), "A loss": ("loss", "focal")}[title]
    asked = json.loads((stage / "stage.json").read_text(encoding="utf-8"))["request"]["settings"]
    assert asked[section]["name"] == name
    assert (stage / "model.safetensors").is_file()


@pytest.mark.slow
def test_method(copy, tiny_data):
    every_step = ("--config.checkpoint.every_s=0", "--config.checkpoint.keep=9")
    how = (*every_step, "--config.teacher.method.follow.wait_steps=1")
    stage = run(copy, tiny_data, "A method", *how)
    assert {"loss", "loss_main", "loss_follow", "distance"} <= logged(stage)
    finished = json.loads((stage / "DONE").read_text(encoding="utf-8"))
    predicting = safetensors.numpy.load_file(stage / "model.safetensors")
    with ocp.StandardCheckpointer() as checkpointer:
        saved = checkpointer.restore(stage / "checkpoints" / "4" / "default")
    assert saved["method"]["steps"] == 4
    slow = saved["method"]["slow"]["params"] | saved["method"]["slow"]["batch_stats"]
    assert predicting.keys() == slow.keys()
    for name, array in predicting.items():
        np.testing.assert_array_equal(array, slow[name])
    assert any(np.any(predicting[name] != array) for name, array in saved["params"].items())

    for name in ("DONE", "model.safetensors"):  # as if it had been killed after two steps
        (stage / name).unlink()
    for step in ("3", "4"):
        shutil.rmtree(stage / "checkpoints" / step)
    run(copy, tiny_data, "A method", *how)
    assert "resuming at step 2 of 4" in (stage.parent / "log.txt").read_text(encoding="utf-8")
    again = json.loads((stage / "DONE").read_text(encoding="utf-8"))
    assert again["weights_sha256"] == finished["weights_sha256"]


@pytest.mark.slow
def test_data_set(copy, tiny_data):
    for split, first_seed in (("train", 0), ("val", 100)):
        directory = copy[0] / "orchard" / split
        directory.mkdir(parents=True)
        for example in conftest.tiny_examples(first_seed, 4, labelled=3):
            (directory / f"{example.id}.png").write_bytes(example.image_bytes)
            if example.labelled:
                Image.fromarray(np.asarray(example.label)).save(directory / f"{example.id}_mask.png")
    stage = run(copy, tiny_data, "A data set")
    assert (stage / "model.safetensors").is_file()


@pytest.mark.slow
def test_the_tests_of_the_repository_pass_with_all_additions(copy):
    said = in_copy(copy, *PYTEST, "-m", "not slow", *TESTS)
    assert "[plain]" in said and "test_imports_go_one_way[csst_jax.methods.follow]" in said


@pytest.mark.slow
def test_every_networks_tests_take_the_new_one(copy):
    said = in_copy(copy, *PYTEST, "-k", "plain", "tests/models/every_network_test.py")
    assert "overfits_one_batch_and_goes_on_from_a_checkpoint[plain]" in said and "gathers_nothing[plain]" in said
