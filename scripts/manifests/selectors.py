"""Invariants of selectors: what means pods by their labels means some that there are, and at ports that they have."""

from collections.abc import Iterator

from scripts.manifests.objects import GATEWAY_NAME, Fault, Manifests, Object, Pod, deployed_bot, namespace_of, selects, where

RESTRICTED = "pod-security.kubernetes.io/enforce"
PREDICTOR_PORT = 80  # of the Service that KServe makes of an InferenceService
# Of a Gateway's pods: files/kube-gateway.yaml of Istio's chart istiod.
ISTIO_PORTS = ("metrics", "status-port", "http-envoy-prom")


def workloads_select_their_own(manifests: Manifests) -> Iterator[Fault]:
    """A workload's selector means the pods of its own template, and no other workload's."""
    for workload in manifests.of("Deployment", "StatefulSet"):
        selector = workload["spec"]["selector"]
        owners = [pod.owner["metadata"]["name"] for pod in manifests.matching(selector, namespace_of(workload))]
        if owners != [workload["metadata"]["name"]]:
            yield Fault(where(workload), f"its selector means the pods of {owners or 'nobody'}", "Correct selector or labels.")


def services_lead_to_pods(manifests: Manifests) -> Iterator[Fault]:
    """A Service's selector means pods, each of which has the ports that it leads to."""
    for service in manifests.of("Service"):
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            continue
        pods = manifests.matching({"matchLabels": spec.get("selector") or {"": ""}}, namespace_of(service))
        if not pods:
            yield Fault(where(service), f"no pod has {spec.get('selector')}", "Correct the selector.")
        for port in spec["ports"]:
            target = port.get("targetPort", port["port"])
            for pod in pods:
                if target not in [value for each in pod.ports() for value in (each.get("name"), each["containerPort"])]:
                    yield Fault(where(service), f"{pod.where} has no port {target!r}", "Correct targetPort.")


def budgets_protect_pods(manifests: Manifests) -> Iterator[Fault]:
    """Every PodDisruptionBudget means pods and lets one go; every server of bots has one."""
    budgets = manifests.of("PodDisruptionBudget")
    for budget in budgets:
        if not manifests.matching(budget["spec"]["selector"], namespace_of(budget)) and not selects(
            budget["spec"]["selector"], deployed_bot().labels
        ):
            yield Fault(where(budget), "it means no pod", "Correct its selector.")
        if budget["spec"].get("maxUnavailable") != 1:
            yield Fault(where(budget), "a single pod would keep its node from being drained", "Use maxUnavailable: 1.")
    for pod in (each for each in manifests.pods if each.owner["kind"] == "InferenceService"):
        if not any(namespace_of(each) == pod.namespace and selects(each["spec"]["selector"], pod.labels) for each in budgets):
            yield Fault(pod.where, "a drained node takes all its pods at once", "Add a PodDisruptionBudget.")


