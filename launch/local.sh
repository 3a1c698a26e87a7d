#!/usr/bin/env bash
# One machine, all its devices:
#   launch/local.sh --config=configs/camvid.py --workdir=runs/camvid
# Starts again if the run was stopped, and not after an error. SIGTERM and Ctrl-C are handed on, so that it saves; the status is then 143.
# The other launchers start this one on each of their machines, with CSST_COORDINATOR=auto. launch/stop.sh stops it there.
set -euo pipefail
source "$(dirname "$0")/start.sh"
source launch/flags.sh
need_workdir
if [ -n "$dry_run" ]; then
  run "$python" -m csst_jax.main "${arguments[@]}"
  exit
fi
place=/dev/null
if [ -n "${CSST_COORDINATOR:-}" ]; then
  # A process that is started twice joins the coordinator of the first start, and ends that run. Python inherits the lock.
  place=$(place)
  exec 9>> "$place"
  if ! command -v flock > /dev/null; then
    echo "warning: there is no flock on this machine: nothing prevents that this process is started twice" >&2
  elif ! flock -n 9; then
    fail "this process of the run is running on this machine already (CSST_COORDINATOR=$CSST_COORDINATOR," \
      "CSST_PROCESS_ID=${CSST_PROCESS_ID:-}). Stop it first: launch/stop.sh, with the same variables."
  fi
  echo "$$ $$" > "$place"
fi
stopped='' pid=''
trap 'stopped=1; [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null || true' TERM INT
while [ -z "$stopped" ]; do
  pid=''
  "$python" -m csst_jax.main "${arguments[@]}" &
  pid=$!
  echo "$$ $pid" > "$place"
  # A signal may have come before the process had a number.
  [ -z "$stopped" ] || kill -TERM "$pid" 2>/dev/null || true
  # A signal ends the first wait before the process ends; the second one waits on, or tells the same status again.
  status=0
  wait "$pid" || wait "$pid" || status=$?
  # 143: stopped, by a signal of its own or one that was handed on.
  [ "$status" -eq 143 ] || exit "$status"
  if [ -n "${CSST_COORDINATOR:-}" ] && [ -z "$stopped" ]; then
    # The first process ends last. Who joins it while it still closes its files ends it, and is ended.
    echo "the run was stopped, and starts again in 15 s" >&2
    sleep 15 9>&- &
    pid=$!
    wait "$pid" || true
  fi
done
exit 143
