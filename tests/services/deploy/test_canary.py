"""A canary gets more requests step by step, or is taken back, by what Prometheus says of it."""

import math
import time

import pytest
from fake_kserve import FakeKServe
from fake_kubernetes import SERVICES
from fake_prometheus import Traffic, fake_prometheus, real_prometheus

from components.deploy.canary import shortcomings
from components.deploy.prometheus import Prometheus
from components.deploy.prometheus import Traffic as Measured
from components.deploy.settings import DeploySettings
from components.deploy.step import Plan, Serving, WaitLimits, deploy
from mynah.core.errors import GateRefused, InputError, PlatformError

QUICK = WaitLimits(timeout=5, poll=0.01, trouble=0.03, answer=0.05)
PLAN = Plan(seconds=0.1, min_requests=20)


def serving(version):
    return Serving("wren", version, f"s3://b/m-{version}/artifacts/model/", 8 << 20, f"m-{version}")


@pytest.fixture(params=["Standard", "Knative"])
def kserve(request, kubernetes):
    return FakeKServe(kubernetes, request.param)


@pytest.fixture
def standard(kubernetes):
    return FakeKServe(kubernetes)


def go(cluster, version, percent=0, **settings):
    return deploy(serving(version), cluster, DeploySettings(percent=percent, wait_limits=QUICK, plan=PLAN, **settings))


def spec(kserve):
    return kserve.kubernetes.objects[SERVICES, "mynah", "wren"]["spec"]


def splits(kserve):
    """Every split of the requests that was applied, in order: (stable version, canary version, percent)."""
    found = []

    def look():
        if (SERVICES, "mynah", "wren") not in kserve.kubernetes.objects:
            return
        now = spec(kserve)
        stable = now["predictor"]["model"]["storageUri"]
        canary = [(each["predictor"]["model"]["storageUri"], each["trafficPercent"]) for each in now.get("canary", [])]
        split = stable, *(canary[0] if canary else ("", now["predictor"].get("canaryTrafficPercent")))
        if not found or found[-1] != split:
            found.append(split)

    kserve.kubernetes.reactions.append(look)
    return found


def healthy(query):
    if "histogram_quantile" in query:
        return 0.2
    return None if "5.." in query else 200


def prometheus_of(canary_prefix, **values):
    """All is well but for what `values` say of the pods of the canary: requests, errors, seconds."""

    def answer(query):
        if canary_prefix not in query:
            return healthy(query)
        what = "seconds" if "histogram_quantile" in query else "errors" if "5.." in query else "requests"
        return values.get(what, healthy(query))

    return fake_prometheus(answer)


CANARY = {"Standard": "wren-v2-predictor-", "Knative": "wren-predictor-00002-deployment-"}


def test_a_canary_serves_beside_the_stable_version(kserve, cluster):
    go(cluster, 1)
    done = go(cluster, 2, 10)
    assert (done.action, done.former, done.answer) == ("canary", 1, "My dream is is to fly.")
    if kserve.mode == "Standard":
        assert spec(kserve)["predictor"]["model"]["storageUri"].startswith("s3://b/m-1/")
        (canary,) = spec(kserve)["canary"]
        assert (canary["trafficPercent"], canary["predictor"]["name"]) == (10, "v2")
        assert kserve.asked[-1][0] == "wren-v2-predictor"  # the canary itself was asked, and not who gets most requests
    else:
        assert spec(kserve)["predictor"]["canaryTrafficPercent"] == 10
        assert kserve.asked[-1][0] == "wren-predictor-00002"
    assert go(cluster, 2, 10).action == "unchanged"


def test_a_canary_restarts_nothing_of_the_stable_version(standard, cluster):
    go(cluster, 1)
    (before,) = standard.ready_pods("mynah", "wren-predictor")
    go(cluster, 2, 10)
    assert [each["metadata"]["uid"] for each in standard.ready_pods("mynah", "wren-predictor")] == [before["metadata"]["uid"]]


def test_a_canary_is_promoted_without_a_restart(standard, cluster):
    go(cluster, 1)
    go(cluster, 2, 10)
    (canary,) = standard.ready_pods("mynah", "wren-v2-predictor")
    assert go(cluster, 2).action == "deployed"
    assert "canary" not in spec(standard) and spec(standard)["predictor"]["name"] == "v2"
    assert [each["metadata"]["uid"] for each in standard.ready_pods("mynah", "wren-v2-predictor")] == [canary["metadata"]["uid"]]
    assert go(cluster, 3, 10).action == "canary"  # and the next one is called v3
    assert spec(standard)["canary"][0]["predictor"]["name"] == "v3"


def test_a_canary_is_taken_back_by_hand(kserve, cluster):
    go(cluster, 1)
    go(cluster, 2, 10)
    go(cluster, 1)
    assert "canary" not in spec(kserve) and "canaryTrafficPercent" not in spec(kserve)["predictor"]
    assert spec(kserve)["predictor"]["model"]["storageUri"].startswith("s3://b/m-1/")


