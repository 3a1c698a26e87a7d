#!/usr/bin/env bash
# One machine, all its devices. Runs again until results.json is there, so that a preempted run goes on by itself.
#   launch/local.sh --config=configs/camvid.py --workdir=runs/camvid
set -euo pipefail
cd "$(dirname "$0")/.."
workdir=
for arg in "$@"; do case "$arg" in --workdir=*) workdir=${arg#--workdir=} ;; esac; done
[ -n "$workdir" ] || { echo "error: give --workdir=DIR" >&2; exit 2; }
while true; do
  "${PYTHON:-.venv/bin/python}" -m csst_jax.main "$@"
  [ ! -f "$workdir/results.json" ] || break
done
