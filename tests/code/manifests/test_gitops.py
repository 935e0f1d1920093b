"""k8s/gitops: the examples name what is there, and ignore what KServe's webhook writes, but no change of ours."""

import copy
import json
import shutil
import subprocess

import pytest
import yaml

from scripts.manifests.render import ROOT
from tests.conftest import needs

GITOPS = ROOT / "k8s/gitops"


def objects(name):
    return list(yaml.safe_load_all((GITOPS / name).read_text("utf-8")))


def without_ignored(service):
    """An InferenceService as Argo CD compares it: without what its ignore rules name."""
    needs(shutil.which("jq") is not None, "jq is not installed (Debian's package jq)")
    [application] = objects("argocd.yaml")
    [rule] = application["spec"]["ignoreDifferences"]
    assert (rule["group"], rule["kind"]) == ("serving.kserve.io", "InferenceService")
    program = " | ".join(f"del({path})" for path in rule["jqPathExpressions"])
    done = subprocess.run(["jq", program], input=json.dumps(service), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def as_kserve_writes_it(service):
    """What its webhook makes of one (seen with KServe 0.20.0)."""
    live = copy.deepcopy(service)
    live["metadata"].setdefault("annotations", {})["serving.kserve.io/modelFormat"] = "mynah"
    if "model" in live["spec"]["predictor"]:
        live["spec"]["predictor"]["model"].setdefault("name", "")
        live["spec"]["predictor"]["model"].setdefault("resources", {})
    return live


@pytest.mark.parametrize("name", ["aviary", "wren"])
def test_argo_cd_sees_no_difference_in_what_kserve_writes_and_each_of_ours(rendered, name):
    service = rendered["gpu"].find("InferenceService", name, "mynah")
    live = as_kserve_writes_it(service)
    assert live != service
    assert without_ignored(live) == without_ignored(service)
    changed = copy.deepcopy(live)
    predictor = changed["spec"]["predictor"]
    (predictor.get("model") or predictor["containers"][0])["resources"] = {"limits": {"memory": "3Gi"}}
    assert without_ignored(changed) != without_ignored(service)


def test_the_examples_name_what_is_there(rendered):
    [application] = objects("argocd.yaml")
    repository, kustomization = objects("flux.yaml")
    for path in (application["spec"]["source"]["path"], kustomization["spec"]["path"]):
        assert (ROOT / path / "kustomization.yaml").is_file()
    assert kustomization["spec"]["sourceRef"] == {"kind": repository["kind"], "name": repository["metadata"]["name"]}
    for check in kustomization["spec"]["healthChecks"]:
        found = rendered["gpu"].find(check["kind"], check["name"], check["namespace"])
        assert found is not None, check
        assert found["apiVersion"] == check["apiVersion"]
    kinds = {(each["apiVersion"], each["kind"]) for each in kustomization["spec"]["healthCheckExprs"]}
    assert kinds <= {(each["apiVersion"], each["kind"]) for each in rendered["gpu"].objects}
