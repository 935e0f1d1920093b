"""What no wait changes ends a deployment at once, with KServe's words: names, stopped services, failed reconciliations, and addresses."""

import json

import pytest
from fake_kubernetes import SERVICES
from fake_prometheus import http_server

from components.deploy.diff_text import describe, reachable_url
from components.deploy.serving_runtime import RUNTIME
from components.deploy.settings import DeploySettings
from components.deploy.step import WaitLimits, deploy
from mynah.core.errors import InputError, PlatformError
from pipelines.kubeflow.cluster_spec import ClusterSpec
from pipelines.kubeflow.submit import Submission
from pipelines.run_spec import RunSpec
from tests.services.deploy.deployments import go, serving, uri

PATIENT = WaitLimits(timeout=3, poll=0.01, trouble=3600, answer=0.05)  # only what is final ends it before `timeout`
TOO_LONG = 'invalid domain name "wren-predictor-mynah.example.com": url: Invalid value'
UNSUPPORTED = "StorageURI not supported: storageUri, must be one of: [gs://, s3://]. StorageUri [x://b/m] is not supported"
CONFLICT = (
    'Operation cannot be fulfilled on deployments.apps "wren-predictor": the object has been modified; please apply your changes'
)


def patiently(cluster, version):
    return deploy(serving(version), cluster, DeploySettings(wait_limits=PATIENT))


# Names


def test_a_name_that_is_too_long_with_its_namespace_is_refused_before_anything_is_asked(kubernetes, kserve, cluster):
    with pytest.raises(InputError) as raised:
        deploy(serving(1, name="w" * 40), cluster, DeploySettings(namespace="n" * 13))
    assert "53 characters together, and KServe allows 52" in str(raised.value) and "at most 39 characters" in str(raised.value)
    assert kubernetes.requests == []
    with pytest.raises(InputError, match="has no namespace"):  # 52: the cluster is asked
        deploy(serving(1, name="w" * 40), cluster, DeploySettings(namespace="n" * 12))


def test_a_run_that_would_end_with_such_a_name_is_not_submitted():
    bot = RunSpec("w" * 40, ("sample",))
    with pytest.raises(InputError, match="53 characters together"):
        Submission([bot], ClusterSpec(serve_in="n" * 13, bucket="b"))
    assert Submission([bot], ClusterSpec(serve_in="n" * 12, bucket="b")).pipeline == "bot"


# The runtime


def test_a_namespace_without_this_versions_runtime_is_left_alone(kubernetes, kserve, cluster):
    go(cluster, 1)
    del kubernetes.objects["servingruntimes.serving.kserve.io", "mynah", RUNTIME]
    with pytest.raises(InputError, match=rf"(?s)no ServingRuntime {RUNTIME}.*Apply an overlay"):
        go(cluster, 2)
    assert uri(kserve).endswith("m-1/artifacts/model/")
    kubernetes.forbidden.add(("get", "servingruntimes.serving.kserve.io"))
    assert go(cluster, 2).action == "deployed"  # by the right of a run, which cannot look


# Stopped


def stop(each):
    each["metadata"].setdefault("annotations", {})["serving.kserve.io/stop"] = "true"


def test_a_stopped_service_is_left_alone(kubernetes, kserve, cluster):
    go(cluster, 1)
    kubernetes.edit(SERVICES, "mynah", "wren", "kubectl-annotate", stop)
    with pytest.raises(
        PlatformError, match=r"(?s)stopped by its annotation.*kubectl annotate isvc wren -n mynah serving\.kserve\.io/stop-"
    ):
        go(cluster, 2)
    assert uri(kserve).endswith("m-1/artifacts/model/")


def test_a_service_that_is_stopped_meanwhile_is_not_waited_for(kubernetes, kserve, cluster):
    kserve.fates["1"] = "hangs"

    def react():
        if (SERVICES, "mynah", "wren") in kubernetes.objects and kserve.ready_pods("mynah", "wren-predictor") == []:
            kubernetes.reactions.remove(react)
            kubernetes.edit(SERVICES, "mynah", "wren", "kubectl-annotate", stop)

    kubernetes.reactions.append(react)
    with pytest.raises(PlatformError, match=r"cannot become ready: its annotation serving\.kserve\.io/stop stops it"):
        patiently(cluster, 1)


# Reconciliations that fail


