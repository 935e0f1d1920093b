"""Where a cluster's API is, and by which credentials: of the pod that this runs in, or of a kubeconfig's context."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from components.errors import InputError, PlatformError
from components.store import public

if TYPE_CHECKING:
    from kubernetes.client import Configuration


def of_pod(account: Path) -> "Configuration":
    """The API of the cluster that this pod runs in, by the service account that is mounted at `account`. Raises PlatformError when it is broken."""
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    configuration = Configuration()
    try:
        InClusterConfigLoader(str(account / "token"), str(account / "ca.crt")).load_and_set(configuration)
    except (ConfigException, OSError) as error:
        raise PlatformError(f"the service account in {account} is broken: {error}", "Start the pod anew.") from error
    return configuration


def of_context(context: str) -> "Configuration":
    """The API that a kubeconfig's context names. Raises InputError when there is no such context or no usable kubeconfig."""
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, load_kube_config

    paths = os.environ.get("KUBECONFIG") or "~/.kube/config"
    # "" instead of the client's default, localhost: a context without a server must not reach whatever listens there.
    configuration = Configuration(host="")
    try:
        known = _contexts(paths)
        if context in known:
            load_kube_config(config_file=paths, context=context, client_configuration=configuration)
    # What a damaged kubeconfig makes of the client: it indexes whatever it finds there.
    except (ConfigException, OSError, yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
        cause = " ".join(str(error).split())[:200]
        raise InputError(f"the kubeconfig {paths} cannot be used: {cause}", "Mend it, or name another in KUBECONFIG.") from error
    if context not in known:
        there = f"It knows {', '.join(sorted(known)[:20])}." if known else "Name a kubeconfig in KUBECONFIG."
        raise InputError(f"the kubeconfig {paths} has no context {context[:80]!r}", there)
    if not configuration.host.startswith(("https://", "http://")):
        server = public(configuration.host)
        raise InputError(f"the server of context {context!r} in {paths} is {server!r}", "Give it its https:// address there.")
    return configuration


def _contexts(paths: str) -> set[str]:
    """The contexts of all files in KUBECONFIG; some need not exist."""
    known: set[str] = set()
    for path in (Path(each).expanduser() for each in paths.split(os.pathsep) if each):
        if path.exists():
            if not path.is_file():  # a device or a pipe could be read for ever
                raise InputError(f"the kubeconfig {path} is not a file", "Name another in KUBECONFIG.")
            known |= {str(context["name"]) for context in yaml.safe_load(path.read_text(encoding="utf-8"))["contexts"]}
    return known
