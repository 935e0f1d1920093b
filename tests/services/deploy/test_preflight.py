"""`mynah preflight`: what a cluster lacks is named, with what brings it."""

import json

import pytest
import yaml
from fake_kubernetes import SERVICES

from components.deploy.serving_runtime import RUNTIME
from scripts.manifests.render import ROOT
from tests.services.deploy.deployments import refused


@pytest.fixture
def whole(kubernetes, kserve):
    """A cluster that has all."""
    kubernetes.kinds |= {"scheduledworkflows.kubeflow.org", "workflows.argoproj.io"}
    kubernetes.put("servingruntimes.serving.kserve.io", "mynah", RUNTIME)
    kubernetes.put("serviceaccounts", "mynah", "mynah-serve")
    kubernetes.put("secrets", "mynah", "mynah-s3", data={"AWS_ACCESS_KEY_ID": "eA==", "AWS_SECRET_ACCESS_KEY": "eA=="})
    kubernetes.put("secrets", "mynah", "mynah-keys", data={"keys.json": "e30="})
    put_node(kubernetes, "gpu-1", {"nvidia.com/gpu": "2"})
    put_argo(kubernetes)
    return kubernetes


def put_argo(kubernetes):
    """Argo's controller with the settings of k8s/components/argo."""
    settings, environment = (
        yaml.safe_load((ROOT / f"k8s/components/argo/controller-{name}.yaml").read_text()) for name in ("settings", "environment")
    )
    kubernetes.put("configmaps", "kubeflow", settings["metadata"]["name"], data=settings["data"])
    kubernetes.put("deployments.apps", "kubeflow", environment["metadata"]["name"], spec=environment["spec"])


def put_node(kubernetes, name, allocatable):
    kubernetes.put("nodes", "", name, metadata={"labels": {"mynah.dev/pool": "gpu"}}, status={"allocatable": allocatable})


def test_a_cluster_that_has_all(whole, mynah):
    done = mynah("preflight", "--context", "fake")
    assert done.returncode == 0, done.stdout + done.stderr
    for text in ("Kubernetes v1.34.1", "GPU node pool (mynah.dev/pool=gpu): 1 nodes with 2 GPUs", "KServe", "Secret mynah-s3"):
        assert text in " ".join(done.stdout.split())


def drop(key):
    return lambda kubernetes: kubernetes.objects.pop(key)


@pytest.mark.parametrize(
    ("breakage", "about", "said"),
    [
        (lambda it: it.kinds.discard(SERVICES), "KServe", "kubectl get crd inferenceservices.serving.kserve.io"),
        (lambda it: it.kinds.discard("scheduledworkflows.kubeflow.org"), "Kubeflow Pipelines", "k8s/README.md"),
        (drop(("nodes", "", "gpu-1")), "GPU node pool", "kubectl get nodes -l mynah.dev/pool=gpu"),
        (lambda it: put_node(it, "gpu-1", {"cpu": "8"}), "GPU node pool", "device plugin"),
        (drop(("servingruntimes.serving.kserve.io", "mynah", RUNTIME)), f"ServingRuntime mynah/{RUNTIME}", "kubectl get servingruntimes -n mynah"),
        (drop(("serviceaccounts", "mynah", "mynah-serve")), "ServiceAccount mynah-serve", "kubectl get serviceaccounts"),
        (drop(("secrets", "mynah", "mynah-keys")), "Secret mynah-keys", "kubectl describe secret mynah-keys -n mynah"),
        (lambda it: it.objects["secrets", "mynah", "mynah-s3"]["data"].pop("AWS_SECRET_ACCESS_KEY"), "Secret mynah-s3", "kubectl describe"),
        (lambda it: it.forbidden.add(("create", "services/proxy")), "your rights in namespace mynah", "kubectl auth can-i --list -n mynah"),
    ],
)  # fmt: skip
def test_each_thing_that_is_missing_is_named(whole, mynah, breakage, about, said):
    breakage(whole)
    done = mynah("preflight", "--context", "fake", "--json")
    assert done.returncode == 3
    (ill,) = [each for each in json.loads(done.stdout) if not each["is_well"]]
    assert ill["about"].startswith(about) and said in ill["fix"] and "\n" not in ill["problem"] + ill["fix"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: it.put("configmaps", "kube-system", "cluster-autoscaler-status"), "the cluster autoscaler may add one"),
        (lambda it: it.kinds.add("nodepools.karpenter.sh"), "Karpenter may add one"),
        (lambda it: it.forbidden.add(("list", "nodes")), "nodes cannot be listed"),
    ],
)
def test_a_pool_without_nodes_is_well_where_something_makes_them(whole, mynah, change, said):
    whole.objects.pop(("nodes", "", "gpu-1"))
    change(whole)
    done = mynah("preflight", "--context", "fake", "--json")
    assert done.returncode == 0 and said in done.stdout


def test_an_identity_of_the_cloud_needs_no_key(whole, mynah):
    whole.objects.pop(("secrets", "mynah", "mynah-s3"))
    whole.put(
        "serviceaccounts",
        "mynah",
        "mynah-serve",
        metadata={"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"}},
    )
    assert mynah("preflight", "--context", "fake").returncode == 0


def test_a_cluster_that_is_away_or_lets_nobody_in(whole, mynah, monkeypatch):
    whole.token = "another"
    refused(mynah("preflight", "--context", "fake"), 3, "(401)", "log in again")
    refused(mynah("preflight"), 2, "no cluster is named")
    whole.stop()
    refused(mynah("preflight", "--context", "fake"), 3, "cannot be reached")
