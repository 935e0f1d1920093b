"""What the nodes of a cluster can hold, asked before a run begins: a pod that no node can hold waits for ever."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus

from mynah.core.errors import InputError, PlatformError
from mynah.core.progress import notify
from mynah.kubernetes.cluster import Cluster, Object
from mynah.kubernetes.errors import http_status
from mynah.kubernetes.quantities import amount

GIB = 1 << 30
PAGE = 500
UNKNOWN = Decimal("Infinity")  # what a node does not say: it refuses nothing
PASSING = "node.kubernetes.io/"  # taints of a node's state, which may pass: not-ready, disk-pressure
SHOW = "kubectl get nodes -o custom-columns=NAME:.metadata.name,CPU:.status.allocatable.cpu,MEMORY:.status.allocatable.memory"


@dataclass(frozen=True, slots=True)
class PodRequest:
    """What the pod of a step requests.

    Attributes:
        step: The step, for messages.
        cpu: Cores.
        memory: Bytes.
        label: KEY=VALUE of the nodes that it may run on; "" for any.
        tolerates: Keys of taints.
    """

    step: str
    cpu: Decimal
    memory: Decimal
    label: str = ""
    tolerates: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What it requests, in words."""
        return _text(self.cpu, self.memory)


@dataclass(frozen=True, slots=True)
class _Room:
    """A node, and what it has for pods: cores and bytes."""

    name: str
    cpu: Decimal
    memory: Decimal

    def holds(self, request: PodRequest) -> bool:
        return self.cpu >= request.cpu and self.memory >= request.memory

    @property
    def text(self) -> str:
        return _text(self.cpu, self.memory)


def require_room(cluster: Cluster, requests: Sequence[PodRequest], fix: str) -> None:
    """Check that some node can hold every step, and say where one has to wait for others to end.

    Args:
        cluster: The cluster of the run.
        requests: Of the steps' pods.
        fix: How a run requests less.

    Raises:
        InputError: No node can ever hold a step, and no autoscaler is known that may add one.
        PlatformError: The API fails.
    """
    response = get_allowed(cluster, "/api/v1/nodes")
    if not response:  # nodes cannot be listed, which needs a ClusterRole
        return
    nodes, used, waits = list(response.get("items") or []), _used(cluster), ""
    for request in sorted(requests, key=lambda each: (each.memory, each.cpu), reverse=True):
        suitable = [node for node in nodes if _takes(node, request)]
        rooms = [_room(node) for node in suitable]
        if not any(room.holds(request) for room in rooms):
            _refuse(cluster, request, rooms, fix)
        elif used and not waits:
            waits = _waits(request, [_room(node, used.get(node["metadata"]["name"])) for node in suitable])
    if waits:
        notify(f"no node has room now: {waits}; it waits until other pods end. {fix}, and it requests less", "warning")


def _refuse(cluster: Cluster, request: PodRequest, rooms: Sequence[_Room], fix: str) -> None:
    """Raise InputError for a step that none of these nodes can hold; with an autoscaler, which may add a larger one, only say so."""
    largest = _most(rooms)
    offered = f"the largest node, {largest.name}, has {largest.text} for pods" if largest else "no node takes its pod"
    if scaler := autoscaler(cluster):
        notify(f"the step {request.step} requests {request.text}; {offered}, and {scaler} may add a larger one", "warning")
        return
    raise InputError(
        f"no node can hold the step {request.step}, which requests {request.text}: {offered}", f"{fix}, or add a node: {SHOW}"
    )


def _waits(request: PodRequest, rooms: Sequence[_Room]) -> str:
    """Return which step waits for what; "" where a node has room now."""
    largest = _most(rooms)
    if not largest or any(room.holds(request) for room in rooms):
        return ""
    return f"the step {request.step} requests {request.text}, and {largest.name} has {largest.text} left"


def _most(rooms: Sequence[_Room]) -> _Room | None:
    return max(rooms, key=lambda each: (each.memory, each.cpu), default=None)


def autoscaler(cluster: Cluster) -> str:
    """Return the name of the autoscaler that adds nodes when pods wait for them; "" where none is known."""
    if get_allowed(cluster, "/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status"):
        return "the cluster autoscaler"
    return "Karpenter" if "nodepools" in cluster.kinds("karpenter.sh", "v1") else ""


def get_allowed(cluster: Cluster, path: str, query: tuple[tuple[str, str], ...] = ()) -> Object | None:
    """Return the object, {} for none; None without permission."""
    try:
        return cluster.call("GET", path, query=query) or {}
    except PlatformError as error:
        if http_status(error) != HTTPStatus.FORBIDDEN:
            raise
        return None


def _takes(node: Object, request: PodRequest) -> bool:
    """Return whether a pod may be scheduled to a node, whatever it has room for."""
    spec, labels = node.get("spec") or {}, node["metadata"].get("labels") or {}
    key, _, value = request.label.partition("=")
    taints = [taint for taint in spec.get("taints") or [] if taint.get("effect") in ("NoSchedule", "NoExecute")]
    closed = [taint for taint in taints if not taint["key"].startswith(PASSING) and taint["key"] not in request.tolerates]
    return not spec.get("unschedulable") and not closed and (not key or labels.get(key) == value)


def _room(node: Object, used: tuple[Decimal, Decimal] | None = None) -> _Room:
    """Return what a node has for pods, less what pods on it request."""
    allocatable, (cpu, memory) = (node.get("status") or {}).get("allocatable") or {}, used or (Decimal(0), Decimal(0))
    whole = [amount(allocatable[each]) if each in allocatable else UNKNOWN for each in ("cpu", "memory")]
    return _Room(node["metadata"]["name"], whole[0] - cpu, whole[1] - memory)


def _used(cluster: Cluster) -> dict[str, tuple[Decimal, Decimal]]:
    """Return the cores and bytes that pods request, by node; empty where they are too many to look at, or cannot be listed."""
    response = get_allowed(cluster, "/api/v1/pods", (("limit", str(PAGE)),))
    if not response or (response.get("metadata") or {}).get("continue"):
        return {}
    used: dict[str, tuple[Decimal, Decimal]] = {}
    for pod in response.get("items") or []:
        name = (pod.get("spec") or {}).get("nodeName", "")
        if name and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            before = used.get(name, (Decimal(0), Decimal(0)))
            used[name] = before[0] + _requested(pod, "cpu"), before[1] + _requested(pod, "memory")
    return used


def _requested(pod: Object, resource: str) -> Decimal:
    """Return what a pod requests: all its containers together, or its largest init container.

    https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
    """
    spec = pod["spec"]
    first = max(_amounts(spec.get("initContainers") or [], resource), default=Decimal(0))
    return max(first, sum(_amounts(spec.get("containers") or [], resource), Decimal(0)))


def _amounts(containers: Iterable[Object], resource: str) -> Iterator[Decimal]:
    for container in containers:
        yield amount(((container.get("resources") or {}).get("requests") or {}).get(resource, 0))


def _text(cpu: Decimal, memory: Decimal) -> str:
    cores = f"{max(cpu, Decimal(0)):.2f}".rstrip("0").rstrip(".")
    return f"{cores} {'core' if cores == '1' else 'cores'} and {max(memory, Decimal(0)) / GIB:.1f} GiB"
