"""Reach the database of a cluster's MLflow from this machine, by what k8s/base/mlflow says of it.

MLflow there has its login from the Secret `mynah-postgres`, and the host `postgres`, a Service: of pods in the cluster (overlays/laptop),
which a port-forward reaches, or an ExternalName of a database elsewhere (overlays/gpu), which has to be within this machine's reach.
"""

import base64
import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from mynah.core.errors import InputError, PlatformError
from mynah.kubernetes.cluster import Cluster, Object, Resource
from mynah.kubernetes.port_forward import PodPort, forwarded
from mynah.mlflow_client.store import BackendStore

NAMESPACE, SECRET, SERVICE = "mynah", "mynah-postgres", "postgres"
LOGIN_KEYS = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")
PORT = 5432
SECRETS = Resource("", "v1", "secrets", ("get",))
SERVICES = Resource("", "v1", "services", ("get",))
PODS = Resource("", "v1", "pods", ("list",))
ELSE = "Set MLFLOW_BACKEND_STORE_URI to the server's own value (postgresql+psycopg2://…), or correct --context."


@contextlib.contextmanager
def reached_backend(cluster: Cluster) -> Iterator[BackendStore]:
    """Yield the database of a cluster's MLflow; it can be reached while the block runs.

    Raises:
        InputError: The cluster has no such Secret or Service, or they are of another form.
        PlatformError: The cluster cannot be reached or denies access, or no pod of the database is ready.
    """
    user, password, name = _login(cluster)
    spec = _found(cluster, SERVICES, SERVICE)["spec"]
    login, database = f"{quote(user, '')}:{quote(password, '')}", quote(name, "")
    if spec.get("type") == "ExternalName":
        host = f"{spec['externalName']}:{PORT}"
        yield BackendStore(f"postgresql+psycopg2://{login}@{host}/{database}", f"postgresql+psycopg2://{host}/{database}")
        return
    with forwarded(cluster, _ready_pod(cluster, spec)) as port:
        yield BackendStore(
            f"postgresql+psycopg2://{login}@127.0.0.1:{port}/{database}",
            f"postgresql+psycopg2://{SERVICE}.{NAMESPACE}:{PORT}/{database} of the cluster at {cluster.host}",
        )


def _login(cluster: Cluster) -> list[str]:
    data = _found(cluster, SECRETS, SECRET).get("data") or {}
    try:
        return [base64.b64decode(data[key], validate=True).decode() for key in LOGIN_KEYS]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the Secret {NAMESPACE}/{SECRET} at {cluster.host} lacks {', '.join(LOGIN_KEYS)}", ELSE) from error


def _ready_pod(cluster: Cluster, spec: Object) -> PodPort:
    """Return the port of a ready pod behind a Service."""
    selector = ",".join(f"{key}={value}" for key, value in (spec.get("selector") or {}).items())
    if not selector:
        raise InputError(f"the Service {NAMESPACE}/{SERVICE} at {cluster.host} names no pods", ELSE)
    listed = cluster.call("GET", PODS.path(NAMESPACE), query=(("labelSelector", selector),), rule=PODS.rule)
    for pod in (listed or {}).get("items") or []:
        if _is_ready(pod):
            return PodPort(NAMESPACE, pod["metadata"]["name"], _port(spec, pod))
    raise PlatformError(
        f"no pod of the Service {NAMESPACE}/{SERVICE} at {cluster.host} is ready",
        f"See why: kubectl --namespace {NAMESPACE} describe pods --selector {selector}",
    )


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    is_ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    return is_ready and not pod["metadata"].get("deletionTimestamp")


def _port(spec: Object, pod: Object) -> int:
    """Return the pod's port for the first port of a Service, which names it by number or by the name in a container."""
    first: Any = (spec.get("ports") or [{}])[0]
    target = first.get("targetPort") or first.get("port") or PORT
    named = {
        port["name"]: int(port["containerPort"])
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or []
        if "name" in port
    }
    return target if isinstance(target, int) else named.get(target, PORT)


def _found(cluster: Cluster, resource: Resource, name: str) -> Object:
    found = cluster.call("GET", resource.path(NAMESPACE, name), rule=resource.rule)
    if not isinstance(found, dict):
        what = resource.plural.removesuffix("s").capitalize()
        raise InputError(
            f"the cluster at {cluster.host} has no {what} {NAMESPACE}/{name}, so the database of its MLflow is unknown", ELSE
        )
    return found
