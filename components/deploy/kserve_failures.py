"""What KServe says that it cannot do, and no wait changes: it ends the wait for an InferenceService at once, with KServe's words.

Read in KServe 0.20 and 0.21, pkg/controller/v1beta1/inferenceservice/{controller,components/predictor}.go: what a reconciliation fails with is in
a condition whose reason is ReconcileFailed, or only in an event InternalError, such as a storageUri that is not supported. Neither names
the generation that it is about, so that what was there before a change says nothing about it.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from components.deploy.diagnostics import RECONCILE_FAILED, Diagnosis, sentence
from mynah.core.errors import PlatformError
from mynah.kubernetes.cluster import Cluster, Object, Resource

EVENTS = Resource("", "v1", "events", ("list",))
STOP = "serving.kserve.io/stop"
# Which errors of a reconciliation KServe's controller gets over by itself: it tries again.
PASSING = (
    "has been modified", "timeout", "timed out", "deadline exceeded", "connection refused", "failed calling webhook", "already exists",
)  # fmt: skip
# Which events tell an error that stays; others, such as conflicts of writers, are told by InternalError too.
STAYING = (
    "not supported", "does not support", "is immutable", "invalid domain name", "is invalid", "is disabled", "not available",
)  # fmt: skip
REASONS = ("InternalError", "ServerlessModeRejected")


@dataclass(frozen=True, slots=True)
class Before:
    """What KServe had reported of an InferenceService before it was changed."""

    conditions: frozenset[tuple[str, ...]] = frozenset()
    events: frozenset[tuple[str, int]] = frozenset()


def reported_before(cluster: Cluster, namespace: str, name: str, live: Object | None) -> Before:
    """Return what KServe reports now, for `final_failures` to leave out later.

    Args:
        cluster: The cluster.
        namespace: The namespace.
        name: The InferenceService.
        live: The InferenceService; None where there is none yet.
    """
    conditions = frozenset(map(_identity, _reconcile_failed(live or {})))
    return Before(conditions, frozenset(map(_occurrence, _events(cluster, namespace, name))))


def with_repetitions(before: Before, cluster: Cluster, namespace: str, name: str) -> Before:
    """Return what had been reported before a change, with repetitions of it: KServe may not have seen the change yet, and tried again.

    Args:
        before: What had been reported.
        cluster: The cluster.
        namespace: The namespace.
        name: The InferenceService.
    """
    known = {uid for uid, _ in before.events}
    repeated = {each for each in map(_occurrence, _events(cluster, namespace, name)) if each[0] in known}
    return Before(before.conditions, before.events | repeated)


def final_failures(cluster: Cluster, live: Object, before: Before) -> Iterator[Diagnosis]:
    """Yield what KServe cannot do for an InferenceService.

    Args:
        cluster: The cluster.
        live: The InferenceService.
        before: What was reported before it was changed.

    Yields:
        A diagnosis for each reason; `final` unless KServe may get over it, or it may be about an earlier state.
    """
    namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
    more = f"kubectl describe isvc {name} -n {namespace}"
    if is_stopped(live):
        yield Diagnosis(f"its annotation {STOP} stops it", more, permanent=True, final=True, fix=resume(live))
    told = ""
    for condition in _reconcile_failed(live):
        message = str(condition.get("message", ""))
        stays = not any(words in message for words in PASSING)
        is_new = _identity(condition) not in before.conditions
        told += message if is_new else ""
        text = sentence(f"{condition['type']} is False", RECONCILE_FAILED, message)
        yield Diagnosis(text, more, permanent=stays, final=stays and is_new, fix=_fix(message, namespace))
    for event in _events(cluster, namespace, name):
        message = str(event.get("message", ""))
        if message in told or _occurrence(event) in before.events or not _is_about(event, live):
            continue
        if any(words in message for words in STAYING) and not any(words in message for words in PASSING):
            text = sentence("KServe", event.get("reason"), message)
            yield Diagnosis(text, more, permanent=True, final=True, fix=_fix(message, namespace))


def is_stopped(live: Object) -> bool:
    """Return whether somebody stopped an InferenceService: KServe then removes its pods."""
    return str((live["metadata"].get("annotations") or {}).get(STOP, "")).lower() == "true"


def resume(live: Object) -> str:
    """Return how to start a stopped InferenceService again."""
    metadata = live["metadata"]
    return f"Start it again, and deploy: kubectl annotate isvc {metadata['name']} -n {metadata['namespace']} {STOP}-"


def _fix(message: str, namespace: str) -> str:
    deployment = re.search(r'Deployment\.apps "([^"]+)" is invalid: spec\.selector', message)
    if deployment and "immutable" in message:
        return (
            f"KServe cannot change it: kubectl delete deployment {deployment[1]} -n {namespace}, and KServe creates it anew; its pods are "
            "away meanwhile."
        )
    if "invalid domain name" in message:
        return (
            "Use a shorter name or namespace, or change domainTemplate in the `ingress` part of KServe's inferenceservice-config."
        )
    return ""


def _reconcile_failed(live: Object) -> list[Object]:
    """Return the conditions of components that could not be reconciled; Ready only repeats them."""
    conditions = [
        condition
        for condition in (live.get("status") or {}).get("conditions") or []
        if condition.get("reason") == RECONCILE_FAILED and condition["status"] == "False"
    ]
    return [condition for condition in conditions if condition["type"] != "Ready" or len(conditions) == 1]


def _events(cluster: Cluster, namespace: str, name: str) -> list[Object]:
    """Return warnings about an InferenceService, of the last hour; none without permission."""
    query = (("fieldSelector", f"involvedObject.kind=InferenceService,involvedObject.name={name}"),)
    response: Object = {}
    with contextlib.suppress(PlatformError):
        response = cluster.call("GET", EVENTS.path(namespace), query=query) or {}
    return [event for event in response.get("items") or [] if event.get("type") == "Warning" and event.get("reason") in REASONS]


def _is_about(event: Object, live: Object) -> bool:
    """Return whether an event is about this very object, and not about a deleted one of the same name."""
    uid = (event.get("involvedObject") or {}).get("uid")
    return not uid or uid == live["metadata"].get("uid")


def _identity(condition: Object) -> tuple[str, ...]:
    return tuple(str(condition.get(key, "")) for key in ("type", "reason", "message", "lastTransitionTime"))


def _occurrence(event: Object) -> tuple[str, int]:
    """Return an event and how often it occurred: a repetition is the same object with a higher count."""
    return str(event["metadata"].get("uid", "")), int(event.get("count") or (event.get("series") or {}).get("count") or 1)
