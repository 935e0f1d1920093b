"""Diagnose why an InferenceService is not ready: its conditions, its pods' states and the last log lines of failed containers."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from components.deploy.manifest import APPLIED
from mynah.core.errors import PlatformError
from mynah.kubernetes.cluster import Cluster, Object, Resource

PODS = Resource("", "v1", "pods", ("get", "list"))
DEPLOYMENTS = Resource("apps", "v1", "deployments", ("list",))
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
# The kubelet's waiting reasons of containers that will not start by themselves.
PERMANENT_REASONS = frozenset(
    {"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CrashLoopBackOff", "CreateContainerConfigError"}
)
FAILURE_REASONS = PERMANENT_REASONS | {"ErrImagePull", "CreateContainerError", "RunContainerError"}
LOG_LINES = 4
RECONCILE_FAILED = "ReconcileFailed"  # a reason of conditions: components/deploy/kserve_failures.py


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A reason, and the command that shows more.

    permanent: waiting alone does not help, unless it goes within a moment. final: KServe has given up, and says so.
    """

    text: str
    more: str
    permanent: bool = False
    final: bool = False
    fix: str = ""  # where it is known


def pods(cluster: Cluster, namespace: str, name: str) -> list[Object]:
    """List the running pods of an InferenceService.

    Args:
        cluster: The cluster.
        namespace: The namespace.
        name: The InferenceService.

    Returns:
        The pods, without terminating and finished ones, such as evicted ones.

    Raises:
        PlatformError: The API fails or denies access.
    """
    query = (("labelSelector", f"{SERVICE_LABEL}={name}"),)
    response = cluster.call("GET", PODS.path(namespace), query=query, rule=PODS.rule) or {}
    active = [pod for pod in response.get("items") or [] if not pod["metadata"].get("deletionTimestamp")]
    return [pod for pod in active if _status(pod).get("phase") not in ("Succeeded", "Failed")]


def digest_of(pod: Object) -> str:
    """Return the digest of the predictor that a pod was created from."""
    return str((pod["metadata"].get("annotations") or {}).get(APPLIED, ""))


def is_ready(pod: Object) -> bool:
    """Return whether a pod passes its readiness probes."""
    return any(item["type"] == "Ready" and item["status"] == "True" for item in _status(pod).get("conditions") or [])


def diagnose(cluster: Cluster, live: Object, own: list[Object]) -> Iterator[Diagnosis]:
    """Diagnose what keeps an InferenceService from being ready.

    Args:
        cluster: The cluster.
        live: The InferenceService.
        own: The pods of the predictor that was applied last.

    Yields:
        A diagnosis for each reason.
    """
    namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
    describe = f"kubectl describe isvc {name} -n {namespace}"
    failing = [
        condition
        for condition in _status(live).get("conditions") or []
        if condition["status"] == "False" and condition["type"] != "Stopped" and condition.get("reason") != RECONCILE_FAILED
    ]
    for condition in failing:
        if condition["type"] != "Ready" or len(failing) == 1:  # Ready only repeats the others
            yield Diagnosis(
                sentence(f"{condition['type']} is False", condition.get("reason"), condition.get("message")), describe
            )
    failed = (_status(live).get("modelStatus") or {}).get("lastFailureInfo") or {}
    if failed.get("reason"):
        yield Diagnosis(sentence("KServe", failed["reason"], failed.get("message")), describe)
    yield from _of_deployments(cluster, namespace, name)
    for pod in own:
        yield from _of_pod(cluster, namespace, pod)


def _of_deployments(cluster: Cluster, namespace: str, name: str) -> Iterator[Diagnosis]:
    """Diagnose a quota or policy that prevents pods: only the Deployment reports it."""
    query = (("labelSelector", f"{SERVICE_LABEL}={name}"),)
    response: Object = {}
    with contextlib.suppress(PlatformError):  # without permission, diagnose less
        response = cluster.call("GET", DEPLOYMENTS.path(namespace), query=query) or {}
    for deployment in response.get("items") or []:
        for condition in _status(deployment).get("conditions") or []:
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                text = sentence(f"deployment {deployment['metadata']['name']}", condition.get("reason"), condition.get("message"))
                object_name = "resourcequota" if "exceeded quota" in text else f"deployment {deployment['metadata']['name']}"
                yield Diagnosis(text, f"kubectl describe {object_name} -n {namespace}", permanent=True)


def _of_pod(cluster: Cluster, namespace: str, pod: Object) -> Iterator[Diagnosis]:
    name = pod["metadata"]["name"]
    describe = f"kubectl describe pod {name} -n {namespace}"
    for condition in _status(pod).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":  # not permanent: nodes may be added
            yield Diagnosis(sentence(f"pod {name}", condition.get("reason"), condition.get("message")), describe)
    for container in [*(_status(pod).get("initContainerStatuses") or []), *(_status(pod).get("containerStatuses") or [])]:
        reason, message, ended = _state(container)
        if not reason:
            continue
        text = sentence(f"pod {name}, container {container['name']}", reason, message)
        if not ended:
            yield Diagnosis(text, describe, reason in PERMANENT_REASONS)
            continue
        last = _last_log_lines(cluster, namespace, name, container["name"])
        more = f"kubectl logs {name} -c {container['name']} -n {namespace} --previous"
        yield Diagnosis(f"{text}; its last log lines: {last}" if last else text, more, reason in PERMANENT_REASONS)


def _state(container: Object) -> tuple[str, str, bool]:
    """Return (reason, message, whether it ran and ended) of a failing container; ("", "", False) for a healthy one."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    ended = (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    if waiting.get("reason") in FAILURE_REASONS:
        return waiting["reason"], str(waiting.get("message") or ""), bool(ended)
    if (container.get("state") or {}).get("terminated") and ended.get("exitCode"):
        return str(ended.get("reason") or "Error"), f"exit code {ended['exitCode']}", True
    return "", "", False


def _last_log_lines(cluster: Cluster, namespace: str, pod: str, container: str) -> str:
    query = (("container", container), ("tailLines", str(LOG_LINES)))
    log = ""
    with contextlib.suppress(PlatformError):  # without permission, or without a log yet
        log = cluster.call("GET", f"{PODS.path(namespace, pod)}/log", query=query)
    return " | ".join(line.strip() for line in str(log or "").splitlines() if line.strip())[:600]


def sentence(about: str, reason: object, message: object) -> str:
    """Return `ABOUT: REASON: MESSAGE` without what is empty, on one line."""
    text = " ".join(str(message or "").split())[:400]
    return ": ".join(filter(None, [about, str(reason or ""), text]))


def _status(item: Object) -> Object:
    return item.get("status") or {}
