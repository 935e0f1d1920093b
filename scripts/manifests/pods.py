"""Invariants of pods: their images, users, resources, probes and shutdown."""

import re
from collections.abc import Iterator
from decimal import Decimal

from mynah.kubernetes.quantities import amount
from scripts.manifests.objects import Fault, Manifests, Object, Pod, namespace_of, selects, where

DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
ISTIO_CONFINED = "gateways.seccompProfile.type=RuntimeDefault"  # an option of Istio's installation, for the pods of every Gateway
FLUSHING = 5  # seconds after its grace period in which the server sends the rest of its responses: serving/server.py


def images_are_pinned(manifests: Manifests) -> Iterator[Fault]:
    """Every image has a digest, or a tag that is a version."""
    for at, container in _containers(manifests):
        image = container.get("image", "")
        tag = image.rpartition("/")[2].partition(":")[2]
        if not DIGEST.fullmatch(image) and (not any(map(str.isdigit, tag)) or tag.startswith("latest")):
            yield Fault(at, f"the image {image!r} does not say which version", "Set newTag or digest under `images:`.")


def resources_are_set(manifests: Manifests) -> Iterator[Fault]:
    """Every container requests CPU and memory, and has limits that are not below the requests."""
    for at, container in _containers(manifests):
        resources = container.get("resources") or {}
        for what in ("cpu", "memory"):
            asked, most = ((resources.get(kind) or {}).get(what) for kind in ("requests", "limits"))
            if asked is None or most is None:
                yield Fault(at, f"{container['name']} has no request or no limit of {what}", "Set resources.")
            elif amount(asked) > amount(most):
                yield Fault(at, f"{container['name']} asks for {asked} of {what}, over its limit {most}", "Raise the limit.")


def pods_are_restricted(manifests: Manifests) -> Iterator[Fault]:
    """Every pod meets Pod Security's level "restricted", and has a read-only root file system.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    for pod in manifests.pods:
        general = pod.spec.get("securityContext") or {}
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(key):
                yield Fault(pod.where, f"{key} is on", "Take it out.")
        for volume in pod.spec.get("volumes") or []:
            if "hostPath" in volume:
                yield Fault(pod.where, f"the volume {volume['name']} is a folder of the node", "Use an emptyDir or a claim.")
        for container in pod.containers:
            for problem in _unrestricted(general, container):
                yield Fault(pod.where, f"{container['name']}: {problem}", "See base/mlflow/deployment.yaml for all of it.")
    for gateway in manifests.of("Gateway"):
        if ISTIO_CONFINED not in manifests.readme:
            yield Fault(where(gateway), "Istio's proxies have no seccomp profile", f"k8s/README.md: --set {ISTIO_CONFINED}.")


def _unrestricted(general: Object, container: Object) -> Iterator[str]:
    own = container.get("securityContext") or {}
    either = general | own
    if either.get("runAsNonRoot") is not True or either.get("runAsUser") == 0:
        yield "it may run as root"
    if (either.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "it has no seccomp profile"
    if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
        yield "it may gain privileges"
    if (own.get("capabilities") or {}).get("drop") != ["ALL"] or (own.get("capabilities") or {}).get("add"):
        yield "it keeps capabilities"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "its root file system can be written"


def tokens_stay_out(manifests: Manifests) -> Iterator[Fault]:
    """No server has a token of Kubernetes' API, since none uses the API."""
    for pod in manifests.pods:
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield Fault(pod.where, "its pods get a token of Kubernetes' API", "Set automountServiceAccountToken: false.")


def servers_are_probed(manifests: Manifests) -> Iterator[Fault]:
    """Every server has the three probes, at ports that it has; the readiness of bots is probed at a path that needs a loaded bot."""
    for pod in (candidate for candidate in manifests.pods if candidate.is_server):
        for container in pod.spec.get("containers") or []:
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                if not (probe := container.get(kind)):
                    yield Fault(pod.where, f"{container['name']} has no {kind}", "Add it.")
                elif not _answers(probe, container):
                    yield Fault(pod.where, f"the {kind} of {container['name']} asks a port that it does not have", "Correct it.")
        if pod.owner["kind"] == "InferenceService":
            yield from _asks_for_readiness(pod)


def _answers(probe: Object, container: Object) -> bool:
    port = next((probe[kind]["port"] for kind in ("httpGet", "tcpSocket", "grpc") if kind in probe), None)
    ports = container.get("ports") or []
    return port is None or port in [port_entry.get("name") for port_entry in ports] + [
        port_entry["containerPort"] for port_entry in ports
    ]


