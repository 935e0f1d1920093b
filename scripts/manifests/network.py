"""Invariants of the network: every policy selects pods, and exactly the connections that are needed are open."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.placement import LABELS
from scripts.manifests.objects import (
    GATEWAY_NAME,
    KUBEFLOW,
    NAME_LABEL,
    Fault,
    Labels,
    Manifests,
    Object,
    Pod,
    deployed_bot,
    namespace_of,
    selects,
    where,
)

ASKS = "mynah.dev/asks"  # the pods of a namespace with this label may send requests to the servers: k8s/README.md


@dataclass(frozen=True, slots=True)
class Party:
    """A pod on the network, of ours or of others."""

    name: str
    namespace: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection from one party to another at a port, and whether it must be open or closed."""

    source: str
    target: str
    port: int
    is_open: bool = True


# A rendering is checked against those connections whose both ends it has.
CONNECTIONS = (
    Connection("mlflow", "dns", 53),
    Connection("aviary", "dns", 53),
    Connection("step", "dns", 53),
    Connection("aviary", "mlflow", 5000),
    Connection("step", "mlflow", 5000),
    Connection("stranger", "mlflow", 5000, is_open=False),
    Connection("mlflow", "postgres", 5432),
    Connection("aviary", "postgres", 5432, is_open=False),
    Connection("step", "postgres", 5432, is_open=False),
    Connection("mlflow", "s3", 8333),
    Connection("aviary", "s3", 8333),
    Connection("step", "s3", 8333),
    Connection("bot", "s3", 8333),
    Connection("stranger", "s3", 8333, is_open=False),
    Connection("s3", "postgres", 5432, is_open=False),
    Connection("s3", "mlflow", 5000, is_open=False),
    Connection("postgres", "s3", 8333, is_open=False),
    Connection("bot", "mlflow", 5000, is_open=False),
    Connection("guest", "aviary", 8080),
    Connection("guest", "aviary", 8081),
    Connection("guest", "mlflow", 5000, is_open=False),
    Connection("guest", "bot", 8080),
    Connection("guest", "aviary", 8082, is_open=False),
    Connection("stranger", "aviary", 8080, is_open=False),
    Connection("stranger", "bot", 8080, is_open=False),
    Connection("prometheus", "aviary", 8082),
    Connection("prometheus", "bot", 8082),
    Connection("prometheus", "aviary", 8080, is_open=False),
    Connection("gateway", "aviary", 8080),
    Connection("gateway", "aviary", 8082, is_open=False),
    Connection("gateway", "bot", 8080, is_open=False),
    Connection("gateway", "mlflow", 5000, is_open=False),
    Connection("stranger", "step", 8080, is_open=False),
    Connection("stranger", "gateway", 443),
    Connection("stranger", "gateway", 15020, is_open=False),
    Connection("waker", "gateway", 15020),
    Connection("deploying step", "bot", 8080),
    Connection("deploying step", "bot", 8081, is_open=False),
    Connection("other step", "bot", 8080, is_open=False),
    Connection("step", "aviary", 8080, is_open=False),
    Connection("mlflow", "aviary", 8080, is_open=False),
    Connection("mlflow", "bot", 8080, is_open=False),
    Connection("aviary", "bot", 8080, is_open=False),
    Connection("bot", "aviary", 8080, is_open=False),
    Connection("bot", "postgres", 5432, is_open=False),
    Connection("stranger", "postgres", 5432, is_open=False),
    Connection("guest", "postgres", 5432, is_open=False),
    Connection("guest", "s3", 8333, is_open=False),
    Connection("training node", "training node", 29500),
    Connection("training node", "training node", 41234),  # gloo and NCCL choose their ports
    Connection("training node", "dns", 53),
    Connection("training node", "s3", 8333),
    Connection("step", "training node", 29500, is_open=False),
    Connection("stranger", "training node", 29500, is_open=False),
)


def policies_mean_something(manifests: Manifests) -> Iterator[Fault]:
    """Every NetworkPolicy and every peer of it selects existing pods; every namespace of ours denies traffic by default."""
    everybody = parties(manifests)
    for policy in manifests.of("NetworkPolicy"):
        namespace = namespace_of(policy)
        near = [party for party in everybody if party.namespace == namespace]
        if not [party for party in near if selects(policy["spec"]["podSelector"], party.labels)]:
            yield Fault(where(policy), f"it means no pod in {namespace}", "Correct its podSelector.")
        for peer in _peers(policy):
            if "ipBlock" not in peer and not [party for party in everybody if _is(peer, party, namespace, manifests)]:
                yield Fault(where(policy), f"its peer {peer} is nobody", "Correct the selectors.")
    for own in manifests.of("Namespace"):
        if not manifests.find("NetworkPolicy", "default-deny", own["metadata"]["name"]):
            yield Fault(where(own), "it has no NetworkPolicy default-deny", "Add base/network.")


