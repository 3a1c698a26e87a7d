"""Starting: what is wrong with a command line is told before anything slow is imported."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SLOW = {"jax", "tensorflow", "tensorflow_datasets", "orbax"}
PROGRAM = """
import runpy, sys
sys.argv = ["main", *{arguments!r}]
try:
    runpy.run_module("csst_jax.main", run_name="__main__")
except SystemExit as end:
    print("status", end.code)
print("slow", *sorted({slow!r} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "arguments,status",
    [
        (["--help"], 0),
        (["--config=none.py"], 2),
        (["--config=configs/demo.py", "--workdir=w", "--config.sede=1"], 2),
        (["--config=configs/demo.py", "--workdir=w", "--config.student.epoch=1"], 2),
    ],
)
def test_help_and_mistakes_import_nothing_slow(arguments, status):
    program = PROGRAM.format(arguments=arguments, slow=SLOW)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == [f"status {status}", "slow"], done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_package_imports_nothing_slow():
    program = f"import csst_jax, sys; print(*sorted({SLOW} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True).stdout == "\n"
