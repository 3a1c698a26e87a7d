"""Stand-ins for what launchers start: programs with plans, and what was started how."""

import os
import pathlib
import signal
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A stand-in does what the next line of its plan says, and notes how it was started.
STAND_IN = """#!/usr/bin/env bash
name=$(basename "$0")
echo "$name [${CSST_PROCESS_ID:-}${CSST_COORDINATOR:+ $CSST_COORDINATOR}] $*" >> "$NOTES"
plan="$PLANS/$name${CSST_PROCESS_ID:-}"
[ -s "$plan" ] || exit 0
line=$(head -n 1 "$plan")
sed -i 1d "$plan"
eval "$line"
"""
FINISH = 'touch "$WORKDIR/results.json"'
STOPPED = "exit $CSST_STOPPED_STATUS"
UNTIL_SIGTERM = f"trap '{STOPPED}' TERM; echo ready; while true; do sleep 0.02; done"


class Machine:
    """Programs with plans on PATH, and what was started."""

    def __init__(self, directory):
        self.workdir, self.notes, self.plans = directory / "work", directory / "notes", directory / "plans"
        self.programs = directory / "bin"
        for path in (self.workdir, self.plans, self.programs):
            path.mkdir()
        self.environment = {
            **os.environ,
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PYTHON": "trainer",
            "NOTES": str(self.notes),
            "PLANS": str(self.plans),
            "WORKDIR": str(self.workdir),
        }

    def plan(self, name, *lines, process=""):
        program = self.programs / name
        program.write_text(STAND_IN)
        program.chmod(0o755)
        (self.plans / f"{name}{process}").write_text("".join(f"{line}\n" for line in lines))

    def start(self, *words, **environment):
        return subprocess.Popen(
            ["bash", str(ROOT / "launch" / words[0]), *words[1:]],
            env={**self.environment, **environment},
            # Tests that run in a shell's background ignore it, and so would bash.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words, **environment):
        process = self.start(*words, **environment)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def remote(self, number=-1):
        """The command that gcloud was to run on the workers."""
        (line,) = [line for line in self.started("gcloud") if "--command=" in line][number:][:1]
        return line.partition("--command=")[2]

    def started(self, name):
        """How the program was started, each time."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]


def flags(machine):
    """What every run is given."""
    return ["--config=c.py", f"--workdir={machine.workdir}"]
