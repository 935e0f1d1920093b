"""Invariants of Kueue's queues: a run that names one is admitted some day."""

from collections.abc import Iterator

from components.deploy.preflight import GPU, POOL
from scripts.manifests.objects import NAME_LABEL, Fault, Manifests, Object, namespace_of, selects, where


def queues_lead_to_quota(manifests: Manifests) -> Iterator[Fault]:
    """Every LocalQueue has a ClusterQueue that admits its namespace, with flavors that exist and quotas for all that it covers."""
    for queue in manifests.of("LocalQueue"):
        name = queue["spec"]["clusterQueue"]
        target = manifests.find("ClusterQueue", name)
        if target is None:
            yield Fault(where(queue), f"there is no ClusterQueue {name!r}", "Add it, or correct clusterQueue.")
        elif not selects(target["spec"]["namespaceSelector"], {NAME_LABEL: namespace_of(queue)}):
            yield Fault(where(target), f"it admits nothing from {namespace_of(queue)}", "Correct its namespaceSelector.")
    for queue in manifests.of("ClusterQueue"):
        for group in queue["spec"]["resourceGroups"]:
            yield from _without_quota(manifests, queue, group)


def _without_quota(manifests: Manifests, queue: Object, group: Object) -> Iterator[Fault]:
    label, _, value = POOL.partition("=")
    for flavor in group["flavors"]:
        known = manifests.find("ResourceFlavor", flavor["name"])
        if known is None:
            yield Fault(where(queue), f"there is no ResourceFlavor {flavor['name']!r}", "Add it, or correct the name.")
            continue
        quotas = {each["name"]: each["nominalQuota"] for each in flavor["resources"]}
        if list(quotas) != group["coveredResources"]:  # Kueue refuses it
            yield Fault(
                where(queue), f"{flavor['name']} has other resources than coveredResources", "Name the same in that order."
            )
        has_gpus = quotas.get(GPU, "0") != "0"
        if has_gpus and (known["spec"].get("nodeLabels") or {}).get(label) != value:
            yield Fault(
                where(known), f"steps ask for the pool {POOL}, which is not among its nodeLabels", f"Add {label}: {value}."
            )
