# shellcheck shell=bash
# Sourced by the launchers. Goes to the repository and takes the command line apart: `--dry_run` is the launchers' own and
# prints what they would run; the rest is csst_jax.main's. Sets: python, dry_run, workdir, arguments.
# shellcheck disable=SC2034  # each launcher uses some of them
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
python=${PYTHON:-.venv/bin/python}
dry_run='' workdir='' arguments=()
for argument in "$@"; do
  case "$argument" in
    --dry_run) dry_run=1 && continue ;;
    --workdir=*) workdir=${argument#--workdir=} ;;
  esac
  arguments+=("$argument")
done

fail() {
  echo "error: $*" >&2
  exit 2
}

# What a launcher cannot guess.
need_workdir() { [ -n "$workdir" ] || fail "give --workdir=DIR"; }
need_bucket() { [[ "$workdir" == gs://* ]] || fail "give --workdir=gs://BUCKET/… (docs/pods.md): hosts share no disk"; }

# A file of this machine that names one process of a run, for launch/local.sh and launch/stop.sh: who runs it holds its lock.
place() {
  local key
  key=$(printf '%s\n' "$CSST_COORDINATOR" "${SLURM_JOB_ID:-}" "${OMPI_MCA_orte_hnp_uri:-}" \
    "${CSST_PROCESS_ID:-}" "${SLURM_PROCID:-}" "${OMPI_COMM_WORLD_RANK:-}" | cksum)
  echo "/tmp/csst_jax-$UID-${key// /-}"
}

# After SIGTERM csst_jax.main would end with 0, as a finished run does (docs/adr/0005). Launchers have to tell them apart.
export CSST_STOPPED_STATUS=143

# With --dry_run: the command that launch/local.sh ends in, on each machine, as a comment.
show_main() { [ -z "$dry_run" ] || { echo -n '# on each machine: ' && launch/local.sh --dry_run "${arguments[@]}"; }; }

# Runs a command, or prints it as it would be typed.
run() {
  if [ -n "$dry_run" ]; then
    printf '%q ' "$@" && echo
  else
    "$@"
  fi
}
