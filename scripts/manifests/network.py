"""Invariants of the network: policies mean something, and exactly the ways that are needed are open."""

from collections.abc import Iterator
from dataclasses import dataclass

from scripts.manifests.objects import (
    GATEWAY_NAME,
    KUBEFLOW,
    Fault,
    Labels,
    Manifests,
    Object,
    deployed_bot,
    namespace_of,
    selects,
    where,
)

NAME_LABEL = "kubernetes.io/metadata.name"  # Kubernetes puts it on every namespace
ASKS = "mynah.dev/asks"  # who labels a namespace with it may ask the servers: k8s/README.md


@dataclass(frozen=True, slots=True)
class Party:
    """A pod on the network, whoever makes it."""

    name: str
    namespace: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class Way:
    """From whom to whom at which port; whether it must be open, or closed."""

    source: str
    target: str
    port: int
    is_open: bool = True


# Of these, the ones whose both ends a rendering has.
WAYS = (
    Way("mlflow", "dns", 53), Way("aviary", "dns", 53), Way("step", "dns", 53),
    Way("aviary", "mlflow", 5000), Way("step", "mlflow", 5000), Way("stranger", "mlflow", 5000, is_open=False),
    Way("mlflow", "postgres", 5432), Way("aviary", "postgres", 5432, is_open=False), Way("step", "postgres", 5432, is_open=False),
    Way("mlflow", "s3", 8333), Way("aviary", "s3", 8333), Way("step", "s3", 8333), Way("bot", "s3", 8333),
    Way("stranger", "s3", 8333, is_open=False), Way("s3", "postgres", 5432, is_open=False), Way("s3", "mlflow", 5000, is_open=False),
    Way("postgres", "s3", 8333, is_open=False), Way("bot", "mlflow", 5000, is_open=False),
    Way("guest", "aviary", 8080), Way("guest", "aviary", 8081), Way("guest", "mlflow", 5000, is_open=False),
    Way("guest", "bot", 8080), Way("guest", "aviary", 8082, is_open=False),
    Way("stranger", "aviary", 8080, is_open=False), Way("stranger", "bot", 8080, is_open=False),
    Way("prometheus", "aviary", 8082), Way("prometheus", "bot", 8082), Way("prometheus", "aviary", 8080, is_open=False),
    Way("gateway", "aviary", 8080), Way("gateway", "aviary", 8082, is_open=False), Way("gateway", "bot", 8080, is_open=False),
    Way("gateway", "mlflow", 5000, is_open=False), Way("stranger", "step", 8080, is_open=False),
    Way("stranger", "gateway", 443), Way("stranger", "gateway", 15020, is_open=False), Way("waker", "gateway", 15020),
    Way("deploying step", "bot", 8080), Way("deploying step", "bot", 8081, is_open=False), Way("other step", "bot", 8080, is_open=False),
    Way("step", "aviary", 8080, is_open=False),
)  # fmt: skip


def policies_mean_something(manifests: Manifests) -> Iterator[Fault]:
    """Each NetworkPolicy means pods that there are, and each peer of it too; every namespace of ours denies what none opens."""
    everybody = parties(manifests)
    for policy in manifests.of("NetworkPolicy"):
        namespace = namespace_of(policy)
        near = [each for each in everybody if each.namespace == namespace]
        if not [each for each in near if selects(policy["spec"]["podSelector"], each.labels)]:
            yield Fault(where(policy), f"it means no pod in {namespace}", "Correct its podSelector.")
        for peer in _peers(policy):
            if "ipBlock" not in peer and not [each for each in everybody if _is(peer, each, namespace, manifests)]:
                yield Fault(where(policy), f"its peer {peer} is nobody", "Correct the selectors.")
    for own in manifests.of("Namespace"):
        if not manifests.find("NetworkPolicy", "default-deny", own["metadata"]["name"]):
            yield Fault(where(own), "it has no NetworkPolicy default-deny", "Add base/network.")


