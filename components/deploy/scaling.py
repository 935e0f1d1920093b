"""How many pods serve a bot: one to three by the CPU that they use, or a fixed number where the cluster measures no pods.

KServe makes a HorizontalPodAutoscaler for the class `hpa`, which fails for ever without a metrics server, and none for the class `none`:
https://kserve.github.io/website/docs/model-serving/predictive-inference/autoscaling/hpa-autoscaler
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from mynah.core.errors import PlatformError
from mynah.core.progress import notify
from mynah.kubernetes.cluster import Cluster, Object
from mynah.kubernetes.errors import http_status

AUTOSCALER = "serving.kserve.io/autoscalerClass"
HPA, NONE = "hpa", "none"
FIELDS = ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget")  # of a predictor
MAX_REPLICAS = 3
CPU_PERCENT = 80  # of what the pods request


@dataclass(frozen=True, slots=True)
class Scaling:
    """KServe's autoscaler class of a bot ("" leaves it to KServe), and the fields of its predictor that belong to it."""

    autoscaler: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)


def by_cpu(replicas: int = 1) -> Scaling:
    """Return the scaling from `replicas` pods on, by CPU."""
    most = max(replicas, MAX_REPLICAS)
    return Scaling(HPA, {"minReplicas": replicas, "maxReplicas": most, "scaleMetric": "cpu", "scaleTarget": CPU_PERCENT})


def fixed(replicas: int = 1) -> Scaling:
    """Return a fixed number of pods."""
    return Scaling(NONE, {"minReplicas": replicas, "maxReplicas": replicas})


def scaling_in_standard_mode(cluster: Cluster, name: str, live: Object | None, replicas: int = 0) -> Scaling:
    """Return the scaling of a bot's Deployment. What others set of it stays, unless a number of pods is named.

    Args:
        cluster: The cluster.
        name: The bot, for messages.
        live: Its InferenceService; None for a new one.
        replicas: The least number of pods; 0 for what there is, or one.

    Raises:
        PlatformError: The API fails.
    """
    before = _live_fields(live)
    if (owner := _autoscaler_of(live)) not in ("", HPA, NONE):  # KEDA's, or one that somebody brought
        return Scaling(owner, before | ({"minReplicas": replicas} if replicas else {}))
    least = replicas or _number(before, "minReplicas") or 1
    if not measures_pods(cluster):
        pods = "1 pod" if least == 1 else f"{least} pods"
        notify(
            f"the cluster has no metrics server (metrics.k8s.io), so {name} gets {pods} and no autoscaler; --replicas sets another number",
            "warning",
        )
        return fixed(least)
    chosen = dict(by_cpu(least).fields)
    if not replicas and owner != NONE:  # none is KServe's hpa
        chosen |= before
        chosen["maxReplicas"] = max(least, _number(chosen, "maxReplicas"))
    return Scaling(HPA, chosen)


def scaling_in_knative_mode(live: Object | None, replicas: int = 0) -> Scaling:
    """Return the scaling of a bot's Knative service, whose own autoscaler counts requests: only a number that was named, or is there."""
    if not replicas:
        return Scaling("", _live_fields(live))
    return Scaling("", {"minReplicas": replicas, "maxReplicas": max(replicas, MAX_REPLICAS)})


def measures_pods(cluster: Cluster) -> bool:
    """Return whether the cluster measures the CPU of pods, which an autoscaler needs. Raises PlatformError when the API fails."""
    try:
        return "pods" in cluster.kinds("metrics.k8s.io", "v1beta1")
    except PlatformError as error:
        if http_status(error) != HTTPStatus.SERVICE_UNAVAILABLE:  # registered, and its server is away
            raise
        return False


def _autoscaler_of(live: Object | None) -> str:
    return str(((live or {"metadata": {}})["metadata"].get("annotations") or {}).get(AUTOSCALER, ""))


def _live_fields(live: Object | None) -> dict[str, object]:
    predictor = live["spec"]["predictor"] if live else {}
    return {name: predictor[name] for name in FIELDS if predictor.get(name) is not None}


def _number(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) else 0
