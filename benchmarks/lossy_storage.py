"""What JPEG storage does to a network's scores: the same networks on validation images stored without loss and as JPEG.

python -m data_prep.synthetic --data_dir=data
python -m data_prep.synthetic --data_dir=data/jpeg --storage=jpeg95
python -m benchmarks.lossy_storage --config=configs/demo.py --data_dirs=data,data/jpeg \
    --checkpoints=runs/demo/teacher,runs/demo/student --json

Networks that were trained on images without loss meet JPEG's errors for the first time here. What training on them does
is not measured: it drowns in what another seed does.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lossy_storage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", default="configs/demo.py")
    parser.add_argument("--data_dirs", required=True, help="two data sets of the same images: lossless,JPEG")
    parser.add_argument("--checkpoints", required=True, help="finished stages or files of weights, with commas")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON in the last line")
    options = parser.parse_args(arguments)
    exact, lossy = (scores(options.config, where, options.checkpoints) for where in options.data_dirs.split(","))
    print("| network | mIoU without loss, % | JPEG, % | difference | largest difference of a class |")
    print("| --- | --: | --: | --: | --: |")
    found = {}
    for name, ours in exact.items():
        theirs = lossy[name]
        classes = {k: theirs["iou"][k] - v for k, v in ours["iou"].items() if None not in (v, theirs["iou"][k])}
        worst = max(classes, key=lambda k: abs(classes[k]))
        found[name] = round(100 * (theirs["miou"] - ours["miou"]), 3)
        print(
            f"| {name} | {100 * ours['miou']:.2f} | {100 * theirs['miou']:.2f} | {found[name]:+.2f} "
            f"| {100 * classes[worst]:+.2f} ({worst}) |"
        )
    if options.json:
        print(json.dumps({"miou_difference": found}))
    return 0


def scores(config: str, data_dir: str, checkpoints: str) -> dict[str, Any]:
    """What `csst_jax.evaluate` finds, by network."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "csst_jax.evaluate", f"--config={config}", f"--config.data.dir={data_dir}"]
        command += [f"--checkpoint={checkpoints}", f"--output={output}"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return json.loads((pathlib.Path(output) / "scores.json").read_text(encoding="utf-8"))["networks"]


if __name__ == "__main__":
    sys.exit(main())
