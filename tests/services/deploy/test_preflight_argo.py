"""`mynah preflight` reads the settings of Argo's controller as the controller does."""

import json

import pytest
import yaml

from scripts.manifests.render import ROOT
from tests.services.deploy.test_preflight import whole  # noqa: F401 - a fixture

KUBEFLOWS = "spec:\n  templateDefaults:\n    retryStrategy: {limit: 2, retryPolicy: OnError}\n"


def component(name):
    return yaml.safe_load((ROOT / "k8s/components/argo" / name).read_text())


def findings(mynah, *arguments):
    done = mynah("preflight", "--context", "fake", "--json", *arguments)
    return done.returncode, {each["about"].partition(" (")[0]: each for each in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("defaults", "said"),
    [
        (KUBEFLOWS, "retry policy OnError"),
        ("{spec: {templateDefaults: {retryStrategy: {retryPolicy: OnTransientError}}}}", "retry policy OnTransientError"),
        ("spec: {ttlStrategy: {secondsAfterCompletion: 3600}}", "cannot read them, and ends at its next start"),
        ("spec: [", "cannot read them"),
        ("{spec: 3}", "cannot read them"),
    ],
)
def test_settings_that_stop_retries_are_named(whole, mynah, defaults, said):  # noqa: F811
    whole.put("configmaps", "kubeflow", "workflow-controller-configmap", data={"workflowDefaults": defaults})
    code, found = findings(mynah)
    assert code == 3
    assert said in found["Argo's settings"]["problem"] and "k8s/kubeflow" in found["Argo's settings"]["fix"]


@pytest.mark.parametrize(
    "defaults",
    [
        component("controller-settings.yaml")["data"]["workflowDefaults"],
        "{spec: {ttlStrategy: {secondsAfterCompletion: 3600}}}",
        "spec: {ttlStrategy: {secondsAfterCompletion: 3600}}\n",
        "{spec: {templateDefaults: {retryStrategy: {retryPolicy: Always}}}}",
    ],
)
def test_settings_that_let_failures_be_retried(whole, mynah, defaults):  # noqa: F811
    whole.put("configmaps", "kubeflow", "workflow-controller-configmap", data={"workflowDefaults": defaults, "parallelism": "10"})
    code, found = findings(mynah)
    assert code == 0 and not found["Argo's settings"]["problem"]


def test_the_whole_configuration_under_one_key(whole, mynah):  # noqa: F811
    config = yaml.safe_dump({"workflowDefaults": yaml.safe_load(KUBEFLOWS)})
    whole.put("configmaps", "kubeflow", "workflow-controller-configmap", data={"config": config})
    assert "OnError" in findings(mynah)[1]["Argo's settings"]["problem"]


def test_a_controller_that_does_not_see_evictions(whole, mynah):  # noqa: F811
    containers = [{"name": "workflow-controller", "env": [{"name": "LEADER_ELECTION_IDENTITY", "valueFrom": {}}]}]
    whole.put("deployments.apps", "kubeflow", "workflow-controller", spec={"template": {"spec": {"containers": containers}}})
    code, found = findings(mynah)
    assert code == 3 and "ARGO_POD_STATUS_CAPTURE_FINALIZER" in found["Argo's controller"]["problem"]


def test_another_namespace_without_argo(whole, mynah):  # noqa: F811
    code, found = findings(mynah, "--kubeflow-namespace", "pipelines")
    assert code == 3 and "is Kubeflow Pipelines in pipelines?" in found["Argo's settings"]["problem"]


def test_settings_that_may_not_be_read_are_no_problem(whole, mynah):  # noqa: F811
    whole.forbidden.add(("get", "configmaps"))
    code, found = findings(mynah)
    assert code == 0 and any("Argo's settings" in about and "cannot be read" in about for about in found)
