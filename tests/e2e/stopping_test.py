"""Ctrl-C and SIGTERM while images are predicted, or what predicts them is compiled: commands leave at once."""

import signal
import sys
import time

import pytest

from tests.conftest import TINY_CLASSES
from tests.prediction import toy_file
from tests.small_runs import finish, start, toy_command

pytestmark = pytest.mark.slow

# A call of C's that does not come to an end, in place of one that takes long: no handler of Python's can run in it.
_STUCK = f"""{toy_file.WITH_TOY}
import hashlib, jax
from csst_jax.evaluation import whole_image

left = int(sys.argv.pop())

def stuck(*_):
    print("stuck", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)

class Program:
    compile = stuck

class Jax:  # as this module has it, and not the others
    __getattr__ = staticmethod(lambda name: getattr(jax, name))

    def device_get(self, x):
        global left
        left -= 1
        return jax.device_get(x) if left >= 0 else stuck()

if left < 0:
    whole_image.PredictProgram.lower = lambda self: Program()
else:
    whole_image.jax = Jax()
"""


def stopped(arguments, number, status):
    """What a command printed that was told to stop where it is stuck."""
    process = start(arguments)
    try:
        for line in iter(process.stdout.readline, ""):
            if line == "stuck\n":
                break
        else:
            raise AssertionError("it ended before")
        time.sleep(0.3)
        process.send_signal(number)
        begin = time.monotonic()
        output = finish(process, status, timeout=60)
        assert time.monotonic() - begin < 10 and "Traceback" not in output
        return output.splitlines()
    finally:
        process.kill()


BOTH = pytest.mark.parametrize("number,name", [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
COMPILING, PREDICTING = -1, 1
ESSENTIAL = pytest.mark.essential("labelling that is told to stop while it compiles")
WHERE = pytest.mark.parametrize("after", [COMPILING, PREDICTING], ids=["compiling", "predicting"])


@pytest.mark.parametrize(
    "number,name,after",
    [
        pytest.param(signal.SIGINT, "Ctrl-C", COMPILING, marks=ESSENTIAL),
        (signal.SIGINT, "Ctrl-C", PREDICTING),
        (signal.SIGTERM, "SIGTERM", PREDICTING),
    ],
)
def test_labelling_keeps_whole_shards_and_goes_on(tiny_data, tmp_path, number, name, after):
    command = toy_command(tiny_data, tmp_path, "--config.stages=teacher,label", "--config.teacher.epochs=1")
    status = 130 if number == signal.SIGINT else 0
    stuck = [command[0], "-c", _STUCK + command[2], *command[3:], str(after)]
    (line,) = stopped(stuck, number, status)
    kept = max(after, 0)
    assert line == f"pseudo_labels: {name}; {kept} of 4 shards are kept. Run the same command again to continue."
    assert len(list((tmp_path / "pseudo_labels" / "parts").glob("*.json"))) == kept
    finish(start(command))
    assert (tmp_path / "pseudo_labels" / "DONE").exists()


@WHERE
@BOTH
@pytest.mark.parametrize("module", ["predict", "evaluate"])
def test_a_command_ends_with_a_line(tiny_data, tmp_path, module, number, name, after, monkeypatch):
    from csst_jax.models import zoo
    from tests.data_prep.breaking import file, photo

    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    weights = toy_file.write(tmp_path / "x.safetensors", TINY_CLASSES)
    (tmp_path / "photos").mkdir()
    for i in range(3):
        (tmp_path / "photos" / f"{i}.png").write_bytes(file(photo(i)))
    flags = {
        "predict": [f"--input={tmp_path / 'photos'}", "--compilation_cache_dir="],
        "evaluate": [
            "--config=configs/base.py", f"--config.data.dir={tiny_data}", "--config.compilation_cache_dir=",
            "--config.evaluate.batch_size=1",
        ],
    }[module]  # fmt: skip
    run = f"runpy.run_module('csst_jax.{module}', run_name='__main__', alter_sys=True)"
    arguments = [*flags, f"--checkpoint={weights}", f"--output={tmp_path / 'out'}", str(after)]
    lines = stopped([sys.executable, "-c", _STUCK + run, *arguments], number, 128 + number)
    assert lines[-1].startswith(f"Stopped by {name}; ")
    left = [p for p in tmp_path.rglob("*") if p.name.endswith(".tmp")]
    assert not left
    if module == "predict" and after == PREDICTING:
        assert (tmp_path / "out" / "mask" / "0.png").is_file()
