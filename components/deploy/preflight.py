"""preflight: check that a cluster has what runs and bots need, before anything is spent.

Each finding is a line; a problem comes with the command that fixes it or shows more. k8s/README.md describes how to install what is
missing.
"""

from collections.abc import Iterator
from http import HTTPStatus

from components.deploy.argo_settings import argo_findings
from components.deploy.manifest import SERVICE_ACCOUNT_NAME
from components.deploy.nodes import autoscaler, get_allowed
from components.deploy.serving_runtime import RUNTIME, SERVING_RUNTIMES
from mynah.core.errors import InputError, PlatformError
from mynah.core.progress import notify
from mynah.core.settings import AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
from mynah.kubernetes.cluster import Cluster, Object, Resource
from mynah.kubernetes.errors import http_status
from mynah.maintenance.doctor import Finding

POOL = "mynah.dev/pool=gpu"
GPU = "nvidia.com/gpu"
README = "k8s/README.md says how to install it"
# (what, group, version, kind in the plural, what needs it)
KINDS = (
    ("KServe", "serving.kserve.io", "v1beta1", "inferenceservices", "bots are served by it"),
    ("Kubeflow Pipelines", "kubeflow.org", "v1beta1", "scheduledworkflows", "it runs and schedules pipelines"),
    ("Argo Workflows", "argoproj.io", "v1alpha1", "workflows", "Kubeflow Pipelines runs steps by it"),
)
# (verb, group, resource): what `mynah deploy` does
RIGHTS = (
    ("get", "serving.kserve.io", "inferenceservices"), ("create", "serving.kserve.io", "inferenceservices"),
    ("patch", "serving.kserve.io", "inferenceservices"), ("delete", "serving.kserve.io", "inferenceservices"),
    ("list", "", "pods"), ("get", "", "pods/log"), ("create", "", "services/proxy"),
    ("create", "policy", "poddisruptionbudgets"), ("patch", "policy", "poddisruptionbudgets"),
)  # fmt: skip
IDENTITIES = ("eks.amazonaws.com/role-arn", "iam.gke.io/gcp-service-account", "azure.workload.identity/client-id")
SECRETS = {"mynah-s3": (AWS_ACCESS_KEY_ID.name, AWS_SECRET_ACCESS_KEY.name), "mynah-keys": ("keys.json",)}


def examine(cluster: Cluster, namespace: str, kubeflow_namespace: str = "kubeflow") -> Iterator[Finding]:
    """Check everything, and yield findings.

    Args:
        cluster: The cluster.
        namespace: Of the bots.
        kubeflow_namespace: Of Kubeflow Pipelines and its Argo.

    Raises:
        PlatformError: The API cannot be reached or denies access.
    """
    version = cluster.call("GET", "/version")["gitVersion"]
    yield Finding(f"the API at {cluster.host}, Kubernetes {version}", "")
    yield from _rights(cluster, namespace)
    for what, group, number, kind, why in KINDS:
        is_installed = kind in cluster.kinds(group, number)
        about = f"{what} ({kind}.{group}/{number})"
        yield Finding(
            about,
            "" if is_installed else f"it is not installed, and {why}",
            "" if is_installed else f"{README}: kubectl get crd {kind}.{group}",
        )
    yield from _argo(cluster, kubeflow_namespace)
    yield from gpu_pool(cluster)
    yield _runtime(cluster, namespace)
    yield from _secrets(cluster, namespace)


def _argo(cluster: Cluster, namespace: str) -> Iterator[Finding]:
    """Check the settings of Argo's controller, where there is Argo: without it there is a finding already."""
    if "workflows" not in cluster.kinds("argoproj.io", "v1alpha1"):
        return
    try:
        yield from argo_findings(cluster, namespace)
    except PlatformError as error:
        yield _no_permission(f"Argo's settings in namespace {namespace}", error)


def gpu_pool(cluster: Cluster, label: str = POOL) -> Iterator[Finding]:
    """Check whether a step that requests a GPU would find a node."""
    show = _show_nodes(label)
    nodes = _nodes(cluster, label)
    if nodes is None:
        yield Finding(f"GPU node pool ({label}): nodes cannot be listed, which needs a ClusterRole", "")
        return
    usable = [node for node in nodes if _gpus(node)]
    if usable:
        yield Finding(f"GPU node pool ({label}): {len(usable)} nodes with {sum(map(_gpus, usable))} GPUs", "")
    elif nodes:
        names = ", ".join(node["metadata"]["name"] for node in nodes[:3])
        yield Finding(
            "GPU node pool", f"its {len(nodes)} nodes ({names}) offer no {GPU}", f"Check that NVIDIA's device plugin runs: {show}"
        )
    elif scaler := autoscaler(cluster):
        yield Finding(f"GPU node pool ({label}): no node now; {scaler} may add one when a step requests it", "")
    else:
        yield Finding(
            "GPU node pool", f"no node has the label {label}, and no autoscaler adds any", f"Label one, or train on CPU: {show}"
        )


