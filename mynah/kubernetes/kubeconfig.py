"""Address and credentials of a cluster's API: from the pod's service account, or from a kubeconfig's context.

Importing the `kubernetes` package takes half a second, so only functions import it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from mynah.core.errors import InputError, PlatformError
from mynah.core.settings import KUBECONFIG
from mynah.mlflow_client.store import public

if TYPE_CHECKING:
    from kubernetes.client import Configuration


def pod_configuration(account: Path) -> "Configuration":
    """Load the configuration of this pod's cluster from the service account at `account`. Raises PlatformError when it is broken."""
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    configuration = Configuration()
    try:
        InClusterConfigLoader(str(account / "token"), str(account / "ca.crt")).load_and_set(configuration)
    except (ConfigException, OSError) as error:
        raise PlatformError(f"the service account in {account} is broken: {error}", "Restart the pod.") from error
    return configuration


def context_configuration(context: str) -> "Configuration":
    """Load the configuration of a kubeconfig's context. Raises InputError for a missing context or an unusable kubeconfig."""
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, load_kube_config

    paths = KUBECONFIG.get()
    # "" instead of the client's default, localhost: a context without a server must not connect there.
    configuration = Configuration(host="")
    try:
        known = _contexts(paths)
        if context in known:
            load_kube_config(config_file=paths, context=context, client_configuration=configuration)
    # Raised by the client for a damaged kubeconfig, which it indexes unchecked.
    except (ConfigException, OSError, yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
        cause = " ".join(str(error).split())[:200]
        raise InputError(
            f"the kubeconfig {paths} cannot be used: {cause}", "Correct it, or name another in KUBECONFIG."
        ) from error
    if context not in known:
        fix = f"Its contexts: {', '.join(sorted(known)[:20])}." if known else "Name a kubeconfig in KUBECONFIG."
        raise InputError(f"the kubeconfig {paths} has no context {context[:80]!r}", fix)
    if not configuration.host.startswith(("https://", "http://")):
        server = public(configuration.host)
        raise InputError(f"the server of context {context!r} in {paths} is {server!r}", "Give it its https:// address there.")
    return configuration


def _contexts(paths: str) -> set[str]:
    """Return the contexts of all files in KUBECONFIG; files may be missing."""
    known: set[str] = set()
    for path in (Path(part).expanduser() for part in paths.split(os.pathsep) if part):
        if path.exists():
            if not path.is_file():  # reading a device or a pipe may never end
                raise InputError(f"the kubeconfig {path} is not a file", "Name another in KUBECONFIG.")
            known |= {str(context["name"]) for context in yaml.safe_load(path.read_text(encoding="utf-8"))["contexts"]}
    return known
