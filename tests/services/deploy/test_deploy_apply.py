"""Bots on KServe, applied with the real client of Kubernetes: what is waited for, what others set, and the manifest."""

import json
import subprocess
import sys

import pytest
import yaml
from fake_kserve import FakeKServe
from fake_kubernetes import SERVICES

from components.deploy.manifest import KNATIVE, STANDARD, inference_service
from components.deploy.server_side_apply import apply
from components.deploy.settings import DeploySettings
from components.deploy.step import deploy
from mynah.core.errors import PlatformError
from tests.services.deploy.deployments import QUICK, go, serving, uri


def applies(kubernetes):
    """The InferenceServices that were applied."""
    return [path for path in kubernetes.asked("patch") if "dryRun" not in path and "/inferenceservices/" in path]


# The way that goes well


def test_a_version_is_applied_waited_for_and_asked(kubernetes, kserve, cluster):
    done = go(cluster, 1)
    assert (done.action, done.version, done.former) == ("deployed", 1, 0)
    assert done.answer == "My dream is is to fly."
    assert done.url == "http://wren.mynah.example.com"
    assert uri(kserve) == "s3://b/mlflow/1/models/m-1/artifacts/model/"  # with its last slash
    assert ("wren-predictor", "/v2/models/wren/infer", "") in kserve.asked
    applied = applies(kubernetes)
    assert len(applied) == 1 and "fieldManager=mynah" in applied[0] and "force=false" in applied[0]


def test_what_serves_already_is_left_alone(kubernetes, kserve, cluster):
    go(cluster, 1)
    before, kserve.asked = json.dumps(kubernetes.objects[SERVICES, "mynah", "wren"]["spec"]), []
    assert go(cluster, 1).action == "unchanged"
    assert json.dumps(kubernetes.objects[SERVICES, "mynah", "wren"]["spec"]) == before
    assert kserve.asked == [] and len(applies(kubernetes)) == 1


def test_the_next_version_takes_its_place(kserve, cluster):
    go(cluster, 1)
    done = go(cluster, 2)
    assert (done.action, done.former) == ("deployed", 1)
    assert uri(kserve) == "s3://b/mlflow/1/models/m-2/artifacts/model/"


def test_a_rolling_update_is_not_taken_for_ready(kserve, cluster):
    """Ready stays true while the pods of the version before serve: it is asked when the new one's alone do, and not before."""
    go(cluster, 1)
    kserve.looks, kserve.overlap, kserve.asked = 12, 20, []
    assert go(cluster, 2).answer
    assert len(kserve.asked) == 1


def test_an_evicted_pod_of_the_version_before_is_not_waited_for(kubernetes, kserve, cluster):
    go(cluster, 1)
    labels = {"serving.kserve.io/inferenceservice": "wren", "app": "evicted"}
    evicted = {"phase": "Failed", "reason": "Evicted", "conditions": []}

    def react():  # the controller of ReplicaSets lets them lie
        kubernetes.put("pods", "mynah", "wren-predictor-old", metadata={"labels": labels, "annotations": {}}, status=evicted)

    kubernetes.reactions.append(react)
    assert go(cluster, 2).action == "deployed"


def test_a_dry_run_lets_the_cluster_check_and_changes_nothing(kubernetes, kserve, cluster):
    go(cluster, 1)
    version = kubernetes.objects[SERVICES, "mynah", "wren"]["metadata"]["resourceVersion"]
    done = deploy(serving(2), cluster, DeploySettings(wait_limits=QUICK), dry_run=True)
    from components.deploy.diff_text import difference

    assert done.action == "would deploy"
    assert "-      storageUri: s3://b/mlflow/1/models/m-1/artifacts/model/" in difference(done)
    assert "+      storageUri: s3://b/mlflow/1/models/m-2/artifacts/model/" in difference(done)
    assert kubernetes.objects[SERVICES, "mynah", "wren"]["metadata"]["resourceVersion"] == version


