#!/usr/bin/env bash
#SBATCH --job-name=csst
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120
# Nodes with GPUs under Slurm: one process a node, which uses all its GPUs. Submit from the repository, on a shared file system:
#   sbatch launch/slurm.sh --config=configs/camvid.py --workdir=runs/camvid
# Flags of sbatch before the script's name take the place of those above (--nodes=1 --gpus-per-node=4 …).
# Two minutes before the time limit the run saves, and the job queues itself again; Slurm queues a preempted one (--requeue).
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}" # sbatch runs a copy of this file, from elsewhere
source launch/start.sh
need_workdir
export CSST_COORDINATOR=auto
# Under Slurm JAX takes one GPU a process unless it is told otherwise.
JAX_LOCAL_DEVICE_IDS=$(seq -s, 0 $((${SLURM_GPUS_ON_NODE:-8} - 1)))
export JAX_LOCAL_DEVICE_IDS
status=0
run srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-32}" launch/local.sh "${arguments[@]}" || status=$?
show_main
# 143: stopped by SIGTERM (launch/local.sh).
if [ "$status" -eq 143 ]; then exec scontrol requeue "$SLURM_JOB_ID"; fi
exit "$status"
