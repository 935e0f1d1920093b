"""The ServingRuntime that bots are served by: one per version of Mynah, so that an upgrade moves one bot after the other.

KServe restarts every bot of a ServingRuntime at once when that changes. A version therefore brings a new one beside the former, and
`mynah deploy` makes a bot use it.
"""

import importlib.metadata
import re
from http import HTTPStatus

from mynah.core.errors import InputError, PlatformError
from mynah.kubernetes.cluster import Cluster, Resource
from mynah.kubernetes.errors import http_status

SERVING_RUNTIMES = Resource("serving.kserve.io", "v1alpha1", "servingruntimes", ("get",))


def runtime_of_version(version: str) -> str:
    """Return the name of the ServingRuntime of a version of Mynah: mynah-0-2-0 for 0.2.0."""
    return f"mynah-{re.sub('[^a-z0-9]+', '-', version.lower())}"


RUNTIME = runtime_of_version(importlib.metadata.version("mynah"))


def require_runtime(cluster: Cluster, namespace: str) -> None:
    """Check that a namespace has the ServingRuntime of this version.

    Args:
        cluster: The cluster.
        namespace: The namespace of the bots.

    Raises:
        InputError: It has none.
        PlatformError: The API fails; without permission to read it, nothing is checked.
    """
    try:
        runtime = cluster.call("GET", SERVING_RUNTIMES.path(namespace, RUNTIME), rule=SERVING_RUNTIMES.rule)
    except PlatformError as error:
        if http_status(error) != HTTPStatus.FORBIDDEN:
            raise
        return
    if runtime is None:
        raise InputError(
            f"the namespace {namespace!r} has no ServingRuntime {RUNTIME}, by which this version of Mynah serves bots",
            f"Apply an overlay of this version's k8s/ first, which restarts no bot; kubectl get servingruntimes -n {namespace}",
        )
