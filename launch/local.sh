#!/usr/bin/env bash
# One machine, all its devices:
#   launch/local.sh --config=configs/camvid.py --workdir=runs/camvid
# Starts again if the run was stopped, and not after an error. SIGTERM and Ctrl-C are handed on, so that it saves; the status is then 143.
# The other launchers start this one on each of their machines, with CSST_COORDINATOR=auto.
set -euo pipefail
source "$(dirname "$0")/start.sh"
source launch/flags.sh
need_workdir
if [ -n "$dry_run" ]; then
  run "$python" -m csst_jax.main "${arguments[@]}"
  exit
fi
stopped='' pid=''
trap 'stopped=1; [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null || true' TERM INT
while [ -z "$stopped" ]; do
  pid=''
  "$python" -m csst_jax.main "${arguments[@]}" &
  pid=$!
  # A signal may have come before the process had a number.
  [ -z "$stopped" ] || kill -TERM "$pid" 2>/dev/null || true
  # A signal ends the first wait before the process ends; the second one waits on, or tells the same status again.
  status=0
  wait "$pid" || wait "$pid" || status=$?
  # 143: stopped, by a signal of its own or one that was handed on.
  [ "$status" -eq 143 ] || exit "$status"
done
exit 143
