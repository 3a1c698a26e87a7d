#!/usr/bin/env bash
# Runs on a worker of a TPU slice, in the repository; launch/tpu_vm.sh install starts it.
set -euo pipefail
# The images of TPU VMs come with an older Python; uv brings its own.
python3 -m pip install --quiet --user uv
~/.local/bin/uv venv --quiet --allow-existing --python=3.12 .venv
~/.local/bin/uv pip install --quiet --python=.venv -r requirements.txt -r requirements-tpu.txt -r requirements-gcs.txt
# JAX asks for them on v5e and later: the runtime starts and stops faster.
sudo sh -c 'echo always > /sys/kernel/mm/transparent_hugepage/enabled'
