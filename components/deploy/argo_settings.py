"""What the settings of Argo's controller do to a run's retries, read as the controller reads them.

https://github.com/argoproj/argo-workflows, config/controller.go: a value with a line break is indented below its key, and any other value
is put behind its key on the same line.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from mynah.kubernetes.cluster import Cluster, Object, Resource
from mynah.maintenance.doctor import Finding

CONFIG_MAP, CONTROLLER = "workflow-controller-configmap", "workflow-controller"
CAPTURES = "ARGO_POD_STATUS_CAPTURE_FINALIZER"
RETRIES_FAILURES = ("OnFailure", "Always")
FIX = "Apply k8s/kubeflow, or add k8s/components/argo to your own kustomization of Kubeflow Pipelines (k8s/README.md, Retries)"
CONFIG_MAPS = Resource("", "v1", "configmaps", ("get",))
DEPLOYMENTS = Resource("apps", "v1", "deployments", ("get",))


def argo_findings(cluster: Cluster, namespace: str) -> Iterator[Finding]:
    """Check whether Argo's settings can be read, and whether failed, evicted and deleted pods are retried.

    Args:
        cluster: The cluster.
        namespace: Where Kubeflow Pipelines is installed.

    Raises:
        PlatformError: The API fails, or denies access.
    """
    about = f"Argo's settings ({namespace}/{CONFIG_MAP})"
    found = cluster.call("GET", CONFIG_MAPS.path(namespace, CONFIG_MAP))
    if not found:
        yield Finding(about, f"they are not there; is Kubeflow Pipelines in {namespace}?", FIX)
        return
    try:
        settings = controller_settings(found.get("data") or {})
        policy = _retry_policy(settings)
    except (yaml.YAMLError, TypeError, AttributeError) as error:
        said = str(error).split("\n")[0][:120]
        yield Finding(about, f"the controller cannot read them, and ends at its next start: {said}", FIX)
        return
    if policy and policy not in RETRIES_FAILURES:
        yield Finding(
            about, f"every step has the retry policy {policy}: one that fails, or is killed for its memory, is not retried", FIX
        )
    else:
        yield Finding(f"{about}: steps that fail are retried", "")
    yield _captures_pods(cluster, namespace)


def controller_settings(data: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the settings in a ConfigMap's data. Raises YAMLError or TypeError where the controller could not read them."""
    if (whole := data.get("config")) is None:
        whole = "".join(_entry(name, value) for name, value in data.items())
    settings = yaml.safe_load(whole) or {}
    if not isinstance(settings, dict):
        raise TypeError("they are no mapping")
    return settings


def _entry(name: str, value: str) -> str:
    if "\n" not in value:
        return f"{name}: {value}\n"
    lines = value.strip("\n").split("\n")
    return f"{name}:\n" + "".join(f"  {line}\n" for line in lines)


def _retry_policy(settings: Mapping[str, Any]) -> str:
    """The retry policy of every template by the workflows' defaults; "" for none."""
    found: Any = settings
    for key in ("workflowDefaults", "spec", "templateDefaults", "retryStrategy", "retryPolicy"):
        found = found.get(key)
        if found is None:
            return ""
    return str(found)


def _captures_pods(cluster: Cluster, namespace: str) -> Finding:
    about = f"Argo's controller ({namespace}/{CONTROLLER})"
    deployment = cluster.call("GET", DEPLOYMENTS.path(namespace, CONTROLLER))
    if not deployment:
        return Finding(about, f"there is no Deployment {CONTROLLER} in {namespace}", FIX)
    if _environment(deployment).get(CAPTURES) != "true":
        return Finding(about, f"{CAPTURES} is not true: a step whose pod is evicted or deleted is not retried", FIX)
    return Finding(f"{about}: steps whose pods are evicted are retried", "")


def _environment(deployment: Object) -> dict[str, str]:
    containers = deployment.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or []
    return {each["name"]: each.get("value", "") for container in containers for each in container.get("env") or []}