def _asks_for_readiness(pod: Pod) -> Iterator[Fault]:
    single = "model" in pod.owner["spec"]["predictor"]
    path = f"/v2/models/{pod.owner['metadata']['name']}/ready" if single else "/v2/health/ready"
    for container in pod.spec.get("containers") or []:
        asked = ((container.get("readinessProbe") or {}).get("httpGet") or {}).get("path")
        if asked is not None and asked != path:
            yield Fault(pod.where, f"its readiness is asked at {asked}", f"Ask {path}.")


def servers_drain_in_time(manifests: Manifests) -> Iterator[Fault]:
    """Kubernetes' grace period is longer than preStop, the server's own grace period and its flushing together."""
    for pod in (candidate for candidate in manifests.pods if candidate.is_server):
        allowed = pod.spec.get("terminationGracePeriodSeconds", 30)
        for container in pod.spec.get("containers") or []:
            words = [*(container.get("command") or []), *(container.get("args") or [])]
            before = ((container.get("lifecycle") or {}).get("preStop") or {}).get("sleep", {}).get("seconds", 0)
            if words[:2] == ["mynah", "serve"] and not before:
                yield Fault(pod.where, f"{container['name']} gets requests while it already refuses them", "Add preStop.sleep.")
            grace = next((float(word.removeprefix("--grace=")) for word in words if word.startswith("--grace=")), 0)
            takes = before + grace + (FLUSHING if grace else 0)
            if takes >= allowed:
                yield Fault(
                    pod.where, f"it drains {takes:.0f} s and is killed after {allowed}", "Raise terminationGracePeriodSeconds."
                )


def servers_spread(manifests: Manifests) -> Iterator[Fault]:
    """Servers of bots are spread over nodes, by a selector that selects their own pods."""
    for pod in manifests.pods:
        constraints = pod.spec.get("topologySpreadConstraints") or []
        if pod.owner["kind"] == "InferenceService" and not constraints:
            yield Fault(pod.where, "its pods may all be on one node", "Add topologySpreadConstraints.")
        for constraint in constraints:
            if not selects(constraint.get("labelSelector"), pod.labels):
                yield Fault(
                    pod.where, f"it spreads by {constraint.get('labelSelector')}, which its pods do not have", "Correct it."
                )


def everything_fits_the_quota(manifests: Manifests) -> Iterator[Fault]:
    """The maximum number of pods, plus one of every kind during an update, fits the ResourceQuota of their namespace."""
    for quota in manifests.of("ResourceQuota"):
        pods = [pod for pod in manifests.pods if pod.namespace == namespace_of(quota)]
        for what, most in quota["spec"]["hard"].items():
            kind, _, resource = what.partition(".")
            if kind not in ("requests", "limits") or resource not in ("cpu", "memory"):
                continue
            takes = sum((_takes(pod, kind, resource) for pod in pods), Decimal(0))
            if takes > amount(most):
                yield Fault(where(quota), f"{what} is {most}, and the pods take up to {takes:,.1f}", "Raise it.")


def _takes(pod: Pod, kind: str, resource: str) -> Decimal:
    spec = pod.owner["spec"]
    replicas = spec["predictor"].get("maxReplicas", 1) if "predictor" in spec else spec.get("replicas", 1)
    resources = [(container.get("resources") or {}).get(kind) or {} for container in pod.spec.get("containers") or []]
    return sum((amount(amounts.get(resource, 0)) for amounts in resources), Decimal(0)) * int(replicas + 1)


def requested(pod: Pod) -> tuple[Decimal, Decimal]:
    """Return the cores and bytes that all of a pod's least replicas request."""
    spec = pod.owner["spec"]
    replicas = spec["predictor"].get("minReplicas", 1) if "predictor" in spec else spec.get("replicas", 1)
    requests = [(container.get("resources") or {}).get("requests") or {} for container in pod.spec.get("containers") or []]
    cpu, memory = (
        sum((amount(each.get(what, 0)) for each in requests), Decimal(0)) * int(replicas) for what in ("cpu", "memory")
    )
    return cpu, memory


def _containers(manifests: Manifests) -> Iterator[tuple[str, Object]]:
    for pod in manifests.pods:
        for container in pod.containers:
            yield pod.where, container
    for runtime in manifests.of("ServingRuntime"):
        for container in runtime["spec"]["containers"]:
            yield where(runtime), container
