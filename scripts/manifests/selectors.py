"""Invariants of selectors: every label selector selects existing pods, which have the ports that are used."""

from collections.abc import Iterator

from scripts.manifests.objects import GATEWAY_NAME, Fault, Manifests, Object, Pod, deployed_bot, namespace_of, selects, where

RESTRICTED = "pod-security.kubernetes.io/enforce"
PREDICTOR_PORT = 80  # of the Service that KServe creates for an InferenceService
# The ports of a Gateway's pods: files/kube-gateway.yaml of Istio's chart istiod.
ISTIO_PORTS = ("metrics", "status-port", "http-envoy-prom")


def workloads_select_their_own(manifests: Manifests) -> Iterator[Fault]:
    """A workload's selector selects the pods of its own template, and no other pods."""
    for workload in manifests.of("Deployment", "StatefulSet"):
        selector = workload["spec"]["selector"]
        owners = [pod.owner["metadata"]["name"] for pod in manifests.matching(selector, namespace_of(workload))]
        if owners != [workload["metadata"]["name"]]:
            yield Fault(where(workload), f"its selector means the pods of {owners or 'nobody'}", "Correct selector or labels.")


def services_lead_to_pods(manifests: Manifests) -> Iterator[Fault]:
    """A Service's selector selects pods, and all of them have its target ports."""
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
                if target not in [value for entry in pod.ports() for value in (entry.get("name"), entry["containerPort"])]:
                    yield Fault(where(service), f"{pod.where} has no port {target!r}", "Correct targetPort.")


def budgets_protect_pods(manifests: Manifests) -> Iterator[Fault]:
    """Every PodDisruptionBudget is of one server and lets one pod, and every sick one, be evicted; every server of bots has one.

    Kubernetes evicts no pod that two budgets select: pkg/registry/core/pod/storage/eviction.go.
    """
    budgets = manifests.of("PodDisruptionBudget")
    for budget in budgets:
        selector = budget["spec"]["selector"]
        owners = {pod.owner["metadata"]["name"] for pod in manifests.matching(selector, namespace_of(budget))}
        if not owners:
            yield Fault(where(budget), "it means no pod", "Correct its selector.")
        elif selects(selector, (deployed := deployed_bot()).labels) and owners != {deployed.owner["metadata"]["name"]}:
            yield Fault(where(budget), "it means bots that have budgets of their own", "Name one server in its selector.")
        if budget["spec"].get("maxUnavailable") != 1:
            yield Fault(where(budget), "a single pod would keep its node from being drained", "Use maxUnavailable: 1.")
        if budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield Fault(where(budget), "a pod that is not ready blocks a drain", "Set unhealthyPodEvictionPolicy: AlwaysAllow.")
    for pod in (candidate for candidate in manifests.pods if candidate.owner["kind"] == "InferenceService"):
        if not any(
            namespace_of(budget) == pod.namespace and selects(budget["spec"]["selector"], pod.labels) for budget in budgets
        ):
            yield Fault(pod.where, "a drained node takes all its pods at once", "Add a PodDisruptionBudget.")


def routes_lead_to_servers(manifests: Manifests) -> Iterator[Fault]:
    """A route's Service and port exist, and so does its Gateway with that listener."""
    for route in manifests.of("HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for target in rule.get("backendRefs") or []:
                if target["port"] not in _ports(manifests, target["name"], namespace_of(route)):
                    problem = f"there is no Service {target['name']} with port {target['port']}"
                    yield Fault(where(route), problem, "KServe's Services are called NAME-predictor, with port 80.")
        for parent in route["spec"]["parentRefs"]:
            gateway = manifests.find("Gateway", parent["name"], namespace_of(route)) or {"spec": {"listeners": []}}
            if parent.get("sectionName") not in [listener["name"] for listener in gateway["spec"]["listeners"]]:
                problem = f"there is no Gateway {parent['name']} with a listener {parent.get('sectionName')}"
                yield Fault(where(route), problem, "Correct parentRefs.")


def _ports(manifests: Manifests, name: str, namespace: str) -> list[int]:
    if service := manifests.find("Service", name, namespace):
        return [port["port"] for port in service["spec"]["ports"]]
    own = manifests.find("InferenceService", name.removesuffix("-predictor"), namespace)
    return [PREDICTOR_PORT] if own and name.endswith("-predictor") else []


def scalers_scale_something(manifests: Manifests) -> Iterator[Fault]:
    """A ScaledObject's target exists, and KServe does not scale it too."""
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
    """A PodMonitor selects pods, and all of them have the port that is scraped.

    Every server is monitored, and so is the gateway where its requests wake a server.
    """
    watched, monitors = [], manifests.of("PodMonitor")
    for monitor in monitors:
        monitored = list(_monitored(manifests, monitor))
        watched += [name for name, _ in monitored]
        if not monitored:
            yield Fault(where(monitor), "it means no pod", "Correct its selector.")
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            for name, ports in monitored:
                if endpoint["port"] not in ports:
                    yield Fault(where(monitor), f"{name} has no port {endpoint['port']!r}", "Correct the port.")
    servers = [pod.where for pod in manifests.pods if pod.owner["kind"] == "InferenceService"] if monitors else []
    gateways = [where(gateway) for gateway in manifests.of("Gateway")] if manifests.of("ScaledObject") else []
    for name in (candidate for candidate in servers + gateways if candidate not in watched):
        yield Fault(name, "no PodMonitor means its pods", "Correct the monitor's selector, or their labels.")


def _monitored(manifests: Manifests, monitor: Object) -> Iterator[tuple[str, list[str]]]:
    """Yield the owners of the pods that a PodMonitor selects, and the names of their ports; Istio creates the pods of a Gateway."""
    selector, namespace = monitor["spec"]["selector"], namespace_of(monitor)
    for pod in manifests.matching(selector, namespace):
        yield pod.where, [port.get("name", "") for port in pod.ports()]
    for gateway in manifests.of("Gateway"):
        if namespace_of(gateway) == namespace and selects(selector, {GATEWAY_NAME: gateway["metadata"]["name"]}):
            yield where(gateway), [*ISTIO_PORTS]


def namespaces_are_restricted(manifests: Manifests) -> Iterator[Fault]:
    """Every namespace of ours enforces Pod Security's level "restricted", and has a quota and default limits."""
    for namespace in manifests.of("Namespace"):
        name = namespace["metadata"]["name"]
        if (namespace["metadata"].get("labels") or {}).get(RESTRICTED) != "restricted":
            yield Fault(where(namespace), "it lets pods run as root", f"Label it {RESTRICTED}=restricted.")
        for kind in ("ResourceQuota", "LimitRange"):
            if not [item for item in manifests.of(kind) if namespace_of(item) == name]:
                yield Fault(where(namespace), f"it has no {kind}", "Add it to base/limits.yaml.")


def mlflow_answers_its_names(manifests: Manifests) -> Iterator[Fault]:
    """The configured address of MLflow is that of its Service, and MLflow allows its host and port."""
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
    values = (
        variable.get("value", "")
        for container in containers
        for variable in container.get("env") or []
        if variable["name"] == name
    )
    return str(next(values, ""))


def _of(manifests: Manifests, name: str) -> list[Pod]:
    return [pod for pod in manifests.pods if pod.owner["metadata"]["name"] == name]
