"""Server-side apply of an InferenceService as the field manager `mynah`: fields that others set or own stay unchanged.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import re
from http import HTTPStatus

import yaml

from components.deploy.manifest import SERVICES, ours
from mynah.core.errors import InputError, PlatformError
from mynah.kubernetes.cluster import Cluster, Object
from mynah.kubernetes.errors import api_status, http_status

MANAGER = "mynah"
KSERVE = "Install KServe 0.20 or 0.21 (k8s/README.md says how); `kubectl get crd inferenceservices.serving.kserve.io` shows whether it is installed."


def read(cluster: Cluster, namespace: str, name: str) -> Object | None:
    """Read a live InferenceService.

    Args:
        cluster: The cluster.
        namespace: The namespace.
        name: The InferenceService.

    Returns:
        The object; None when it does not exist.

    Raises:
        InputError: KServe is not installed.
        PlatformError: The API fails or denies access.
    """
    live = cluster.call("GET", SERVICES.path(namespace, name), rule=SERVICES.rule)
    if live is None:
        require_kserve(cluster)
    return live if isinstance(live, dict) else None


def require_kserve(cluster: Cluster) -> None:
    """Raise InputError unless the cluster has KServe's InferenceService."""
    if "inferenceservices" not in cluster.kinds("serving.kserve.io", "v1beta1"):
        raise InputError(f"the cluster at {cluster.host} has no InferenceService: KServe is not installed there", KSERVE)


def apply(cluster: Cluster, manifest: Object, *, force: bool = False, dry_run: bool = False) -> Object:
    """Apply a manifest.

    Args:
        cluster: The cluster.
        manifest: The InferenceService.
        force: Take over fields of other managers.
        dry_run: Let the server validate without storing.

    Returns:
        The object as the server then has it, or would have it.

    Raises:
        PlatformError: Fields belong to other managers, a webhook or a quota rejects it, or the API fails.
        InputError: The namespace, the kind or one of its fields is unknown to the cluster.
    """
    metadata = manifest["metadata"]
    query = [("fieldManager", MANAGER), ("fieldValidation", "Strict"), ("force", "true" if force else "false")]
    if dry_run:
        query.append(("dryRun", "All"))
    path = SERVICES.path(metadata["namespace"], metadata["name"])
    headers = {"Content-Type": "application/apply-patch+yaml"}  # JSON is YAML
    try:
        done = cluster.call("PATCH", path, manifest, query=tuple(query), headers=headers, rule=SERVICES.rule)
    except PlatformError as error:
        raise _explained(error, metadata) from error.__cause__
    if done is None:
        require_kserve(cluster)
        namespace = metadata["namespace"]
        raise InputError(
            f"the cluster at {cluster.host} has no namespace {namespace!r}",
            f"Apply an overlay of k8s/ first, name another --namespace, or: kubectl create namespace {namespace}",
        )
    return dict(done)


def delete(cluster: Cluster, namespace: str, name: str) -> None:
    """Delete an InferenceService, if it exists; its dependents are deleted in the background.

    Args:
        cluster: The cluster.
        namespace: The namespace.
        name: The InferenceService.

    Raises:
        PlatformError: The API fails or denies access.
    """
    cluster.call("DELETE", SERVICES.path(namespace, name), query=(("propagationPolicy", "Background"),), rule=SERVICES.rule)


def is_same(one: Object, other: Object) -> bool:
    """Return whether two objects have the same desired state."""
    return _desired(one) == _desired(other)


def as_yaml(live: Object | None) -> str:
    """Return the fields of an InferenceService that Mynah sets, as YAML; "" for none."""
    return yaml.safe_dump(ours(live), sort_keys=False, width=130, allow_unicode=True) if live else ""


def _desired(live: Object) -> tuple[object, ...]:
    metadata = live["metadata"]
    return live.get("spec"), metadata.get("labels") or {}, metadata.get("annotations") or {}


def _explained(error: PlatformError, metadata: Object) -> PlatformError | InputError:
    """Return the error of an apply with its cause, where that can be determined."""
    status, message = api_status(error), str(api_status(error).get("message", ""))
    causes = [
        cause for cause in (status.get("details") or {}).get("causes") or [] if cause.get("reason") == "FieldManagerConflict"
    ]
    where = f"{metadata['namespace']}/{metadata['name']}"
    if http_status(error) == HTTPStatus.CONFLICT and causes:
        fields = [f"{cause.get('field', '?')} (of {_manager(str(cause.get('message', '')))})" for cause in causes]
        more = f" and {len(fields) - 6} more" if len(fields) > 6 else ""
        return PlatformError(
            f"other managers own fields of {where}: {', '.join(fields[:6])}{more}",
            "Remove the fields from the other managers, or take them over with --force-conflicts; "
            f"`kubectl get isvc {metadata['name']} -n {metadata['namespace']} -o yaml --show-managed-fields` shows who set what.",
        )
    if http_status(error) == HTTPStatus.BAD_REQUEST and "unknown field" in message:
        unknown = ", ".join(re.findall(r'unknown field "([^"]+)"', message))
        return InputError(f"the cluster's KServe does not know {unknown}", f"Its version is too old. {KSERVE}")
    if "admission webhook" in message:
        return PlatformError(
            f"KServe refused {where}: {message[:400]}", "Check KServe's version: k8s/README.md lists the supported ones."
        )
    return error


def _manager(message: str) -> str:
    """Return the name in `conflict with "kubectl-edit" using …`."""
    match = re.search(r'"([^"]+)"', message)
    return match.group(1) if match else "another manager"
