"""The filled JobSet is what the API takes: structure, names and what GKE looks for on a TPU slice."""

import os
import pathlib
import subprocess

import jsonschema
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
ARGUMENTS = [
    "--config=configs/camvid.py:fraction=1_8",
    "--workdir=gs://my-bucket/runs/it's & mine",
    "--config.data.dir=@IMAGE",
]


def mapping(required, **properties):
    """An object with these fields and no others."""
    return {"type": "object", "properties": properties, "required": required.split(), "additionalProperties": False}


def listing(items, **more):
    return {"type": "array", "items": items, "minItems": 1, **more}


COUNT = {"type": "integer", "minimum": 1}
TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "object", "additionalProperties": TEXT}
DNS_LABEL = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
# The fields of jobset.x-k8s.io/v1alpha2, batch/v1 Job and v1 Pod that we use; anything else is a misspelling.
CONTAINER = mapping(
    "name image resources",
    name=DNS_LABEL,
    image=TEXT,
    command=listing(TEXT),
    args=listing(TEXT),
    env=listing(mapping("name value", name=TEXT, value=TEXT)),
    resources=mapping("limits", limits=mapping("google.com/tpu", **{"google.com/tpu": COUNT})),
    volumeMounts=listing(mapping("name mountPath", name=DNS_LABEL, mountPath={"type": "string", "pattern": "^/"})),
)
VOLUME = mapping(
    "name csi", name=DNS_LABEL, csi=mapping("driver volumeAttributes", driver=TEXT, volumeAttributes=TEXTS)
)
POD = mapping(
    "restartPolicy nodeSelector containers",
    restartPolicy={"const": "Never"},  # podFailurePolicy asks for it
    serviceAccountName=TEXT,
    nodeSelector=TEXTS,
    terminationGracePeriodSeconds=COUNT,
    containers=listing(CONTAINER),
    volumes=listing(VOLUME),
)
POD_FAILURE_RULE = mapping(
    "action onPodConditions",
    action={"enum": ["FailJob", "Ignore", "Count", "FailIndex"]},
    onPodConditions=listing(mapping("type status", type=TEXT, status={"enum": ["True", "False", "Unknown"]})),
)
JOB = mapping(
    "parallelism completions completionMode backoffLimit template",
    parallelism=COUNT,
    completions=COUNT,
    completionMode={"const": "Indexed"},
    backoffLimit={"const": 0},
    podFailurePolicy=mapping("rules", rules=listing(POD_FAILURE_RULE)),
    template=mapping("spec", metadata=mapping("annotations", annotations=TEXTS), spec=POD),
)
REASONS = ("BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes", "MaxFailedIndexesExceeded", "PodFailurePolicy")
FAILURE_RULE = mapping(
    "name action",
    name={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
    action={"enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]},
    onJobFailureReasons=listing({"enum": list(REASONS)}),
)
JOBSET = mapping(
    "apiVersion kind metadata spec",
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=mapping("name", name=DNS_LABEL, annotations=TEXTS),
    spec=mapping(
        "failurePolicy replicatedJobs",
        failurePolicy=mapping("maxRestarts rules", maxRestarts=COUNT, rules=listing(FAILURE_RULE)),
        replicatedJobs=listing(
            mapping("name replicas template", name=DNS_LABEL, replicas=COUNT, template=mapping("spec", spec=JOB))
        ),
    ),
)


def filled(**settings):
    environment = {**os.environ, "IMAGE": "registry/csst_jax:1", **settings}
    command = ["bash", str(ROOT / "launch" / "gke.sh"), "--dry_run", *ARGUMENTS]
    return yaml.safe_load(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def pod(jobset):
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    return job, job["template"]["spec"], job["template"]["spec"]["containers"][0]


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(JOBSET)


@pytest.mark.parametrize("settings", [{}, {"SPOT": "0", "NAME": "mine", "TOPOLOGY": "2x4", "HOSTS": "2"}])
def test_the_filled_jobset_has_the_structure_of_the_api(settings):
    jsonschema.validate(filled(**settings), JOBSET)


def test_a_misspelled_field_is_seen():
    jobset = filled()
    jobset["spec"]["failurePolicy"]["maxRestart"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxRestart"):
        jsonschema.validate(jobset, JOBSET)


def test_each_host_of_the_slice_runs_the_command_with_its_chips():
    job, spec, container = pod(filled())
    assert job["parallelism"] == job["completions"] == 4
    assert container["command"] == ["launch/local.sh"] and container["args"] == ARGUMENTS
    assert (ROOT / "launch" / "local.sh").is_file()
    assert container["env"] == [{"name": "CSST_COORDINATOR", "value": "auto"}]
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
    assert spec["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
        "cloud.google.com/gke-spot": "true",
    }


def test_preemption_restarts_without_counting():
    jobset = filled()
    (rule,) = jobset["spec"]["failurePolicy"]["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("RestartJobSetAndIgnoreMaxRestarts", ["PodFailurePolicy"])
    (pod_rule,) = pod(jobset)[0]["podFailurePolicy"]["rules"]
    assert pod_rule["action"] == "FailJob" and pod_rule["onPodConditions"][0]["type"] == "DisruptionTarget"


def test_other_slices_and_no_spot():
    job, spec, _ = pod(filled(SPOT="0", TOPOLOGY="2x4", HOSTS="2", ACCELERATOR="tpu-v6e-slice"))
    assert job["completions"] == 2
    assert spec["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
        "cloud.google.com/gke-tpu-topology": "2x4",
    }