def test_on_knative_the_pods_before_may_linger(kubernetes, cluster):
    kserve = FakeKServe(kubernetes, "Knative")
    go(cluster, 1)
    assert go(cluster, 2).action == "deployed"
    assert [service for service, *_ in kserve.asked] == ["wren-predictor-00001", "wren-predictor-00002"]
    assert "priorityClassName" not in kserve.predictor()


# What others have a say in


def test_what_others_set_stays(kubernetes, kserve, cluster):
    go(cluster, 1)
    kubernetes.edit(SERVICES, "mynah", "wren", "kubectl-edit", lambda each: each["spec"]["predictor"].update(minReplicas=3))
    go(cluster, 2)
    assert kserve.predictor()["minReplicas"] == 3


def scale_up(each):
    each["spec"]["predictor"]["model"]["resources"]["limits"] = {"cpu": "8", "memory": "16Gi"}


def test_a_conflict_names_the_field_and_its_manager(kubernetes, kserve, cluster):
    go(cluster, 1)
    kubernetes.edit(SERVICES, "mynah", "wren", "kubectl-edit", scale_up)
    with pytest.raises(PlatformError) as raised:
        go(cluster, 2)
    assert ".spec.predictor.model.resources.limits.cpu (of kubectl-edit)" in str(raised.value)
    assert "--force-conflicts" in str(raised.value)
    assert uri(kserve).endswith("m-1/artifacts/model/")
    assert go(cluster, 2, force_conflicts=True).action == "deployed"
    assert kserve.predictor()["model"]["resources"]["limits"]["cpu"] == "2"


def test_what_is_applied_no_more_goes(kubernetes, kserve, cluster):
    deploy(serving(1, forced="they asked for it"), cluster, DeploySettings(wait_limits=QUICK))
    assert kubernetes.objects[SERVICES, "mynah", "wren"]["metadata"]["annotations"]["mynah.dev/forced"] == "they asked for it"
    go(cluster, 2)
    assert "mynah.dev/forced" not in kubernetes.objects[SERVICES, "mynah", "wren"]["metadata"]["annotations"]


# The manifest


@pytest.mark.parametrize("mode", [STANDARD, KNATIVE])
@pytest.mark.parametrize("percent", [None, 10])
def test_the_manifest_is_one_that_kserve_takes(shared, tmp_path, mode, percent):
    manifest = inference_service(serving(2, forced="why"), "mynah", mode, "v2", percent)
    if mode == STANDARD:
        from components.deploy.manifest import with_canary

        manifest = with_canary(inference_service(serving(1), "mynah", mode), serving(2), "v2", percent or 50)
    (tmp_path / "isvc.yaml").write_text(yaml.safe_dump(manifest))
    command = [sys.executable, shared / "tools" / "check-manifests", tmp_path / "isvc.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "0 faults" in done.stdout, done.stdout + done.stderr


def test_more_weights_more_memory():
    from components.deploy.manifest import resources

    small, large = resources(8 << 20), resources(550 << 20)
    assert small == {"requests": {"cpu": "250m", "memory": "896Mi"}, "limits": {"cpu": "2", "memory": "1152Mi"}}
    assert large == {"requests": {"cpu": "500m", "memory": "1920Mi"}, "limits": {"cpu": "4", "memory": "2176Mi"}}


def test_a_deployed_bot_is_found_by_who_forgets(kserve, cluster):
    go(cluster, 1)
    (found,) = cluster.endpoints()
    assert (found.bot, found.name) == ("wren", "wren")
    assert found.refers_to("s3://b/mlflow/1/models/m-1/artifacts") and not found.refers_to(
        "s3://b/mlflow/1/models/m-10/artifacts"
    )


def test_apply_says_who_manages_what(kubernetes, kserve, cluster):
    apply(cluster, inference_service(serving(1), "mynah", STANDARD))
    (managed,) = kubernetes.objects[SERVICES, "mynah", "wren"]["metadata"]["managedFields"]
    assert (managed["manager"], managed["operation"]) == ("mynah", "Apply")
    assert "f:storageUri" in managed["fieldsV1"]["f:spec"]["f:predictor"]["f:model"]
