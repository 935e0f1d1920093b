"""k8s/components/argo changes two objects of Kubeflow Pipelines, and leaves the rest of them as it is."""

import shutil

import yaml

from components.deploy.argo_settings import controller_settings
from scripts.manifests.render import ROOT, build
from tests.conftest import needs

KUBEFLOWS = "spec:\n  templateDefaults: {retryStrategy: {retryPolicy: OnError}}\n"
CONFIG_MAP = {
    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "workflow-controller-configmap", "namespace": "kubeflow"},
    "data": {"executor": "imagePullPolicy: IfNotPresent\n", "workflowDefaults": KUBEFLOWS},
}  # fmt: skip
CONTROLLER = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "workflow-controller", "namespace": "kubeflow"},
    "spec": {
        "selector": {"matchLabels": {"app": "workflow-controller"}},
        "template": {
            "metadata": {"labels": {"app": "workflow-controller"}},
            "spec": {"containers": [{"name": "workflow-controller", "image": "argo", "env": [{"name": "LEADER_ELECTION_IDENTITY", "value": "x"}]}]},
        },
    },
}  # fmt: skip


def test_it_removes_the_default_and_adds_the_environment(tmp_path):
    needs(shutil.which("kubectl") is not None, "kubectl is not installed")
    shutil.copytree(ROOT / "k8s/components/argo", tmp_path / "argo")
    (tmp_path / "kubeflow").mkdir()
    (tmp_path / "kubeflow/objects.yaml").write_text(yaml.safe_dump_all([CONFIG_MAP, CONTROLLER]))
    wrapper = {"resources": ["objects.yaml"], "components": ["../argo"]}
    (tmp_path / "kubeflow/kustomization.yaml").write_text(yaml.safe_dump(wrapper))
    config_map, controller = sorted(yaml.safe_load_all(build(tmp_path / "kubeflow")), key=lambda each: each["kind"])
    settings = controller_settings(config_map["data"])
    assert settings["executor"] == {"imagePullPolicy": "IfNotPresent"}
    assert settings["workflowDefaults"] == {"spec": {"ttlStrategy": dict.fromkeys(TTL, 3600)}}
    environment = {each["name"]: each["value"] for each in controller["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert environment == {
        "LEADER_ELECTION_IDENTITY": "x",
        "ARGO_POD_STATUS_CAPTURE_FINALIZER": "true",
        "DEFAULT_REQUEUE_TIME": "1s",
    }


TTL = ("secondsAfterCompletion", "secondsAfterSuccess", "secondsAfterFailure")
