"""KServe's two ways to run an InferenceService: Standard (Deployments) and Knative, and what each has for a canary.

https://kserve.github.io/website/docs/admin-guide/overview#deployment-modes
"""

import json
from http import HTTPStatus

from components.cluster import Cluster, Object, Resource
from components.cluster_errors import http_status
from components.deploy.manifest import KNATIVE, MODE, STANDARD
from components.errors import InputError, PlatformError
from components.events import say

OLD_NAMES = {"RawDeployment": STANDARD, "Serverless": KNATIVE}
CONFIG_MAPS = Resource("", "v1", "configmaps", ("get",))
KSERVE_NAMESPACE, CONFIG = "kserve", "inferenceservice-config"


def mode_of(live: Object) -> str:
    """The mode of a live InferenceService; "" until KServe has told it."""
    said = (live["metadata"].get("annotations") or {}).get(MODE) or (live.get("status") or {}).get("deploymentMode") or ""
    return OLD_NAMES.get(said, said)


def usual_mode(cluster: Cluster) -> str:
    """The mode of an InferenceService that names none; Standard where KServe's configuration cannot be read."""
    said = str((_settings(cluster, "deploy") or {}).get("defaultDeploymentMode") or STANDARD)
    return OLD_NAMES.get(said, said)


def require_split(cluster: Cluster, live: Object) -> None:
    """Raise InputError unless requests to `live` can be split between two versions."""
    if mode_of(live) == KNATIVE:
        return
    if "httproutes" not in cluster.kinds("gateway.networking.k8s.io", "v1"):
        raise InputError(
            "a canary in KServe's Standard mode needs the Gateway API, and the cluster has none",
            "Install the Gateway API's CRDs and a gateway (k8s/README.md), or deploy without --canary.",
        )
    settings = _settings(cluster, "ingress")
    if settings is None:
        say(f"whether KServe uses the Gateway API is not known: {KSERVE_NAMESPACE}/{CONFIG} cannot be read", "warning")
    elif settings.get("enableGatewayApi") is not True:
        raise InputError(
            "a canary in KServe's Standard mode needs the Gateway API, and KServe does not use it here (enableGatewayApi)",
            f"Set it in the `ingress` part of: kubectl edit configmap {CONFIG} -n {KSERVE_NAMESPACE}",
        )


def canaries(live: Object) -> list[Object]:
    """The predictors of spec.canary."""
    return [each["predictor"] for each in live["spec"].get("canary") or []]


def service_of(live: Object, made: Object) -> str:
    """The Service whose pods are those of the predictor `made` alone, on port 80.

    Standard: PredictorServiceName in KServe's pkg/constants. Knative: a revision's private Service, whose public one may lead to
    the activator.
    """
    name = live["metadata"]["name"]
    if mode_of(live) == KNATIVE:
        return f"{live['status']['components']['predictor']['latestReadyRevision']}-private"
    return f"{name}-{made['name']}-predictor" if made.get("name") else f"{name}-predictor"


def pods_prefix(live: Object, made: Object) -> str:
    """How the names of the pods of a predictor begin."""
    if mode_of(live) != KNATIVE:
        return f"{service_of(live, made)}-"
    parts = live["status"]["components"]["predictor"]
    is_canary = made.get("canaryTrafficPercent") is not None
    return f"{parts['latestReadyRevision' if is_canary else 'latestRolledoutRevision']}-deployment-"


def _settings(cluster: Cluster, part: str) -> Object | None:
    """A part of KServe's configuration; None when it cannot be read."""
    try:
        found = cluster.call("GET", CONFIG_MAPS.path(KSERVE_NAMESPACE, CONFIG), rule=CONFIG_MAPS.rule) or {}
        settings = json.loads((found.get("data") or {})[part])
    except PlatformError as error:
        if http_status(error) != HTTPStatus.FORBIDDEN:
            raise
        return None
    except (KeyError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None