def routes_lead_to_servers(manifests: Manifests) -> Iterator[Fault]:
    """A route's Service and its port are there, and so is its Gateway with that listener."""
    for route in manifests.of("HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for target in rule.get("backendRefs") or []:
                if target["port"] not in _ports(manifests, target["name"], namespace_of(route)):
                    problem = f"there is no Service {target['name']} with port {target['port']}"
                    yield Fault(where(route), problem, "KServe's Services are called NAME-predictor, with port 80.")
        for parent in route["spec"]["parentRefs"]:
            gateway = manifests.find("Gateway", parent["name"], namespace_of(route)) or {"spec": {"listeners": []}}
            if parent.get("sectionName") not in [each["name"] for each in gateway["spec"]["listeners"]]:
                problem = f"there is no Gateway {parent['name']} with a listener {parent.get('sectionName')}"
                yield Fault(where(route), problem, "Correct parentRefs.")


def _ports(manifests: Manifests, name: str, namespace: str) -> list[int]:
    if service := manifests.find("Service", name, namespace):
        return [each["port"] for each in service["spec"]["ports"]]
    own = manifests.find("InferenceService", name.removesuffix("-predictor"), namespace)
    return [PREDICTOR_PORT] if own and name.endswith("-predictor") else []


def scalers_scale_something(manifests: Manifests) -> Iterator[Fault]:
    """A ScaledObject's target is there, and KServe leaves its number of pods alone."""
    for scaler in manifests.of("ScaledObject"):
        name = scaler["spec"]["scaleTargetRef"]["name"]
        service = manifests.find("InferenceService", name.removesuffix("-predictor"), namespace_of(scaler))
        if service is None or not name.endswith("-predictor"):
            yield Fault(
                where(scaler), f"KServe makes no Deployment {name}", "Name an InferenceService with -predictor behind it."
            )
        elif (service["metadata"].get("annotations") or {}).get("serving.kserve.io/autoscalerClass") != "external":
            yield Fault(where(scaler), f"{where(service)} is scaled by KServe too", "Set its autoscalerClass to external.")


def monitors_find_pods(manifests: Manifests) -> Iterator[Fault]:
    """A PodMonitor means pods, each of which has the port that is scraped; and no server goes unwatched, nor the gateway where its
    requests wake one."""
    watched, monitors = [], manifests.of("PodMonitor")
    for monitor in monitors:
        found = list(_monitored(manifests, monitor))
        watched += [name for name, _ in found]
        if not found:
            yield Fault(where(monitor), "it means no pod", "Correct its selector.")
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            for name, ports in found:
                if endpoint["port"] not in ports:
                    yield Fault(where(monitor), f"{name} has no port {endpoint['port']!r}", "Correct the port.")
    servers = [pod.where for pod in manifests.pods if pod.owner["kind"] == "InferenceService"] if monitors else []
    gateways = [where(each) for each in manifests.of("Gateway")] if manifests.of("ScaledObject") else []
    for name in (each for each in servers + gateways if each not in watched):
        yield Fault(name, "no PodMonitor means its pods", "Correct the monitor's selector, or their labels.")


def _monitored(manifests: Manifests, monitor: Object) -> Iterator[tuple[str, list[str]]]:
    """Whose pods a PodMonitor means, and the names of their ports; Istio makes those of a Gateway."""
    selector, namespace = monitor["spec"]["selector"], namespace_of(monitor)
    for pod in manifests.matching(selector, namespace):
        yield pod.where, [each.get("name", "") for each in pod.ports()]
    for gateway in manifests.of("Gateway"):
        if namespace_of(gateway) == namespace and selects(selector, {GATEWAY_NAME: gateway["metadata"]["name"]}):
            yield where(gateway), [*ISTIO_PORTS]


def namespaces_are_restricted(manifests: Manifests) -> Iterator[Fault]:
    """Every namespace of ours enforces Pod Security's level "restricted", and holds a quota and default limits."""
    for namespace in manifests.of("Namespace"):
        name = namespace["metadata"]["name"]
        if (namespace["metadata"].get("labels") or {}).get(RESTRICTED) != "restricted":
            yield Fault(where(namespace), "it lets pods run as root", f"Label it {RESTRICTED}=restricted.")
        for kind in ("ResourceQuota", "LimitRange"):
            if not [each for each in manifests.of(kind) if namespace_of(each) == name]:
                yield Fault(where(namespace), f"it has no {kind}", "Add it to base/limits.yaml.")


def mlflow_answers_its_names(manifests: Manifests) -> Iterator[Fault]:
    """The address that everybody has of MLflow is that of its Service, and one of those that MLflow lets in: host and port."""
    allowed = next((_variable(pod.containers, "MLFLOW_SERVER_ALLOWED_HOSTS") for pod in _of(manifests, "mlflow")), "")
    for settings in manifests.of("ConfigMap"):
        address = (settings.get("data") or {}).get("MLFLOW_TRACKING_URI")
        if address is None:
            continue
        host, _, port = address.removeprefix("http://").partition(":")
        name, namespace = host.split(".")[:2]
        if port not in map(str, _ports(manifests, name, namespace)):
            yield Fault(where(settings), f"no Service answers at {address}", "Correct MLFLOW_TRACKING_URI.")
        if f"{host}:{port}" not in allowed.split(","):
            yield Fault(where(settings), f"MLflow refuses the host {host}:{port}", "Add it to MLFLOW_SERVER_ALLOWED_HOSTS.")


def _variable(containers: list[Object], name: str) -> str:
    found = (each.get("value", "") for container in containers for each in container.get("env") or [] if each["name"] == name)
    return str(next(found, ""))


def _of(manifests: Manifests, name: str) -> list[Pod]:
    return [pod for pod in manifests.pods if pod.owner["metadata"]["name"] == name]
