"""Bots on KServe: applied, waited for, asked and put back, over real HTTP with the real client of Kubernetes."""

import _thread
import json
import subprocess
import sys

import pytest
import yaml
from fake_kserve import FakeKServe
from fake_kubernetes import SERVICES, FakeKubernetes, write_kubeconfig

from components.cluster import Cluster
from components.deploy import Patience, Serving, Wanted, deploy
from components.deploy.manifest import KNATIVE, STANDARD, inference_service
from components.deploy.server_side import apply
from components.errors import InputError, PlatformError

QUICK = Patience(timeout=5, poll=0.01, trouble=0.03, answer=0.05)


def serving(version, name="wren", **parts):
    return Serving(name, version, f"s3://b/mlflow/1/models/m-{version}/artifacts/model", 8 << 20, f"m-{version}", **parts)


@pytest.fixture
def kubernetes(tmp_path, monkeypatch):
    monkeypatch.delenv("MYNAH_API_KEY", raising=False)
    fake = FakeKubernetes()
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", fake.url)))
    yield fake
    fake.stop()


@pytest.fixture
def kserve(kubernetes):
    return FakeKServe(kubernetes)


@pytest.fixture
def cluster(kubernetes):
    return Cluster.connect("fake")


def go(cluster, version, **settings):
    return deploy(serving(version), cluster, Wanted(patience=QUICK, **settings))


def uri(kserve):
    return kserve.predictor()["model"]["storageUri"]


# The way that goes well


def test_a_version_is_applied_waited_for_and_asked(kubernetes, kserve, cluster):
    done = go(cluster, 1)
    assert (done.action, done.version, done.former) == ("deployed", 1, 0)
    assert done.said == "My dream is is to fly."
    assert done.url == "http://wren.mynah.example.com"
    assert uri(kserve) == "s3://b/mlflow/1/models/m-1/artifacts/model/"  # with its last slash
    assert ("wren-predictor", "/v2/models/wren/infer", "") in kserve.asked
    applied = [path for path in kubernetes.asked("patch") if "dryRun" not in path]
    assert len(applied) == 1 and "fieldManager=mynah" in applied[0] and "force=false" in applied[0]


def test_what_serves_already_is_left_alone(kubernetes, kserve, cluster):
    go(cluster, 1)
    before, kserve.asked = json.dumps(kubernetes.objects[SERVICES, "mynah", "wren"]["spec"]), []
    assert go(cluster, 1).action == "unchanged"
    assert json.dumps(kubernetes.objects[SERVICES, "mynah", "wren"]["spec"]) == before
    assert kserve.asked == [] and len([path for path in kubernetes.asked("patch") if "dryRun" not in path]) == 1


def test_the_next_version_takes_its_place(kserve, cluster):
    go(cluster, 1)
    done = go(cluster, 2)
    assert (done.action, done.former) == ("deployed", 1)
    assert uri(kserve) == "s3://b/mlflow/1/models/m-2/artifacts/model/"


def test_a_rolling_update_is_not_taken_for_ready(kserve, cluster):
    """Ready stays true while the pods of the version before serve: it is asked when the new one's alone do, and not before."""
    go(cluster, 1)
    kserve.looks, kserve.overlap, kserve.asked = 12, 20, []
    assert go(cluster, 2).said
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
    done = deploy(serving(2), cluster, Wanted(patience=QUICK), dry_run=True)
    from components.deploy.show import difference

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
    deploy(serving(1, forced="they asked for it"), cluster, Wanted(patience=QUICK))
    assert kubernetes.objects[SERVICES, "mynah", "wren"]["metadata"]["annotations"]["mynah.dev/forced"] == "they asked for it"
    go(cluster, 2)
    assert "mynah.dev/forced" not in kubernetes.objects[SERVICES, "mynah", "wren"]["metadata"]["annotations"]


# What goes wrong, and is put back


@pytest.mark.parametrize(
    ("fate", "said"),
    [
        ("image", ["ImagePullBackOff", 'pulling image "mynah-serve:0.2.0"', "kubectl describe pod wren-predictor-"]),
        ("crash", ["CrashLoopBackOff", "RuntimeError: no checkpoint", "kubectl logs wren-predictor-", "-c kserve-container"]),
        ("init", ["storage-initializer", "(403) when calling the HeadObject", "-c storage-initializer"]),
        ("quota", ["exceeded quota", "kubectl describe resourcequota -n mynah"]),
        ("mute", ["does not answer as it should", "(500)"]),
        ("other", ["version 99 answers, and not 2"]),
        ("empty", ["its answer is empty"]),
    ],
)
def test_a_version_that_does_not_serve_is_rolled_back(kserve, cluster, fate, said):
    go(cluster, 1)
    kserve.fates["2"] = fate
    with pytest.raises(PlatformError) as raised:
        go(cluster, 2)
    for each in [*said, "Rolled back: mynah/wren serves version 1 again"]:
        assert each in str(raised.value)
    assert uri(kserve).endswith("m-1/artifacts/model/")
    assert go(cluster, 1).action == "unchanged"


@pytest.mark.parametrize(
    ("fate", "said"), [("no node", "Unschedulable: 0/3 nodes are available"), ("hangs", "PredictorReady is False")]
)
def test_what_may_still_come_is_waited_for_until_the_deadline(kserve, cluster, capsys, fate, said):
    kserve.fates["1"] = fate
    with pytest.raises(PlatformError) as raised:
        deploy(serving(1), cluster, Wanted(patience=Patience(timeout=0.3, poll=0.01, trouble=0.03)))
    assert "did not become ready within 0.3 s" in str(raised.value) and said in str(raised.value)
    assert capsys.readouterr().err.count(said) == 1  # told once while it waits


