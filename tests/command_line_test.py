"""Starting: what is wrong with a command line is told before anything slow is imported."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SLOW = {"jax", "flax", "optax", "orbax", "clu", "tensorflow", "tensorflow_datasets", "scipy"}
PROGRAM = """
import runpy, sys
sys.argv = ["main", *{arguments!r}]
try:
    runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
except SystemExit as end:
    print("status", end.code)
print("slow", *sorted({slow!r} & set(sys.modules)))
"""


COMMANDS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for package in ("csst_jax", "data_prep")
    for path in (ROOT / package).rglob("*.py")
    if '\nif __name__ == "__main__":' in path.read_text(encoding="utf-8")
)


def start(module, arguments):
    program = PROGRAM.format(module=module, arguments=arguments, slow=SLOW)
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)


def test_there_are_commands():
    assert {"csst_jax.main", "csst_jax.models", "data_prep.check"} <= set(COMMANDS)


@pytest.mark.parametrize("module", COMMANDS)
def test_help_imports_nothing_slow(module):
    done = start(module, ["--help"])
    assert done.stdout.splitlines()[-2:] == ["status 0", "slow"], done.stdout + done.stderr
    assert module.removeprefix("csst_jax.").removeprefix("data_prep.") in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config=none.py"],
        ["--config=configs/demo.py", "--workdir=w", "--config.sede=1"],
        ["--config=configs/demo.py", "--workdir=w", "--config.student.epoch=1"],
    ],
)
def test_mistakes_are_told_before_anything_slow_is_imported(arguments):
    done = start("csst_jax.main", arguments)
    assert done.stdout.splitlines()[-2:] == ["status 2", "slow"], done.stderr
    assert "Traceback" not in done.stderr


def test_a_workdir_on_unknown_object_storage_is_refused_before_anything_slow_is_imported():
    done = start("csst_jax.main", ["--config=configs/demo.py", "--workdir=s3://bucket/run"])
    assert done.stdout.splitlines()[-2:] == ["status 2", "slow"], done.stderr
    assert done.stderr.startswith("error: --workdir=s3://bucket/run: of object storage, gs:// alone can be written")


def test_importing_the_package_imports_nothing_slow():
    program = f"import csst_jax, sys; print(*sorted({SLOW} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True).stdout == "\n"