def require_gpu_pool(cluster: Cluster, label: str, gpus: int) -> None:
    """Check before a run that a pod with so many GPUs finds a node.

    Args:
        cluster: The cluster of the run.
        label: The label of its GPU nodes.
        gpus: The GPUs of one pod.

    Raises:
        InputError: No node has so many, and no autoscaler is known that may add one.
        PlatformError: There is no GPU node, or the API fails.
    """
    for finding in gpu_pool(cluster, label):
        if not finding.is_well:
            raise PlatformError(f"{finding.about}: {finding.problem}", f"{finding.fix}; or add --no-gpu.")
    largest = max(_nodes(cluster, label) or [], key=_gpus, default=None)
    if largest is None or _gpus(largest) >= gpus:  # None: nodes cannot be listed, or an autoscaler adds the first
        return
    offered = f"the largest node of {label}, {largest['metadata']['name']}, has {_gpus(largest)}"
    if scaler := autoscaler(cluster):
        notify(f"the run asks for {gpus} GPUs on one node; {offered}, and {scaler} may add a larger one", "warning")
        return
    raise InputError(
        f"no node offers {gpus} GPUs: {offered}", f"Give --gpus {_gpus(largest)} or fewer, or add a node: {_show_nodes(label)}"
    )


def _nodes(cluster: Cluster, label: str) -> list[Object] | None:
    """Return the nodes with a label; None without permission to list nodes."""
    response = get_allowed(cluster, "/api/v1/nodes", (("labelSelector", label),))
    return None if response is None else list(response.get("items") or [])


def _show_nodes(label: str) -> str:
    return f"kubectl get nodes -l {label} -o custom-columns=NAME:.metadata.name,GPUS:.status.allocatable.nvidia\\.com/gpu"


def _rights(cluster: Cluster, namespace: str) -> Iterator[Finding]:
    """Check our own permissions with the API, and thereby whether the token is valid."""
    missing = []
    for verb, group, resource in RIGHTS:
        kind, _, subresource = resource.partition("/")
        attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": kind, "subresource": subresource}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        response = cluster.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body) or {}
        if not (response.get("status") or {}).get("allowed"):
            missing.append(f"{verb} {resource}")
    problem = f"you may not {', '.join(missing)} in namespace {namespace}" if missing else ""
    fix = f"Bind the Role mynah-deploy of k8s/base to this user; kubectl auth can-i --list -n {namespace}" if missing else ""
    yield Finding(f"your rights in namespace {namespace}", problem, fix)


def _runtime(cluster: Cluster, namespace: str) -> Finding:
    about = f"ServingRuntime {namespace}/{RUNTIME}"
    show = f"Apply an overlay of k8s/; kubectl get servingruntimes -n {namespace}"
    try:
        runtime = cluster.call("GET", SERVING_RUNTIMES.path(namespace, RUNTIME))
    except PlatformError as error:
        return _no_permission(about, error)
    return Finding(about, "" if runtime else "it does not exist", "" if runtime else show)


def _secrets(cluster: Cluster, namespace: str) -> Iterator[Finding]:
    """Check the Secrets that servers mount or KServe reads. S3's is not needed where the ServiceAccount has a cloud identity."""
    account_path = Resource("", "v1", "serviceaccounts", ("get",)).path(namespace, SERVICE_ACCOUNT_NAME)
    try:
        account = cluster.call("GET", account_path)
    except PlatformError as error:
        yield _no_permission(f"ServiceAccount {SERVICE_ACCOUNT_NAME}", error)
        account = {}
    if account is None:
        show = f"Apply an overlay of k8s/; kubectl get serviceaccounts -n {namespace}"
        yield Finding(f"ServiceAccount {SERVICE_ACCOUNT_NAME}", "it does not exist", show)
    has_identity = bool(set(IDENTITIES) & set(((account or {}).get("metadata") or {}).get("annotations") or {}))
    for name, keys in SECRETS.items():
        if name == "mynah-s3" and has_identity:
            yield Finding(f"Secret {name}: not needed, because {SERVICE_ACCOUNT_NAME} has a cloud identity", "")
        else:
            yield _secret(cluster, namespace, name, keys)


def _secret(cluster: Cluster, namespace: str, name: str, keys: tuple[str, ...]) -> Finding:
    show = f"k8s/README.md says how to create it; kubectl describe secret {name} -n {namespace}"
    try:
        secret = cluster.call("GET", Resource("", "v1", "secrets", ("get",)).path(namespace, name))
    except PlatformError as error:
        return _no_permission(f"Secret {name}", error)
    missing = [key for key in keys if key not in ((secret or {}).get("data") or {})]
    problem = "it does not exist" if not secret else f"it has no {', '.join(missing)}" if missing else ""
    return Finding(f"Secret {name}", problem, show if problem else "")


def _no_permission(about: str, error: PlatformError) -> Finding:
    """Return a finding without a problem when permission is missing; raise other errors."""
    if http_status(error) != HTTPStatus.FORBIDDEN:
        raise error
    return Finding(f"{about}: it cannot be read with these permissions", "")


def _gpus(node: Object) -> int:
    """Return the GPUs that a node offers to pods; 0 for a node that takes none."""
    if (node.get("spec") or {}).get("unschedulable"):
        return 0
    count = str(((node.get("status") or {}).get("allocatable") or {}).get(GPU, "0"))
    return int(count) if count.isdecimal() else 0