def test_the_first_one_that_fails_is_deleted_again(kubernetes, kserve, cluster):
    kserve.fates["1"] = "image"
    with pytest.raises(PlatformError, match="mynah/wren was deleted again"):
        go(cluster, 1)
    assert (SERVICES, "mynah", "wren") not in kubernetes.objects


def test_what_somebody_else_applied_meanwhile_is_left(kubernetes, kserve, cluster):
    kserve.fates["1"] = "hangs"
    other = inference_service(serving(7), "mynah", STANDARD)

    def react():
        if len(kubernetes.asked("get")) > 8:
            kubernetes.reactions.remove(react)
            kubernetes.edit(SERVICES, "mynah", "wren", "argocd", lambda each: each.update(spec=other["spec"]))

    kubernetes.reactions.append(react)
    with pytest.raises(PlatformError, match=r"(?s)somebody else changed.*is left as it is"):
        go(cluster, 1)
    assert uri(kserve).endswith("m-7/artifacts/model/")


def test_an_interrupt_puts_back_what_served(kubernetes, kserve, cluster, capsys):
    go(cluster, 1)
    kserve.fates["2"] = "hangs"

    def react():
        if uri(kserve).endswith("m-2/artifacts/model/"):
            kubernetes.reactions.remove(react)
            _thread.interrupt_main()

    kubernetes.reactions.append(react)
    with pytest.raises(KeyboardInterrupt):
        go(cluster, 2)
    assert uri(kserve).endswith("m-1/artifacts/model/") and "Rolled back to version 1" in capsys.readouterr().err


def test_a_service_of_others_is_put_back_as_it_was(kubernetes, kserve, cluster):
    """Applied by kubectl, without a version or a digest of ours."""
    found = {"predictor": {"model": {"modelFormat": {"name": "huggingface"}, "storageUri": "s3://b/old/"}, "minReplicas": 2}}
    metadata = {"annotations": {"serving.kserve.io/deploymentMode": "Standard"}, "labels": {}}
    kubernetes.put(SERVICES, "mynah", "wren", metadata=metadata, spec=json.loads(json.dumps(found)))
    kserve.fates["2"] = "mute"
    with pytest.raises(PlatformError, match="serves what it served before again"):
        go(cluster, 2)
    assert kserve.predictor() == found["predictor"]


def test_a_webhook_that_refuses(kubernetes, kserve, cluster):
    from fake_kubernetes import Refusal

    def refuse(_new, _old):
        raise Refusal(400, "BadRequest", 'admission webhook "policy.example" denied the request: no bots on Fridays')

    kubernetes.admission = refuse
    with pytest.raises(PlatformError, match="no bots on Fridays"):
        go(cluster, 1)


# Keys and addresses


def test_a_server_that_asks_for_a_key(kserve, cluster, monkeypatch, capsys):
    kserve.fates["1"] = kserve.fates["2"] = "key"
    done = go(cluster, 1)
    assert (done.action, done.said) == ("deployed", "")
    assert "MYNAH_API_KEY" in capsys.readouterr().err
    assert kserve.asked[-1][1] == "/v2/models/wren/versions/1/ready"
    monkeypatch.setenv("MYNAH_API_KEY", "mynah_right")
    assert go(cluster, 2).said == "My dream is is to fly."
    monkeypatch.setenv("MYNAH_API_KEY", "mynah_wrong")
    with pytest.raises(PlatformError, match=r"(?s)401.*Rolled back"):
        go(cluster, 1)


# What the cluster lacks


def test_without_kserve(kubernetes, cluster):
    kubernetes.kinds.discard(SERVICES)
    with pytest.raises(InputError, match=r"KServe is not installed there\nInstall KServe 0\.20 or 0\.21"):
        go(cluster, 1)


def test_a_namespace_that_is_not_there(kserve, cluster):
    with pytest.raises(InputError, match="no namespace 'nowhere'"):
        go(cluster, 1, namespace="nowhere")


def test_an_expired_token(kserve, kubernetes, cluster):
    kubernetes.token = "another"
    with pytest.raises(PlatformError, match="log in again"):
        go(cluster, 1)


def test_a_right_that_is_missing(kserve, kubernetes, cluster):
    kubernetes.forbidden.add(("patch", SERVICES))
    with pytest.raises(PlatformError, match=r"Give that user this RBAC rule: .*inferenceservices.*patch"):
        go(cluster, 1)


def test_a_quota_of_services(kserve, kubernetes, cluster):
    from fake_kubernetes import Refusal

    def refuse(_new, _old):
        raise Refusal(403, "Forbidden", "exceeded quota: mynah, requested: count/inferenceservices.serving.kserve.io=1, used: 5")

    kubernetes.admission = refuse
    with pytest.raises(PlatformError, match="kubectl describe resourcequota"):
        go(cluster, 1)


def test_an_old_kserve_that_knows_no_such_field(kserve, kubernetes, cluster):
    from fake_kubernetes import Refusal

    def refuse(_new, _old):
        raise Refusal(400, "BadRequest", 'strict decoding error: unknown field "spec.canary"')

    kubernetes.admission = refuse
    with pytest.raises(InputError, match=r"does not know spec\.canary\nIt is too old"):
        go(cluster, 1)


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
    assert small == {"requests": {"cpu": "1", "memory": "1152Mi"}, "limits": {"cpu": "2", "memory": "1152Mi"}}
    assert large["requests"] == {"cpu": "2", "memory": "2176Mi"}


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
