"""How many pods a bot gets, by whom their number is changed, and the budget that protects them: made and removed with the bot."""

import pytest
from fake_kserve import FakeKServe
from fake_kubernetes import SERVICES
from fake_kubernetes_objects import Refusal

from components.deploy.manifest import applied
from components.deploy.server_side_apply import delete
from components.deploy.settings import DeploySettings
from mynah.core.errors import InputError
from tests.services.deploy.deployments import go

AUTOSCALER = "serving.kserve.io/autoscalerClass"
METRICS = "pods.metrics.k8s.io"
BUDGET = "poddisruptionbudgets.policy", "mynah", "wren"
BY_CPU = {"minReplicas": 1, "maxReplicas": 3, "scaleMetric": "cpu", "scaleTarget": 80}


def scaling(kubernetes):
    """The autoscaler's class, and the fields that belong to it."""
    live = kubernetes.objects[SERVICES, "mynah", "wren"]
    fields = {name: live["spec"]["predictor"][name] for name in BY_CPU if name in live["spec"]["predictor"]}
    return live["metadata"]["annotations"].get(AUTOSCALER), fields


def test_one_to_three_pods_by_cpu(kubernetes, kserve, cluster):
    go(cluster, 1)
    assert scaling(kubernetes) == ("hpa", BY_CPU)


def test_without_a_metrics_server_there_is_no_autoscaler_and_it_is_said(kubernetes, kserve, cluster, capsys):
    kubernetes.kinds.discard(METRICS)
    go(cluster, 1)
    assert scaling(kubernetes) == ("none", {"minReplicas": 1, "maxReplicas": 1})
    assert "no metrics server (metrics.k8s.io), so wren gets 1 pod and no autoscaler" in capsys.readouterr().err
    kubernetes.kinds.add(METRICS)
    go(cluster, 2)
    assert scaling(kubernetes) == ("hpa", BY_CPU)
    kubernetes.kinds.discard(METRICS)
    go(cluster, 3)
    assert scaling(kubernetes) == ("none", {"minReplicas": 1, "maxReplicas": 1})


def test_a_metrics_server_that_is_away_measures_nothing(kubernetes, kserve, cluster, monkeypatch):
    discover = kubernetes._discover

    def away(group, version):
        if group == "metrics.k8s.io":
            raise Refusal(503, "ServiceUnavailable", "the server is currently unable to handle the request")
        return discover(group, version)

    monkeypatch.setattr(kubernetes, "_discover", away)
    go(cluster, 1)
    assert scaling(kubernetes)[0] == "none"


@pytest.mark.parametrize(("replicas", "most"), [(2, 3), (5, 5)])
def test_a_number_that_is_named_stays_until_another_is(kubernetes, kserve, cluster, replicas, most):
    go(cluster, 1, replicas=replicas)
    assert scaling(kubernetes) == ("hpa", BY_CPU | {"minReplicas": replicas, "maxReplicas": most})
    go(cluster, 2)
    assert scaling(kubernetes)[1]["minReplicas"] == replicas
    go(cluster, 3, replicas=1)
    assert scaling(kubernetes) == ("hpa", BY_CPU)
    with pytest.raises(InputError, match="cannot have -1 pods"):
        DeploySettings(replicas=-1)


def test_another_number_restarts_no_pod(kubernetes, kserve, cluster):
    go(cluster, 1)
    before = applied(kserve.predictor())
    go(cluster, 1, replicas=2)
    assert applied(kserve.predictor()) == before
    assert kserve.predictor()["minReplicas"] == 2


def test_an_autoscaler_of_somebody_else_stays(kubernetes, kserve, cluster):
    def by_keda(live):
        live["metadata"]["annotations"][AUTOSCALER] = "external"
        live["spec"]["predictor"] |= {"minReplicas": 0, "maxReplicas": 9}
        del live["spec"]["predictor"]["scaleMetric"], live["spec"]["predictor"]["scaleTarget"]

    go(cluster, 1)
    kubernetes.edit(SERVICES, "mynah", "wren", "somebody", by_keda)
    go(cluster, 2)
    assert scaling(kubernetes) == ("external", {"minReplicas": 0, "maxReplicas": 9})


def test_knative_scales_by_itself(kubernetes, cluster):
    FakeKServe(kubernetes, "Knative")
    go(cluster, 1)
    assert scaling(kubernetes) == (None, {})
    go(cluster, 2, replicas=2)
    assert scaling(kubernetes) == (None, {"minReplicas": 2, "maxReplicas": 3})


def test_a_failed_version_takes_its_number_with_it(kubernetes, kserve, cluster):
    go(cluster, 1)
    kserve.fates["2"] = "crash"
    with pytest.raises(Exception, match="Rolled back"):
        go(cluster, 2, replicas=4)
    assert scaling(kubernetes) == ("hpa", BY_CPU)


# The budget


def test_a_bot_has_a_budget_of_its_own_that_goes_with_it(kubernetes, kserve, cluster):
    go(cluster, 1)
    budget = kubernetes.objects[BUDGET]
    assert budget["spec"] == {
        "maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": {"serving.kserve.io/inferenceservice": "wren"}},
    }  # fmt: skip
    go(cluster, 2)
    assert kubernetes.objects[BUDGET]["metadata"]["uid"] == budget["metadata"]["uid"]
    delete(cluster, "mynah", "wren")
    assert BUDGET not in kubernetes.objects


def test_to_forget_a_bot_removes_its_budget(kubernetes, kserve, cluster):
    go(cluster, 1)
    (endpoint,) = cluster.endpoints()
    cluster.delete(endpoint)
    assert BUDGET not in kubernetes.objects


def test_a_bot_of_an_earlier_version_gets_one(kubernetes, kserve, cluster):
    go(cluster, 1)
    del kubernetes.objects[BUDGET]
    assert go(cluster, 1).action == "unchanged"
    assert BUDGET in kubernetes.objects


@pytest.mark.parametrize("right", ["patch", "conflict"])
def test_without_the_right_to_a_budget_the_bot_is_deployed_all_the_same(kubernetes, kserve, cluster, capsys, right):
    if right == "patch":
        kubernetes.forbidden.add(("patch", "poddisruptionbudgets.policy"))
    else:
        go(cluster, 1)
        kubernetes.edit(*BUDGET, "kubectl-edit", lambda budget: budget["spec"].update(maxUnavailable=2))
    assert go(cluster, 2).action == "deployed"
    assert "mynah/wren has no PodDisruptionBudget of ours" in capsys.readouterr().err
