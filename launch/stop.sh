#!/usr/bin/env bash
# Stops what launch/local.sh runs on this machine, and returns when it has saved. Give it the same CSST_COORDINATOR and
# CSST_PROCESS_ID, as far as they were set:
#   CSST_COORDINATOR=auto launch/stop.sh
set -euo pipefail
source "$(dirname "$0")/start.sh"
[ -n "${CSST_COORDINATOR:-}" ] || fail "set CSST_COORDINATOR as launch/local.sh had it; without it, Ctrl-C stops a run"
place=$(place)
if [ ! -e "$place" ] || flock -n "$place" true; then
  echo "nothing to stop on $HOSTNAME"
  exit
fi
read -r launcher process < "$place"
echo "stopping the run on $HOSTNAME"
# Where the launcher was killed, Python is left.
kill -TERM "$launcher" 2> /dev/null || kill -TERM "$process"
flock "$place" true
echo "stopped on $HOSTNAME"