def test_a_canary_that_keeps_to_the_plan_is_promoted_step_by_step(kserve, cluster):
    go(cluster, 1)
    seen = splits(kserve)
    with fake_prometheus(healthy) as url:
        done = go(cluster, 2, 10, prometheus=url)
    assert (done.action, done.former) == ("promoted", 1)
    one, two = (f"s3://b/m-{number}/artifacts/model/" for number in (1, 2))
    stepped = [(one, "", None), (one, two, 10), (one, two, 50), (two, "", None)]
    if kserve.mode == "Knative":
        stepped = [(one, "", None), (two, "", 10), (two, "", 50), (two, "", None)]
    assert seen == stepped


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"errors": 30}, "15.0% of its answers are errors, and the limit is 2.0%"),
        ({"seconds": 0.9}, "its 95th percentile is 0.90 s, and the stable version's 0.20 s"),
        ({"requests": 3}, "only 3 requests reached it, and a decision needs 20"),
        ({"requests": None}, "0 requests reached it"),
        ({"seconds": math.nan}, "the latency of its answers is unknown"),
    ],
)
def test_a_canary_that_does_not_is_taken_back(kserve, cluster, values, said):
    go(cluster, 1)
    seen = splits(kserve)
    with prometheus_of(CANARY[kserve.mode], **values) as url, pytest.raises(GateRefused) as raised:
        go(cluster, 2, 10, prometheus=url)
    assert said in str(raised.value) and "Rolled back: mynah/wren serves version 1 again" in str(raised.value)
    assert spec(kserve)["predictor"]["model"]["storageUri"].startswith("s3://b/m-1/")
    assert "canary" not in spec(kserve) and "canaryTrafficPercent" not in spec(kserve)["predictor"]
    if kserve.mode == "Knative":  # else all requests would go to the bad revision until the one made anew is ready
        assert seen[-2] == ("s3://b/m-1/artifacts/model/", "", 0)


def test_a_prometheus_that_breaks_is_no_promotion(standard, cluster):
    go(cluster, 1)
    with (
        fake_prometheus(lambda _: "query timed out") as url,
        pytest.raises(PlatformError, match=r"(?s)query timed out.*Rolled back"),
    ):
        go(cluster, 2, 10, prometheus=url)
    assert "canary" not in spec(standard)


def test_a_prometheus_that_is_away_is_told_before_anything_is_applied(standard, cluster):
    go(cluster, 1)
    with pytest.raises(PlatformError, match=r"127\.0\.0\.1:9 failed"):
        go(cluster, 2, 10, prometheus="http://127.0.0.1:9")
    assert "canary" not in spec(standard)
    with pytest.raises(InputError, match="is not a URL of Prometheus"):
        go(cluster, 2, 10, prometheus="file:///etc/passwd")


def test_a_canary_that_does_not_start_takes_nothing_with_it(standard, cluster):
    go(cluster, 1)
    standard.fates["2"] = "image"
    with pytest.raises(PlatformError, match=r"(?s)ImagePullBackOff.*Rolled back: mynah/wren serves version 1 again"):
        go(cluster, 2, 10)
    assert "canary" not in spec(standard)


def test_a_canary_needs_something_beside_it(standard, cluster):
    with pytest.raises(InputError, match="nothing serves wren in mynah yet"):
        go(cluster, 1, 10)
    go(cluster, 1)
    with pytest.raises(InputError, match="serves version 1 to all already"):
        go(cluster, 1, 10)


def test_a_canary_in_standard_mode_needs_the_gateway_api(standard, cluster, kubernetes, capsys):
    go(cluster, 1)
    kubernetes.put("configmaps", "kserve", "inferenceservice-config", data={"ingress": '{"enableGatewayApi": false}'})
    with pytest.raises(InputError, match="enableGatewayApi"):
        go(cluster, 2, 10)
    kubernetes.kinds.discard("httproutes.gateway.networking.k8s.io")
    with pytest.raises(InputError, match="needs the Gateway API, and the cluster has none"):
        go(cluster, 2, 10)
    kubernetes.kinds.add("httproutes.gateway.networking.k8s.io")
    kubernetes.forbidden.add(("get", "configmaps"))
    assert go(cluster, 2, 10).action == "canary"
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("settings", [{"steps": (50, 10)}, {"steps": ()}, {"steps": (0, 100)}, {"seconds": 0}, {"max_errors": 2}])
def test_a_plan_that_makes_no_sense(settings):
    with pytest.raises(InputError):
        Plan(**settings)


@pytest.mark.parametrize(("first", "steps"), [(10, (10, 50, 100)), (25, (25, 50, 100)), (60, (60, 100))])
def test_the_steps_begin_where_the_canary_does(first, steps):
    assert Plan.of(first, 60).steps == steps


def test_a_slow_canary_beside_a_slow_stable_version_is_well():
    plan = Plan()
    assert shortcomings(plan, Measured(100, 0.0, 3.0), Measured(900, 0.0, 2.5)) == []
    assert shortcomings(plan, Measured(100, 0.0, 0.4), Measured(900, 0.0, 0.05)) == []  # below the floor
    assert shortcomings(plan, Measured(100, 0.0, 0.6), Measured(900, 0.0, 0.05)) != []


def test_a_real_prometheus_tells_canary_and_stable_version_apart(tmp_path):
    traffic = Traffic()
    traffic.rates = {"wren-predictor-a": (9, 0, 0.05), "wren-v2-predictor-b": (9, 1, 0.5), "wren-v22-predictor-c": (9, 9, 0.05)}
    with real_prometheus(tmp_path, traffic) as url:
        prometheus = Prometheus(url)
        prometheus.check()
        for _ in range(600):
            canary = prometheus.traffic("mynah", "wren-v2-predictor-", 60)
            if canary.requests > 50:
                break
            time.sleep(0.02)
        stable = prometheus.traffic("mynah", "wren-predictor-", 60)
        nobody = prometheus.traffic("other", "wren-v2-predictor-", 60)
    assert canary.errors == pytest.approx(0.1, abs=0.03)
    assert 0.25 < canary.seconds <= 1 and stable.seconds <= 0.1
    assert stable.errors == 0 and stable.requests > 0
    assert nobody == Measured(0.0, None, None)
