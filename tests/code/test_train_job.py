"""The TrainJob that a step applies: valid for Trainer, with what Kueue and the scheduler ask for, and an address for all that it says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.finetune.train_job import COMMAND, manifest
from mynah.core.errors import InputError
from mynah.core.machine import price_per_hour
from mynah.training.node_request import NodeRequest, requested_nodes
from pipelines.compile import compiled
from pipelines.placement import Placement
from scripts.manifests.objects import Manifests
from scripts.manifests.schemas import fits_its_schema
from tests.code.test_compiled import containers, documents, placed

JOB = "s3://b/runs/0123456789abcdef/run/mynah-nodes-1/job.json#sha256=" + "0" * 64
CPUS = NodeRequest(2, "mynah-train:1", "cpu", ("2", "8"), ("8Gi", "16Gi"))
GPUS = NodeRequest(4, "mynah-train:1", "gpu-spot", ("2", "8"), ("8Gi", "16Gi"), 8, "mynah.dev/pool=gpu", "team-a")
QUEUE = "kueue.x-k8s.io/queue-name"


def faults(job):
    return [str(fault) for fault in fits_its_schema(Manifests("job", (job,)))]


@pytest.mark.parametrize("request_", [CPUS, GPUS], ids=["cpu", "gpu"])
def test_it_fits_the_schema_and_says_nothing_but_an_address(request_):
    job = manifest(request_, "mynah-0123456789ab", "kubeflow", JOB)
    assert faults(job) == []
    assert job["spec"]["trainer"]["command"] == list(COMMAND)
    assert job["spec"]["trainer"]["args"] == [JOB]
    assert faults(job | {"spec": job["spec"] | {"suspended": True}})  # the check can fail


def test_gpus_have_their_pool_and_their_queue_and_processors_have_none():
    on_gpus, on_cpus = (manifest(each, "mynah-1", "kubeflow", JOB) for each in (GPUS, CPUS))
    [patch] = on_gpus["spec"]["runtimePatches"]
    [job] = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert job["template"]["spec"]["template"]["spec"]["nodeSelector"] == {"mynah.dev/pool": "gpu"}
    assert on_gpus["metadata"]["labels"][QUEUE] == "team-a"
    assert on_gpus["spec"]["trainer"]["resourcesPerNode"]["requests"]["nvidia.com/gpu"] == "8"
    assert on_gpus["spec"]["trainer"]["numProcPerNode"] == 8
    assert "runtimePatches" not in on_cpus["spec"]
    assert QUEUE not in on_cpus["metadata"]["labels"]
    assert on_cpus["spec"]["trainer"]["numProcPerNode"] == 1


@given(st.integers(2, 64), st.integers(0, 16), st.sampled_from(["", "team-a"]))
def test_a_request_arrives_as_it_was_made(nodes, gpus, queue):
    asked = NodeRequest(nodes, "i:1", "gpu" if gpus else "cpu", ("1", "2"), ("1Gi", "2Gi"), gpus, "a=b" if gpus else "", queue)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MYNAH_TRAIN_NODES", asked.to_json())
        assert requested_nodes() == asked
    assert faults(manifest(asked, "mynah-1", "kubeflow", JOB)) == []


@pytest.mark.parametrize("text", ["2", "{", "[]", '{"nodes": 2}', '{"image": 1'])
def test_a_request_of_another_version_is_told(monkeypatch, text):
    monkeypatch.setenv("MYNAH_TRAIN_NODES", text)
    with pytest.raises(InputError, match="MYNAH_TRAIN_NODES"):
        requested_nodes()


def test_several_nodes_cost_what_they_cost_together():
    assert price_per_hour("3 x gpu") == pytest.approx(3 * price_per_hour("gpu"))
    with pytest.raises(InputError, match="'tpu' has no price"):
        price_per_hour("3 x tpu")


@pytest.mark.slow
def test_the_step_waits_without_a_gpu_and_its_nodes_have_what_it_had():
    pipeline, platform = documents(compiled(Placement(nodes=3, gpus=2, queue="team-a", gpu_kind="gpu-spot")))
    step, about = containers(pipeline)["finetune"], placed(platform)["finetune"]
    environment = {each["name"]: each["value"] for each in step["env"]}
    asked = json.loads(environment["MYNAH_TRAIN_NODES"])
    assert (asked["nodes"], asked["gpus"], asked["kind"], asked["queue"]) == (3, 2, "gpu-spot", "team-a")
    assert environment["MYNAH_NODE_KIND"] == "3 x gpu-spot"
    assert "accelerator" not in step["resources"]
    assert "nodeSelector" not in about
    assert QUEUE not in about["podMetadata"]["labels"]  # the TrainJob has it


@pytest.mark.slow
def test_a_queue_is_on_the_pods_that_train_alone():
    pipeline, platform = documents(compiled(Placement(queue="team-a"), "sweep"))
    labelled = {name for name, each in placed(platform).items() if each["podMetadata"]["labels"].get(QUEUE) == "team-a"}
    assert labelled == {"finetune", "trial"}
    assert all("MYNAH_TRAIN_NODES" not in [each["name"] for each in step["env"]] for step in containers(pipeline).values())
