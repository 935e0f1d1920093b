"""KServe's two modes of running an InferenceService, Standard (Deployments) and Knative, and what each offers for a canary.

https://kserve.github.io/website/docs/admin-guide/overview#deployment-modes
"""

import json
from http import HTTPStatus

from components.deploy.manifest import KNATIVE, MODE, STANDARD
from mynah.core.errors import InputError, PlatformError
from mynah.core.progress import notify
from mynah.kubernetes.cluster import Cluster, Object, Resource
from mynah.kubernetes.errors import http_status

OLD_NAMES = {"RawDeployment": STANDARD, "Serverless": KNATIVE}
CONFIG_MAPS = Resource("", "v1", "configmaps", ("get",))
KSERVE_NAMESPACE, CONFIG = "kserve", "inferenceservice-config"


def mode_of(live: Object) -> str:
    """Return the mode of a live InferenceService; "" until KServe reports it."""
    mode = (live["metadata"].get("annotations") or {}).get(MODE) or (live.get("status") or {}).get("deploymentMode") or ""
    return OLD_NAMES.get(mode, mode)


def default_mode(cluster: Cluster) -> str:
    """Return the mode of an InferenceService that names none; Standard where KServe's configuration cannot be read."""
    mode = str((_settings(cluster, "deploy") or {}).get("defaultDeploymentMode") or STANDARD)
    return OLD_NAMES.get(mode, mode)


def require_split(cluster: Cluster, live: Object) -> None:
    """Check that requests can be split between two versions.

    Args:
        cluster: The cluster.
        live: The InferenceService.

    Raises:
        InputError: The InferenceService is in Standard mode, and the cluster or KServe lacks the Gateway API.
        PlatformError: The API fails.
    """
    if mode_of(live) == KNATIVE:
        return
    if "httproutes" not in cluster.kinds("gateway.networking.k8s.io", "v1"):
        raise InputError(
            "a canary in KServe's Standard mode needs the Gateway API, and the cluster has none",
            "Install the Gateway API's CRDs and a gateway (k8s/README.md), or deploy without --canary.",
        )
    settings = _settings(cluster, "ingress")
    if settings is None:
        notify(f"whether KServe uses the Gateway API is not known: {KSERVE_NAMESPACE}/{CONFIG} cannot be read", "warning")
    elif settings.get("enableGatewayApi") is not True:
        raise InputError(
            "a canary in KServe's Standard mode needs the Gateway API, and KServe does not use it here (enableGatewayApi)",
            f"Set it in the `ingress` part of: kubectl edit configmap {CONFIG} -n {KSERVE_NAMESPACE}",
        )


def canaries(live: Object) -> list[Object]:
    """Return the predictors of spec.canary."""
    return [item["predictor"] for item in live["spec"].get("canary") or []]


def service_of(live: Object, predictor: Object) -> str:
    """Return the Service whose pods are only those of one predictor, on port 80.

    Standard: PredictorServiceName in KServe's pkg/constants. Knative: a revision's private Service, since its public one may route to the
    activator.

    Args:
        live: The InferenceService.
        predictor: Its predictor, or one of its canaries.

    Returns:
        The Service's name.
    """
    name = live["metadata"]["name"]
    if mode_of(live) == KNATIVE:
        return f"{live['status']['components']['predictor']['latestReadyRevision']}-private"
    return f"{name}-{predictor['name']}-predictor" if predictor.get("name") else f"{name}-predictor"


def pods_prefix(live: Object, predictor: Object) -> str:
    """Return the prefix of the names of a predictor's pods."""
    if mode_of(live) != KNATIVE:
        return f"{service_of(live, predictor)}-"
    parts = live["status"]["components"]["predictor"]
    is_canary = predictor.get("canaryTrafficPercent") is not None
    return f"{parts['latestReadyRevision' if is_canary else 'latestRolledoutRevision']}-deployment-"


def _settings(cluster: Cluster, part: str) -> Object | None:
    """Return a section of KServe's configuration; None when it cannot be read."""
    try:
        config_map = cluster.call("GET", CONFIG_MAPS.path(KSERVE_NAMESPACE, CONFIG), rule=CONFIG_MAPS.rule) or {}
        settings = json.loads((config_map.get("data") or {})[part])
    except PlatformError as error:
        if http_status(error) != HTTPStatus.FORBIDDEN:
            raise
        return None
    except (KeyError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None
