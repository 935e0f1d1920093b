"""The PodDisruptionBudget of a bot: a drained node takes one of its pods at a time, and those that are not ready at once.

One budget over all bots would let a single crash-looping pod block the eviction of every healthy one, since it counts the pods of all of
them together: https://kubernetes.io/docs/tasks/run-application/configure-pdb/#unhealthy-pod-eviction-policy
"""

from http import HTTPStatus

from components.deploy.manifest import labels_of
from components.deploy.server_side_apply import MANAGER
from mynah.core.errors import PlatformError
from mynah.core.progress import notify
from mynah.kubernetes.cluster import Cluster, Object, Resource
from mynah.kubernetes.errors import http_status

BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", ("create", "patch"))


def disruption_budget(name: str, namespace: str, owner: Object | None = None) -> Object:
    """Return the budget of a bot.

    Args:
        name: The bot.
        namespace: Its namespace.
        owner: Its InferenceService as the cluster has it, with which Kubernetes removes the budget; None where there is none yet.

    Returns:
        The manifest.
    """
    metadata: Object = {"name": name, "namespace": namespace, "labels": labels_of(name)}
    if owner:
        about = {"name": name, "uid": owner["metadata"]["uid"]}
        metadata["ownerReferences"] = [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], **about}]
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {"serving.kserve.io/inferenceservice": name}},
        },
    }


def apply_budget(cluster: Cluster, live: Object) -> None:
    """Apply the budget of a bot that serves. Without the right to it, or where others own it, say so and go on.

    Args:
        cluster: The cluster.
        live: The bot's InferenceService.

    Raises:
        PlatformError: The API fails.
    """
    name, namespace = live["metadata"]["name"], live["metadata"]["namespace"]
    query, headers = (("fieldManager", MANAGER), ("fieldValidation", "Strict")), {"Content-Type": "application/apply-patch+yaml"}
    budget = disruption_budget(name, namespace, live)
    try:
        cluster.call("PATCH", BUDGETS.path(namespace, name), budget, query=query, headers=headers, rule=BUDGETS.rule)
    except PlatformError as error:
        if http_status(error) not in (HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT):
            raise
        notify(f"{namespace}/{name} has no PodDisruptionBudget of ours: {error.problem}. {error.fix}", "warning")
