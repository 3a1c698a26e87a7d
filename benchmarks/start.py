"""From launch to the first training step: with an empty compilation cache, and with what that start left there.

python -m benchmarks.start --config=configs/demo.py --data_dir=data --json

Each pair starts the same configuration twice, in new workdirs with one new cache, and stops it after its first step.
Python's own cache counts as well: without bytecode beside the packages (PYTHONDONTWRITEBYTECODE, or installed with
--no-compile), every start compiles TensorFlow's and JAX's sources again.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {"import csst_jax": ("-c", "import csst_jax"), "csst_jax.main --help": ("-m", "csst_jax.main", "--help")}
_STEP = re.compile(r"teacher \d+/\d+ ")  # the progress line


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.start", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/demo.py", help="configuration to start")
    parser.add_argument("--data_dir", default="", help="data set (default: the configuration's own)")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON in the last line")
    options = parser.parse_args(arguments)
    firsts: list[float] = []
    seconds: list[float] = []
    print("| pair | first start s | second start s | second / first |")
    print("| --: | --: | --: | --: |")
    for pair in range(options.pairs):
        with tempfile.TemporaryDirectory() as directory:
            folder = pathlib.Path(directory)
            for number, seen in enumerate((firsts, seconds)):
                seen.append(launched(options.config, options.data_dir, folder / f"run{number}", folder / "cache"))
        print(f"| {pair + 1} | {firsts[-1]:.1f} | {seconds[-1]:.1f} | {seconds[-1] / firsts[-1]:.2f} |", flush=True)
    ratios = [s / f for f, s in zip(firsts, seconds, strict=True)]
    median = statistics.median(ratios)
    print(f"\nSecond over first: median {median:.2f}, range {min(ratios):.2f} to {max(ratios):.2f}.")
    print("\n| command | median s | range |\n| --- | --: | --: |")
    commands = {name: [ended(command) for _ in range(options.pairs)] for name, command in _COMMANDS.items()}
    for name, times in commands.items():
        print(f"| python: {name} | {statistics.median(times):.2f} | {min(times):.2f} to {max(times):.2f} |")
    if options.json:
        print(
            json.dumps(
                {
                    "ratio": round(median, 3),
                    "first_s": round(statistics.median(firsts), 1),
                    "second_s": round(statistics.median(seconds), 1),
                    "commands_s": {name: round(statistics.median(times), 2) for name, times in commands.items()},
                }
            )
        )
    return 0


def ended(command: Sequence[str]) -> float:
    """Seconds that a Python command takes from launch to end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def launched(config: str, data_dir: str, workdir: pathlib.Path, cache: pathlib.Path) -> float:
    """Seconds from launch to the progress line of the first step; the run is stopped then.

    Raises:
      RuntimeError: it ended before; has what it printed.
    """
    command = [sys.executable, "-m", "csst_jax.main", f"--config={config}", f"--workdir={workdir}"]
    command += [f"--config.compilation_cache_dir={cache}", "--config.log_every_steps=1"]
    command += [f"--config.data.dir={data_dir}"] if data_dir else []
    began, printed = time.perf_counter(), []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(line)
            if _STEP.search(line):
                elapsed = time.perf_counter() - began
                process.send_signal(signal.SIGTERM)
                for _ in process.stdout:  # until it has saved and ended
                    pass
                return elapsed
    raise RuntimeError(f"{' '.join(command)} ended before its first step:\n{''.join(printed)}")


if __name__ == "__main__":
    sys.exit(main())
