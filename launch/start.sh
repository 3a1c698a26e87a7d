# shellcheck shell=bash
# Sourced by the launchers. Goes to the repository and takes the command line apart: `--dry_run` is the launchers' own and
# prints what they would run; the rest is csst_jax.main's. Sets: python, dry_run, workdir, arguments.
# shellcheck disable=SC2034  # each launcher uses some of them
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
python=${PYTHON:-.venv/bin/python}
dry_run='' workdir='' evaluates=1 arguments=()
for argument in "$@"; do
  case "$argument" in
    --dry_run) dry_run=1 && continue ;;
    --workdir=*) workdir=${argument#--workdir=} ;;
    --config.stages=*) [[ "$argument" == *evaluate* ]] || evaluates='' ;;
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

# A run is over when results.json is there (docs/adr/0005); one that was not asked to evaluate, when it says so by its status.
finished() {
  [ -n "$evaluates" ] || return 0
  case "$workdir" in
    gs://*) "$python" -c 'import sys; from csst_jax.runtime.storage import as_path; sys.exit(not as_path(sys.argv[1]).exists())' "$workdir/results.json" ;;
    *) [ -f "$workdir/results.json" ] ;;
  esac
}

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
