#!/usr/bin/env bash
# Runs on a worker of a TPU slice, in the repository; launch/tpu_vm.sh install starts it: launch/tpu_vm_setup.sh BUCKET
set -euo pipefail
bucket=$1
# The images of TPU VMs come with an older Python; uv brings its own.
python3 -m pip install --quiet --user uv
~/.local/bin/uv venv --quiet --allow-existing --python=3.12 .venv
~/.local/bin/uv pip install --quiet --python=.venv -r requirements.txt -r requirements-tpu.txt
# JAX asks for them on v5e and later: the runtime starts and stops faster.
sudo sh -c 'echo always > /sys/kernel/mm/transparent_hugepage/enabled'
if ! command -v gcsfuse > /dev/null; then
  keyring=/usr/share/keyrings/cloud.google.asc
  curl --silent --show-error --fail https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee "$keyring" > /dev/null
  echo "deb [signed-by=$keyring] https://packages.cloud.google.com/apt gcsfuse-$(lsb_release -cs) main" |
    sudo tee /etc/apt/sources.list.d/gcsfuse.list > /dev/null
  sudo apt-get -qq update
  sudo apt-get -qq install --yes gcsfuse
fi
mkdir -p bucket
# No metadata cache: a worker must see at once what another has written.
mountpoint -q bucket || gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 "$bucket" bucket
