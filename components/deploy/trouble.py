"""Why an InferenceService is not ready: its conditions, its pods' trouble and the last words of what failed in them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from components.cluster import Cluster, Object, Resource
from components.deploy.manifest import APPLIED
from components.errors import PlatformError

PODS = Resource("", "v1", "pods", ("get", "list"))
LOGS = Resource("", "v1", "pods/log", ("get",))
DEPLOYMENTS = Resource("apps", "v1", "deployments", ("list",))
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
# What the kubelet says of a container that will not start by waiting.
HOPELESS = frozenset(
    {"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CrashLoopBackOff", "CreateContainerConfigError"}
)
TELLING = HOPELESS | {"ErrImagePull", "CreateContainerError", "RunContainerError"}
LINES = 4  # of a log


@dataclass(frozen=True, slots=True)
class Trouble:
    """One reason; `hopeless` when waiting alone does not help, and the command that shows more."""

    text: str
    more: str
    hopeless: bool = False


def pods(cluster: Cluster, namespace: str, name: str) -> list[Object]:
    """The pods of an InferenceService, without those on their way out and those that ended, such as evicted ones."""
    query = (("labelSelector", f"{SERVICE_LABEL}={name}"),)
    found = cluster.call("GET", PODS.path(namespace), query=query, rule=PODS.rule) or {}
    there = [each for each in found.get("items") or [] if not each["metadata"].get("deletionTimestamp")]
    return [each for each in there if _status(each).get("phase") not in ("Succeeded", "Failed")]


def digest_of(pod: Object) -> str:
    """Which predictor a pod was made from."""
    return str((pod["metadata"].get("annotations") or {}).get(APPLIED, ""))


def is_ready(pod: Object) -> bool:
    """Whether a pod passes its readiness probes."""
    return any(each["type"] == "Ready" and each["status"] == "True" for each in _status(pod).get("conditions") or [])


def troubles(cluster: Cluster, live: Object, own: list[Object]) -> Iterator[Trouble]:
    """What keeps `live` from being ready; `own` are the pods that were made from what was applied last."""
    namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
    describe = f"kubectl describe isvc {name} -n {namespace}"
    failing = [each for each in _status(live).get("conditions") or [] if each["status"] == "False" and each["type"] != "Stopped"]
    for each in failing:
        if each["type"] != "Ready" or len(failing) == 1:  # Ready only repeats the others
            yield Trouble(_sentence(f"{each['type']} is False", each.get("reason"), each.get("message")), describe)
    failed = (_status(live).get("modelStatus") or {}).get("lastFailureInfo") or {}
    if failed.get("reason"):
        yield Trouble(_sentence("KServe", failed["reason"], failed.get("message")), describe)
    yield from _of_deployments(cluster, namespace, name)
    for pod in own:
        yield from _of_pod(cluster, namespace, pod)


def _of_deployments(cluster: Cluster, namespace: str, name: str) -> Iterator[Trouble]:
    """A quota or a policy lets no pod be made: the Deployment alone says so."""
    query = (("labelSelector", f"{SERVICE_LABEL}={name}"),)
    found: Object = {}
    with contextlib.suppress(PlatformError):  # a user who may not look is told less
        found = cluster.call("GET", DEPLOYMENTS.path(namespace), query=query) or {}
    for deployment in found.get("items") or []:
        for each in _status(deployment).get("conditions") or []:
            if each["type"] == "ReplicaFailure" and each["status"] == "True":
                said = _sentence(f"deployment {deployment['metadata']['name']}", each.get("reason"), each.get("message"))
                about = "resourcequota" if "exceeded quota" in said else f"deployment {deployment['metadata']['name']}"
                yield Trouble(said, f"kubectl describe {about} -n {namespace}", hopeless=True)


def _of_pod(cluster: Cluster, namespace: str, pod: Object) -> Iterator[Trouble]:
    name = pod["metadata"]["name"]
    describe = f"kubectl describe pod {name} -n {namespace}"
    for each in _status(pod).get("conditions") or []:
        if each["type"] == "PodScheduled" and each["status"] == "False":  # hope remains: nodes are added
            yield Trouble(_sentence(f"pod {name}", each.get("reason"), each.get("message")), describe)
    for container in [*(_status(pod).get("initContainerStatuses") or []), *(_status(pod).get("containerStatuses") or [])]:
        reason, message, ended = _state(container)
        if not reason:
            continue
        text = _sentence(f"pod {name}, container {container['name']}", reason, message)
        if not ended:
            yield Trouble(text, describe, reason in HOPELESS)
            continue
        last = _last_words(cluster, namespace, name, container["name"])
        more = f"kubectl logs {name} -c {container['name']} -n {namespace} --previous"
        yield Trouble(f"{text}; its last words: {last}" if last else text, more, reason in HOPELESS)


def _state(container: Object) -> tuple[str, str, bool]:
    """(reason, message, whether it ran and ended) of a container in trouble; ("", "", False) for one that is well."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    ended = (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    if waiting.get("reason") in TELLING:
        return waiting["reason"], str(waiting.get("message") or ""), bool(ended)
    if (container.get("state") or {}).get("terminated") and ended.get("exitCode"):
        return str(ended.get("reason") or "Error"), f"exit code {ended['exitCode']}", True
    return "", "", False


def _last_words(cluster: Cluster, namespace: str, pod: str, container: str) -> str:
    query = (("container", container), ("tailLines", str(LINES)))
    said = ""
    with contextlib.suppress(PlatformError):  # a user who may not look is told less, and a container may have no log yet
        said = cluster.call("GET", f"{PODS.path(namespace, pod)}/log", query=query)
    return " | ".join(line.strip() for line in str(said or "").splitlines() if line.strip())[:600]


def _sentence(about: str, reason: object, message: object) -> str:
    said = " ".join(str(message or "").split())[:400]
    return ": ".join(filter(None, [about, str(reason or ""), said]))


def _status(found: Object) -> Object:
    return found.get("status") or {}
