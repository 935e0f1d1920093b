"""Keys, rights and quotas that a deployment lacks, and clusters without KServe or with an old one."""

import pytest
from fake_kubernetes import SERVICES

from mynah.core.errors import InputError, PlatformError
from tests.services.deploy.deployments import go

# Keys and addresses


def test_a_server_that_asks_for_a_key(kserve, cluster, monkeypatch, capsys):
    kserve.fates["1"] = kserve.fates["2"] = "key"
    done = go(cluster, 1)
    assert (done.action, done.answer) == ("deployed", "")
    assert "MYNAH_API_KEY" in capsys.readouterr().err
    assert kserve.asked[-1][1] == "/v2/models/wren/versions/1/ready"
    monkeypatch.setenv("MYNAH_API_KEY", "mynah_right")
    assert go(cluster, 2).answer == "My dream is is to fly."
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
    from fake_kubernetes_objects import Refusal

    def refuse(_new, _old):
        raise Refusal(403, "Forbidden", "exceeded quota: mynah, requested: count/inferenceservices.serving.kserve.io=1, used: 5")

    kubernetes.admission = refuse
    with pytest.raises(PlatformError, match="kubectl describe resourcequota"):
        go(cluster, 1)


def test_an_old_kserve_that_knows_no_such_field(kserve, kubernetes, cluster):
    from fake_kubernetes_objects import Refusal

    def refuse(_new, _old):
        raise Refusal(400, "BadRequest", 'strict decoding error: unknown field "spec.canary"')

    kubernetes.admission = refuse
    with pytest.raises(InputError, match=r"does not know spec\.canary\nIts version is too old"):
        go(cluster, 1)