@pytest.mark.parametrize("has_right", [True, False], ids=["with events", "without the right to list events"])
def test_a_failed_reconciliation_ends_the_wait_with_its_words(kubernetes, kserve, cluster, has_right):
    go(cluster, 1)
    kserve.failures["2"] = (TOO_LONG, True)
    if not has_right:
        kubernetes.forbidden.add(("list", "events"))
    with pytest.raises(PlatformError) as raised:
        patiently(cluster, 2)
    for each in ("cannot become ready", TOO_LONG, "serves version 1 again", "domainTemplate"):
        assert each in str(raised.value)
    assert has_right or "PredictorReady is False: ReconcileFailed" in str(raised.value)
    assert uri(kserve).endswith("m-1/artifacts/model/")


def test_what_only_an_event_tells_ends_the_wait_with_its_words(kubernetes, kserve, cluster):
    kserve.failures["1"] = (UNSUPPORTED, False)
    with pytest.raises(PlatformError, match=r"cannot become ready: KServe: InternalError: StorageURI not supported") as raised:
        patiently(cluster, 1)
    assert "was deleted again" in str(raised.value)
    kubernetes.forbidden.add(("list", "events"))
    with pytest.raises(PlatformError, match=r"did not become ready within 0\.2 s"):
        deploy(serving(1), cluster, DeploySettings(wait_limits=WaitLimits(timeout=0.2, poll=0.01, trouble=3600)))


@pytest.mark.parametrize("failure", [(TOO_LONG, True), (UNSUPPORTED, False)], ids=["a condition", "an event"])
def test_what_was_reported_before_ends_no_later_deployment(kubernetes, kserve, cluster, failure):
    """Neither names its generation: the condition stands until KServe has seen the change, and events for an hour."""
    go(cluster, 1)
    kserve.failures["2"] = failure
    kubernetes.edit(
        SERVICES,
        "mynah",
        "wren",
        "argocd",
        lambda each: each["spec"]["predictor"]["annotations"].update({"mynah.dev/version": "2"}),
    )
    for _ in range(kserve.lag):
        kserve.reconcile()
    assert any(key[0] == "events" for key in kubernetes.objects)
    done = deploy(serving(3), cluster, DeploySettings(wait_limits=PATIENT, force_conflicts=True))
    assert done.action == "deployed"


def test_the_same_failure_once_more_ends_the_wait_too(kserve, cluster):
    """Its condition may be that of before, but its event is told again."""
    go(cluster, 1)
    for version, failure in ((2, (UNSUPPORTED, False)), (2, (UNSUPPORTED, False)), (3, (TOO_LONG, True)), (3, (TOO_LONG, True))):
        kserve.failures[str(version)] = failure
        with pytest.raises(PlatformError, match=r"(?s)cannot become ready.*serves version 1 again"):
            patiently(cluster, version)


@pytest.mark.parametrize("has_condition", [True, False])
def test_what_kserve_gets_over_is_waited_for(kubernetes, kserve, cluster, has_condition):
    kserve.failures["1"] = (CONFLICT, has_condition)

    def react():
        if any(key[0] == "events" and found["count"] > 3 for key, found in kubernetes.objects.items()):
            kserve.failures.clear()

    kubernetes.reactions.append(react)
    assert patiently(cluster, 1).action == "deployed"
    assert not kserve.failures


def test_a_selector_that_cannot_change_ends_the_wait_with_the_command_that_helps(kubernetes, kserve, cluster):
    """A Deployment of another version of KServe, or of somebody else."""
    of_others = {"selector": {"matchLabels": {"app": "wren"}}}
    kubernetes.put("deployments.apps", "mynah", "wren-predictor", metadata={"labels": {}}, spec=of_others, status={})
    with pytest.raises(PlatformError) as raised:
        patiently(cluster, 1)
    for each in (
        'Deployment.apps "wren-predictor" is invalid: spec.selector',
        "field is immutable",
        "kubectl delete deployment wren-predictor -n mynah",
    ):
        assert each in str(raised.value)


# Addresses


def test_the_address_is_that_of_the_service_where_nobody_answers_at_the_reported_one(kserve, cluster):
    kserve.url = "http://127.0.0.1:9"
    assert reachable_url(go(cluster, 1)) == "http://wren-predictor.mynah.svc.cluster.local"


@pytest.mark.parametrize(
    ("code", "answer", "is_there"),
    [(200, {"live": True}, True), (200, {"page": "welcome"}, False), (404, {"live": True}, False)],
    ids=["a bot", "another server", "a gateway"],
)
def test_the_reported_address_is_told_where_a_bot_answers(kserve, cluster, code, answer, is_there):
    with http_server(lambda _path: (code, "application/json", json.dumps(answer))) as url:
        kserve.url = url
        done = go(cluster, 1)
        told = reachable_url(done)
    assert told == (url if is_there else "http://wren-predictor.mynah.svc.cluster.local")
    assert describe(done, told).endswith(f"URL  {told}")
