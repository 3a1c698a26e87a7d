#!/usr/bin/env bash
# One TPU slice of a GKE cluster, by JobSet. From the repository, with kubectl set to the cluster:
#   export IMAGE=REGION-docker.pkg.dev/PROJECT/REPOSITORY/csst_jax:TAG    # of launch/Dockerfile
#   launch/gke.sh --config=configs/camvid.py --config.data.dir=gs://my-bucket/camvid --workdir=gs://my-bucket/runs/camvid
#   kubectl logs --follow --selector=jobset.sigs.k8s.io/jobset-name=csst,batch.kubernetes.io/job-completion-index=0
#   kubectl delete jobset csst
# With --dry_run it prints the filled launch/gke_jobset.yaml. With --xpk as its first flag, and CLUSTER, the same goes through
# xpk, which writes a JobSet of its own.
set -euo pipefail
xpk=''
[ "${1:-}" != --xpk ] || { xpk=1 && shift; }
source "$(dirname "$0")/start.sh"
need_workdir
name=${NAME:-csst}
need_bucket
[ -n "${IMAGE:-}" ] || fail "set IMAGE to the image of launch/Dockerfile, in a registry that the cluster reads"
if [ -n "$xpk" ]; then
  [ -n "${CLUSTER:-}" ] || fail "set CLUSTER to the name of the cluster"
  printf -v command ' %q' "${arguments[@]}"
  run xpk workload create --cluster="$CLUSTER" --workload="$name" --tpu-type="${ACCELERATOR_TYPE:-v5litepod-16}" \
    --docker-image="$IMAGE" --max-restarts=50 \
    --command="cd /csst_jax && CSST_COORDINATOR=auto launch/local.sh$command"
  show_main
  exit
fi
quoted=''
for argument in "${arguments[@]}"; do quoted+="'${argument//\'/\'\'}', "; done
jobset=$(< launch/gke_jobset.yaml)
[ "${SPOT:-1}" != 0 ] || jobset=$(grep -v gke-spot <<< "$jobset")
fill() { jobset=${jobset//"@$1@"/"$2"}; }
fill NAME "$name"
fill IMAGE "$IMAGE"
fill SERVICE_ACCOUNT "${SERVICE_ACCOUNT:-default}"
fill ACCELERATOR "${ACCELERATOR:-tpu-v5-lite-podslice}"
fill TOPOLOGY "${TOPOLOGY:-4x4}"
fill HOSTS "${HOSTS:-4}"
fill CHIPS "${CHIPS:-4}"
fill ARGUMENTS "${quoted%, }"
if [ -n "$dry_run" ]; then
  echo "$jobset"
  show_main
else
  kubectl apply --filename=- <<< "$jobset"
fi
