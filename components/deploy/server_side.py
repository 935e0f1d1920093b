"""Server-side apply of an InferenceService, as the field manager `mynah`: what others set stays, and what they own is not taken.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import re
from http import HTTPStatus

import yaml

from components.cluster import Cluster, Object
from components.cluster_errors import api_status, http_status
from components.deploy.manifest import SERVICES, ours
from components.errors import InputError, PlatformError

MANAGER = "mynah"
KSERVE = "Install KServe 0.20 or 0.21 (k8s/README.md says how); `kubectl get crd inferenceservices.serving.kserve.io` shows whether it is there."


def read(cluster: Cluster, namespace: str, name: str) -> Object | None:
    """The live InferenceService; None when there is none. Raises InputError where KServe is not installed."""
    found = cluster.call("GET", SERVICES.path(namespace, name), rule=SERVICES.rule)
    if found is None:
        require_kserve(cluster)
    return found if isinstance(found, dict) else None


def require_kserve(cluster: Cluster) -> None:
    """Raise InputError unless the cluster has KServe's InferenceService."""
    if "inferenceservices" not in cluster.kinds("serving.kserve.io", "v1beta1"):
        raise InputError(f"the cluster at {cluster.host} has no InferenceService: KServe is not installed there", KSERVE)


def apply(cluster: Cluster, manifest: Object, *, force: bool = False, dry_run: bool = False) -> Object:
    """Apply a manifest; the object as the server then has it, or in a dry run would have it.

    Raises PlatformError when fields belong to other managers (unless `force` takes them over), a webhook or a quota refuses it,
    or the API fails; InputError when the namespace, the kind or a field of it is unknown to the cluster.
    """
    about = manifest["metadata"]
    query = [("fieldManager", MANAGER), ("fieldValidation", "Strict"), ("force", "true" if force else "false")]
    if dry_run:
        query.append(("dryRun", "All"))
    path = SERVICES.path(about["namespace"], about["name"])
    headers = {"Content-Type": "application/apply-patch+yaml"}  # JSON is YAML
    try:
        done = cluster.call("PATCH", path, manifest, query=tuple(query), headers=headers, rule=SERVICES.rule)
    except PlatformError as error:
        raise _explained(error, about) from error.__cause__
    if done is None:
        require_kserve(cluster)
        namespace = about["namespace"]
        raise InputError(
            f"the cluster at {cluster.host} has no namespace {namespace!r}",
            f"Apply an overlay of k8s/ first, name another --namespace, or: kubectl create namespace {namespace}",
        )
    return dict(done)


def delete(cluster: Cluster, namespace: str, name: str) -> None:
    """Delete an InferenceService; one that is gone is no error."""
    cluster.call("DELETE", SERVICES.path(namespace, name), query=(("propagationPolicy", "Background"),), rule=SERVICES.rule)


def same(one: Object, other: Object) -> bool:
    """Whether two objects ask the cluster for the same."""
    return _asked(one) == _asked(other)


def shown(live: Object | None) -> str:
    """What Mynah has a say in of an InferenceService, as YAML; "" for none."""
    return yaml.safe_dump(ours(live), sort_keys=False, width=130, allow_unicode=True) if live else ""


def _asked(live: Object) -> tuple[object, ...]:
    about = live["metadata"]
    return live.get("spec"), about.get("labels") or {}, about.get("annotations") or {}


def _explained(error: PlatformError, about: Object) -> PlatformError | InputError:
    """The error of an apply, with what it comes from where that can be told."""
    status, said = api_status(error), str(api_status(error).get("message", ""))
    causes = [each for each in (status.get("details") or {}).get("causes") or [] if each.get("reason") == "FieldManagerConflict"]
    where = f"{about['namespace']}/{about['name']}"
    if http_status(error) == HTTPStatus.CONFLICT and causes:
        fields = [f"{each.get('field', '?')} (of {_manager(str(each.get('message', '')))})" for each in causes]
        more = f" and {len(fields) - 6} more" if len(fields) > 6 else ""
        return PlatformError(
            f"others manage what {where} would be told: {', '.join(fields[:6])}{more}",
            "Let them give it up, or take it over with --force-conflicts; "
            f"`kubectl get isvc {about['name']} -n {about['namespace']} -o yaml --show-managed-fields` shows who set what.",
        )
    if http_status(error) == HTTPStatus.BAD_REQUEST and "unknown field" in said:
        unknown = ", ".join(re.findall(r'unknown field "([^"]+)"', said))
        return InputError(f"the cluster's KServe does not know {unknown}", f"It is too old. {KSERVE}")
    if "admission webhook" in said:
        return PlatformError(f"KServe refused {where}: {said[:400]}", "Is it another version of KServe? See k8s/README.md.")
    return error


def _manager(message: str) -> str:
    """The name in `conflict with "kubectl-edit" using …`."""
    found = re.search(r'"([^"]+)"', message)
    return found.group(1) if found else "another manager"
