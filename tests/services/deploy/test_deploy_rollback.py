"""Versions that do not serve: what served before is put back, and what others applied is left."""

import _thread
import json

import pytest
from fake_kubernetes import SERVICES

from components.deploy.manifest import STANDARD, inference_service
from components.deploy.settings import DeploySettings
from components.deploy.step import WaitLimits, deploy
from mynah.core.errors import PlatformError
from tests.services.deploy.deployments import go, serving, uri


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
        deploy(serving(1), cluster, DeploySettings(wait_limits=WaitLimits(timeout=0.3, poll=0.01, trouble=0.03)))
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
    from fake_kubernetes_objects import Refusal

    def refuse(_new, _old):
        raise Refusal(400, "BadRequest", 'admission webhook "policy.example" denied the request: no bots on Fridays')

    kubernetes.admission = refuse
    with pytest.raises(PlatformError, match="no bots on Fridays"):
        go(cluster, 1)
