#!/usr/bin/env bash
# A TPU slice of Compute Engine, one worker or many. From the repository, with gcloud set to your project and zone:
#   launch/tpu_vm.sh create     # asks for the slice as a queued resource and waits for it
#   launch/tpu_vm.sh install    # copies the committed code to all workers, and installs it
#   launch/tpu_vm.sh run --config=configs/camvid.py --config.data.dir=gs://my-bucket/camvid --workdir=gs://my-bucket/runs/camvid
#   launch/tpu_vm.sh stop       # after Ctrl-C or a lost connection: the workers go on until they are told
#   launch/tpu_vm.sh collect --workdir=gs://my-bucket/runs/camvid    # all but the checkpoints, to runs/camvid
#   launch/tpu_vm.sh delete
# `run` makes a preempted slice again, installs the commit that was checked out when it began, and goes on from the newest
# checkpoint. It holds a connection to each worker:
# start it in tmux, on a machine that stays awake. SPOT=0 asks for a slice that is not preempted, at another price.
set -euo pipefail
action=${1:-}
[ $# -eq 0 ] || shift
source "$(dirname "$0")/start.sh"
name=${TPU_NAME:-csst}
accelerator_type=${ACCELERATOR_TYPE:-v5litepod-16}
runtime_version=${RUNTIME_VERSION:-v2-alpha-tpuv5-lite}
commit=HEAD

state() { gcloud compute tpus queued-resources describe "$name" --format='value(state.state)'; }

on_all() { run gcloud compute tpus tpu-vm ssh "$name" --worker=all --command="$1"; }

create() {
  local spot=()
  [ "${SPOT:-1}" = 0 ] || spot=(--spot)
  run gcloud compute tpus queued-resources create "$name" --node-id="$name" --accelerator-type="$accelerator_type" \
    --runtime-version="$runtime_version" "${spot[@]}"
  [ -z "$dry_run" ] || return 0
  local now
  until now=$(state) && [ "$now" = ACTIVE ]; do
    [[ "$now" != FAILED && "$now" != SUSPENDED ]] || fail "queued resource $name is $now: look at" \
      "'gcloud compute tpus queued-resources describe $name', then delete it."
    echo "queued resource $name: $now"
    sleep 30
  done
}

# What is installed stays the same while a run lasts, whatever is checked out here meanwhile.
choose_commit() {
  [ -z "$dry_run" ] || return 0
  commit=$(git rev-parse HEAD)
  echo "commit $commit"
}

install() {
  run git archive --output=csst_jax.tar "$commit"
  run gcloud compute tpus tpu-vm scp csst_jax.tar "$name:" --worker=all
  on_all "mkdir -p csst_jax && tar -xf csst_jax.tar -C csst_jax && cd csst_jax && launch/tpu_vm_setup.sh"
  run rm csst_jax.tar
}

# Whether the slice is lost. Asks until it is known: a delete for want of a connection would end a run that trains.
lost() {
  local now errors
  errors=$(mktemp)
  while true; do
    if ! now=$(gcloud compute tpus tpu-vm describe "$name" --format='value(state)' 2> "$errors"); then
      now="not known: $(tail -n 1 "$errors")"
      ! grep -q NOT_FOUND "$errors" || now=NOT_FOUND
    fi
    case "$now" in
      READY | PREEMPTED | TERMINATED | STOPPED | NOT_FOUND) break ;;
    esac
    echo "the state of slice $name is $now; asking again in 30 s"
    sleep 30
  done
  rm -f "$errors"
  [ "$now" != READY ]
}

# Trains, on all workers at once. Returns when the run is finished, and when it fails on a slice that is still there.
train() {
  local command status
  printf -v command '%q ' launch/local.sh "${arguments[@]}"
  trap 'echo "the workers may go on: launch/tpu_vm.sh stop ends the run" >&2; exit 130' INT
  while true; do
    status=0
    on_all "cd csst_jax && CSST_COORDINATOR=auto $command" || status=$?
    [ "$status" -ne 0 ] || return 0
    sleep 60 # until a preemption shows
    if ! lost; then
      echo "slice $name is there. If the connection was lost, its workers may go on: launch/tpu_vm.sh stop ends the run" >&2
      return "$status"
    fi
    echo "slice $name was preempted: making it again"
    delete
    create
    install
  done
}

# On each worker: SIGTERM to launch/local.sh, and a wait until it has saved.
stop() { on_all "cd csst_jax && CSST_COORDINATOR=auto launch/stop.sh"; }

collect() {
  local here=${workdir#gs://*/}
  run mkdir -p "$here"
  run gcloud storage rsync --recursive --exclude='.*/checkpoints/.*' "$workdir" "$here"
}

delete() { run gcloud compute tpus queued-resources delete "$name" --force --quiet; }

case "$action" in
  create | stop | delete) "$action" ;;
  install)
    choose_commit
    install
    ;;
  run)
    need_workdir
    need_bucket
    choose_commit
    train
    show_main
    ;;
  collect)
    need_workdir
    need_bucket
    collect
    ;;
  *) fail "say create, install, run, stop, collect or delete first; the head of $0 shows how" ;;
esac
