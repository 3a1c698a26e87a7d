#!/usr/bin/env bash
# Several processes on this machine (gloo on CPU), as a rehearsal for several machines. JAX_PLATFORMS chooses other devices.
#   launch/local_multiprocess.sh 2 --config=configs/demo.py --workdir=runs/demo-2
# On machines that JAX finds no cluster on, start launch/local.sh on each with these variables: the first one's address, the
# number of processes, and each one's own id.
set -euo pipefail
[[ "${1:-}" =~ ^[1-9][0-9]*$ ]] || { echo "error: give the number of processes first" >&2; exit 2; }
processes=$1
shift
source "$(dirname "$0")/start.sh"
need_workdir
export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu} # each process would take all GPUs for itself
export CSST_COORDINATOR=${CSST_COORDINATOR:-127.0.0.1:47017} CSST_PROCESSES=$processes
pids=()
trap 'kill -TERM "${pids[@]}" 2>/dev/null || true' TERM INT
for ((id = 0; id < processes; id++)); do
  if [ -n "$dry_run" ]; then
    echo -n "CSST_COORDINATOR=$CSST_COORDINATOR CSST_PROCESSES=$processes CSST_PROCESS_ID=$id "
    launch/local.sh --dry_run "${arguments[@]}"
  else
    CSST_PROCESS_ID=$id launch/local.sh "${arguments[@]}" &
    pids+=($!)
  fi
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || wait "$pid" || status=$?; done
exit "$status"
