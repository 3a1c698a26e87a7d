#!/usr/bin/env bash
# Several processes on this machine (gloo on CPU), as a rehearsal for several machines:
#   launch/processes.sh 2 --config=configs/demo.py --workdir=runs/demo-2
# On several machines run the last line on each, with CSST_COORDINATOR=host-of-the-first:port and its own CSST_PROCESS_ID.
# TPU pod slices need none of this: run `python -m csst_jax.main …` on every worker.
set -euo pipefail
cd "$(dirname "$0")/.."
processes=$1
shift
export CSST_COORDINATOR=${CSST_COORDINATOR:-127.0.0.1:47017} CSST_PROCESSES=$processes
pids=()
for ((i = 0; i < processes; i++)); do
  CSST_PROCESS_ID=$i "${PYTHON:-.venv/bin/python}" -m csst_jax.main "$@" &
  pids+=($!)
done
trap 'kill -TERM "${pids[@]}" 2>/dev/null' TERM INT
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
exit "$status"