def ways_are_open_or_closed(manifests: Manifests) -> Iterator[Fault]:
    """The connections that are needed are open, and all others are closed."""
    by_name = {party.name: party for party in parties(manifests)}
    for connection in CONNECTIONS:
        if {connection.source, connection.target} <= by_name.keys():
            source, target = by_name[connection.source], by_name[connection.target]
            if _allowed(manifests, source, target, connection.port) is not connection.is_open:
                state = "closed" if connection.is_open else "open"
                yield Fault(
                    f"{connection.source} to {connection.target}:{connection.port}",
                    f"the way is {state}",
                    "Correct the NetworkPolicies.",
                )


def parties(manifests: Manifests) -> list[Party]:
    """Return our pods and those that others create: bots of `mynah deploy`, steps of pipelines, Istio, Prometheus, strangers."""
    everybody = [Party(_name(pod), pod.namespace, pod.labels) for pod in manifests.pods]
    everybody += [Party("bot", deployed_bot().namespace, deployed_bot().labels)]
    everybody += [Party("dns", "kube-system", {"k8s-app": "kube-dns"}), Party("step", KUBEFLOW, LABELS)]
    everybody += [Party("stranger", "somewhere", {}), Party("guest", "guests", {})]
    everybody += [
        Party("deploying step" if manifests.find("Role", "mynah-serve-in", "mynah") else "other step", KUBEFLOW, LABELS)
    ]
    everybody += [Party("prometheus", "monitoring", {})] * bool(manifests.of("PodMonitor"))
    everybody += [Party("waker", "monitoring", {})] * bool(manifests.of("ScaledObject"))  # Prometheus, of what wakes the aviary
    for gateway in manifests.of("Gateway"):
        labels = {GATEWAY_NAME: gateway["metadata"]["name"]}
        everybody += [Party("gateway", namespace_of(gateway), labels), Party("istiod", "istio-system", {})]
    return everybody


def _name(pod: Pod) -> str:
    return "training node" if pod.owner["kind"] == "TrainingRuntime" else str(pod.owner["metadata"]["name"])


def _allowed(manifests: Manifests, source: Party, target: Party, port: int) -> bool:
    """Return whether the policies allow a connection: egress from its source, and ingress to its target.

    https://kubernetes.io/docs/concepts/services-networking/network-policies/
    """
    return _passes(manifests, source, target, port, "Egress") and _passes(manifests, target, source, port, "Ingress")


def _passes(manifests: Manifests, own: Party, other: Party, port: int, direction: str) -> bool:
    policies = [
        policy
        for policy in manifests.of("NetworkPolicy")
        if namespace_of(policy) == own.namespace
        and direction in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], own.labels)
    ]
    rules = [(policy, rule) for policy in policies for rule in policy["spec"].get(direction.lower()) or []]
    side = "to" if direction == "Egress" else "from"
    return not policies or any(
        _at(rule, port) and (side not in rule or any(_is(peer, other, namespace_of(policy), manifests) for peer in rule[side]))
        for policy, rule in rules
    )


def _at(rule: Object, port: int) -> bool:
    return not rule.get("ports") or port in [entry.get("port") for entry in rule["ports"]]


def _is(peer: Object, party: Party, namespace: str, manifests: Manifests) -> bool:
    """Return whether a peer of a policy in `namespace` selects a party; an address range selects none."""
    if "ipBlock" in peer:
        return False
    if "namespaceSelector" in peer:
        inside = selects(peer["namespaceSelector"], _labels_of(party.namespace, manifests))
    else:
        inside = party.namespace == namespace
    return inside and selects(peer.get("podSelector"), party.labels)


def _labels_of(namespace: str, manifests: Manifests) -> Labels:
    manifest = manifests.find("Namespace", namespace) or {"metadata": {}}
    asks = {ASKS: "true"} if namespace == "guests" and ASKS in manifests.readme else {}
    return (manifest["metadata"].get("labels") or {}) | {NAME_LABEL: namespace} | asks


def _peers(policy: Object) -> Iterator[Object]:
    for side, direction in (("from", "ingress"), ("to", "egress")):
        for rule in policy["spec"].get(direction) or []:
            yield from rule.get(side) or []
