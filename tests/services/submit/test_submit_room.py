"""What a run requests by what it trains, and nodes that can never hold that: told before anything is sent."""

import pytest

from pipelines.placement import TAINTS
from tests.services.kubeflow_commands import SUBMIT, put_node, refused

NO_GPU = (*SUBMIT, "--no-wait", "--context", "fake", "--no-gpu")


def put_pod(kubernetes, name, cpu, memory="100Mi", phase="Running"):
    container = {"name": "x", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    spec = {"nodeName": "laptop", "containers": [container], "initContainers": [{"name": "first"}]}
    kubernetes.put("pods", "kubeflow", name, metadata={"labels": {}}, spec=spec, status={"phase": phase})


def resources(kubeflow, step):
    [run] = kubeflow.runs.values()
    return run["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"][f"exec-{step}"]["container"]["resources"]


def test_a_run_requests_what_its_base_model_and_batch_need(mynah, kubeflow):
    assert mynah(*SUBMIT, "--no-wait", "--no-gpu", "--base-model", "fledgling").returncode == 0
    small = resources(kubeflow, "finetune")
    assert (small["resourceCpuRequest"], small["resourceMemoryRequest"], small["resourceMemoryLimit"]) == (
        "500m",
        "1280Mi",
        "2560Mi",
    )
    kubeflow.runs.clear()
    assert mynah(*SUBMIT, "--no-wait", "--no-gpu", "--set", "lora_rank=16", "--set", "micro_batch_tokens=256").returncode == 0
    assert resources(kubeflow, "finetune")["resourceMemoryRequest"] == "2304Mi"
    kubeflow.runs.clear()
    assert mynah(*SUBMIT, "--no-wait", "--no-gpu", "--base-model", "somebody/of-any-size").returncode == 0
    assert resources(kubeflow, "finetune")["resourceMemoryRequest"] == "8Gi"  # what only the step learns


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"cpu": "800m"}, "the largest node, laptop, has 0.8 cores and 16.0 GiB for pods"),
        ({"memory": "4000000Ki"}, "the largest node, laptop, has 4 cores and 3.8 GiB for pods"),
        ({"spec": {"unschedulable": True}}, "no node takes its pod"),
        (
            {"spec": {"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}},
            "no node takes its pod",
        ),
    ],
)
def test_a_step_that_no_node_could_ever_hold_is_told_before_anything_is_sent(mynah, kubeflow, kubernetes, node, said):
    put_node(kubernetes, **node)
    done = mynah(*NO_GPU)
    refused(
        done,
        2,
        "no node can hold the step finetune, which requests 1 core and 5.9 GiB",
        said,
        "--set lora_rank=16",
        "kubectl get nodes",
    )
    assert not kubeflow.runs


def test_an_autoscaler_may_add_a_node_that_holds_it(mynah, kubeflow, kubernetes):
    put_node(kubernetes, memory="2Gi")
    kubernetes.kinds.add("nodepools.karpenter.sh")
    done = mynah(*NO_GPU)
    assert done.returncode == 0, done.stderr
    assert "has 4 cores and 2.0 GiB for pods, and Karpenter may add a larger one" in done.stderr


def test_a_step_that_waits_for_others_to_end_is_told_and_sent(mynah, kubeflow, kubernetes):
    put_node(kubernetes, spec={"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]})  # which passes
    put_pod(kubernetes, "large", "3500m")
    put_pod(kubernetes, "over", "4", phase="Succeeded")
    done = mynah(*NO_GPU)
    assert done.returncode == 0, done.stderr
    assert (
        "no node has room now: the step finetune requests 1 core and 5.9 GiB, and laptop has 0.5 cores and 15.9 GiB left"
        in done.stderr
    )
    kubernetes.objects.pop(("pods", "kubeflow", "large"))
    assert "no node has room" not in mynah(*NO_GPU).stderr


def test_nodes_that_cannot_be_listed_refuse_nothing(mynah, kubeflow, kubernetes):
    put_node(kubernetes, cpu="100m")
    kubernetes.forbidden.add(("list", "nodes"))
    assert mynah(*NO_GPU).returncode == 0
    kubernetes.forbidden = {("list", "pods")}
    put_node(kubernetes)
    assert mynah(*NO_GPU).returncode == 0


def test_a_gpu_step_is_held_by_a_node_of_its_pool_whose_taints_it_tolerates(mynah, kubeflow, kubernetes):
    about = {"metadata": {"labels": {"mynah.dev/pool": "gpu"}}, "spec": {"taints": [{"key": TAINTS[0], "effect": "NoSchedule"}]}}
    put_node(kubernetes)
    kubernetes.put("nodes", "", "gpu", status={"allocatable": {"cpu": "8", "memory": "4Gi", "nvidia.com/gpu": "1"}}, **about)
    refused(
        mynah(*SUBMIT, "--no-wait", "--context", "fake"),
        2,
        "no node can hold the step finetune, which requests 2 cores and 8.0 GiB",
    )
    kubernetes.put("nodes", "", "gpu", status={"allocatable": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"}}, **about)
    assert mynah(*SUBMIT, "--no-wait", "--context", "fake").returncode == 0