def ways_are_open_or_closed(manifests: Manifests) -> Iterator[Fault]:
    """What must talk can, and what need not cannot."""
    by_name = {each.name: each for each in parties(manifests)}
    for way in WAYS:
        if {way.source, way.target} <= by_name.keys():
            source, target = by_name[way.source], by_name[way.target]
            if _allowed(manifests, source, target, way.port) is not way.is_open:
                state = "closed" if way.is_open else "open"
                yield Fault(f"{way.source} to {way.target}:{way.port}", f"the way is {state}", "Correct the NetworkPolicies.")


def parties(manifests: Manifests) -> list[Party]:
    """Our pods, and those that others make: `mynah deploy` of a bot, Kubeflow of the pipelines' steps, Istio, Prometheus, strangers."""
    from pipelines.placing import LABELS

    found = [Party(pod.owner["metadata"]["name"], pod.namespace, pod.labels) for pod in manifests.pods]
    found += [Party("bot", deployed_bot().namespace, deployed_bot().labels)]
    found += [Party("dns", "kube-system", {"k8s-app": "kube-dns"}), Party("step", KUBEFLOW, LABELS)]
    found += [Party("stranger", "somewhere", {}), Party("guest", "guests", {})]
    found += [Party("deploying step" if manifests.find("Role", "mynah-serve-in", "mynah") else "other step", KUBEFLOW, LABELS)]
    found += [Party("prometheus", "monitoring", {})] * bool(manifests.of("PodMonitor"))
    found += [Party("waker", "monitoring", {})] * bool(manifests.of("ScaledObject"))  # Prometheus, of what wakes the aviary
    for gateway in manifests.of("Gateway"):
        labels = {GATEWAY_NAME: gateway["metadata"]["name"]}
        found += [Party("gateway", namespace_of(gateway), labels), Party("istiod", "istio-system", {})]
    return found


def _allowed(manifests: Manifests, source: Party, target: Party, port: int) -> bool:
    """Whether the policies let it pass: out of the one, and into the other
    (https://kubernetes.io/docs/concepts/services-networking/network-policies/)."""
    return _passes(manifests, source, target, port, "Egress") and _passes(manifests, target, source, port, "Ingress")


def _passes(manifests: Manifests, own: Party, other: Party, port: int, direction: str) -> bool:
    policies = [
        each
        for each in manifests.of("NetworkPolicy")
        if namespace_of(each) == own.namespace
        and direction in each["spec"]["policyTypes"]
        and selects(each["spec"]["podSelector"], own.labels)
    ]
    rules = [(each, rule) for each in policies for rule in each["spec"].get(direction.lower()) or []]
    side = "to" if direction == "Egress" else "from"
    return not policies or any(
        _at(rule, port) and (side not in rule or any(_is(peer, other, namespace_of(each), manifests) for peer in rule[side]))
        for each, rule in rules
    )


def _at(rule: Object, port: int) -> bool:
    return not rule.get("ports") or port in [each.get("port") for each in rule["ports"]]


def _is(peer: Object, party: Party, namespace: str, manifests: Manifests) -> bool:
    """Whether a policy in `namespace` means a party by this peer; an address range means none of them."""
    if "ipBlock" in peer:
        return False
    if "namespaceSelector" in peer:
        inside = selects(peer["namespaceSelector"], _labels_of(party.namespace, manifests))
    else:
        inside = party.namespace == namespace
    return inside and selects(peer.get("podSelector"), party.labels)


def _labels_of(namespace: str, manifests: Manifests) -> Labels:
    found = manifests.find("Namespace", namespace) or {"metadata": {}}
    asks = {ASKS: "true"} if namespace == "guests" and ASKS in manifests.told else {}
    return (found["metadata"].get("labels") or {}) | {NAME_LABEL: namespace} | asks


def _peers(policy: Object) -> Iterator[Object]:
    for side, direction in (("from", "ingress"), ("to", "egress")):
        for rule in policy["spec"].get(direction) or []:
            yield from rule.get(side) or []
