"""What in a Kubernetes cluster refers to bots: KServe's inference services.

Whoever asks needs this rule in a ClusterRole, for they lie in all namespaces (https://kubernetes.io/docs/reference/access-authn-authz/rbac/):

    {apiGroups: [serving.kserve.io], resources: [inferenceservices], verbs: [get, list, delete]}

The `kubernetes` package takes half a second to import, so that only functions import it.
"""

import contextlib
import functools
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from components.errors import InputError, PlatformError
from components.store import public

if TYPE_CHECKING:
    from kubernetes.client import Configuration
    from kubernetes.client.exceptions import ApiException

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # where Kubernetes mounts it in a pod
BOT_LABEL = "mynah.dev/bot"
URI_KEYS = ("storageUri", "storageUris")
CONNECT, FIRST_ANSWER, READ = 5.0, 4.0, 20.0  # seconds; a busy API server queues a request for up to 15
SECONDS_TO_GO = 120.0  # for a deletion, with all that belongs to what is deleted
SECONDS_BETWEEN_LOOKS = 0.5
PAGE = 100  # objects in an answer
Object = dict[str, Any]  # one of Kubernetes' own, as JSON


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object in the API, and what Mynah does with it."""

    group: str
    version: str
    plural: str
    verbs: tuple[str, ...]

    @property
    def rule(self) -> str:
        """The RBAC rule that allows it."""
        return f"{{apiGroups: [{self.group}], resources: [{self.plural}], verbs: [{', '.join(self.verbs)}]}}"


INFERENCE_SERVICES = Resource("serving.kserve.io", "v1beta1", "inferenceservices", ("get", "list", "delete"))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An InferenceService: the bot that its label names ("" without one), and every storage URI in its spec."""

    namespace: str
    name: str
    bot: str
    storage_uris: tuple[str, ...]
    uid: str = field(default="", compare=False)  # another one of the same name has another

    def refers_to(self, uri: str) -> bool:
        """Whether one of its URIs is, contains or lies below `uri`; both are folders: `bots/1` has nothing of `bots/10`."""
        folder = _folder(uri)
        return any(own.startswith(folder) or folder.startswith(own) for own in map(_folder, self.storage_uris))


class Cluster:
    """The API of a cluster. Every call has a deadline, and the first error comes within 10 seconds."""

    def __init__(self, configuration: "Configuration") -> None:
        # The client's own three retries would stretch every deadline fourfold, and follow redirects with the token.
        configuration.retries = False
        self._configuration = configuration
        self.host = public(str(configuration.host))

    @classmethod
    def connect(cls, context: str = "") -> "Cluster | None":
        """The cluster of a kubeconfig's context; without one that of the pod that this runs in; else None. Sends nothing yet.

        Never the kubeconfig's current context: on a laptop it may point at anything.

        Raises InputError when there is no such context or no usable kubeconfig, and PlatformError when the pod's service
        account is broken.
        """
        if context:
            return cls(_of_context(context))
        if os.environ.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT / "token").is_file():
            return cls(_of_pod())
        return None

    def endpoints(self) -> list[Endpoint]:
        """The inference services of all namespaces; none where KServe is not installed.

        Raises PlatformError when the cluster cannot be reached, or does not allow it.
        """
        found: list[Object] = []
        action, token = "list_cluster_custom_object", None
        while True:
            try:
                page = self.ask(INFERENCE_SERVICES, action, limit=PAGE, _continue=token)
            except PlatformError as error:
                if http_status(error) != HTTPStatus.GONE or not token:
                    raise
                # The rest of the list is older than what the server remembers: take all at once, as client-go's pager does.
                found, page = [], self.ask(INFERENCE_SERVICES, action)
            if page is None:  # no CustomResourceDefinition, no path
                return []
            found += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return [_endpoint(each) for each in found]

    def delete(self, endpoint: Endpoint, patience: float = SECONDS_TO_GO) -> None:
        """Delete an inference service, and wait until it is gone with all that belongs to it; well when it is gone already
        (https://kubernetes.io/docs/concepts/architecture/garbage-collection/#foreground-deletion).

        Raises PlatformError when it is still there after `patience` seconds or is made again, and as `endpoints` does.
        """
        assert endpoint.namespace and endpoint.name  # without a name, the address is that of all inference services
        where = {"namespace": endpoint.namespace, "name": endpoint.name}
        about = f"the inference service {endpoint.namespace}/{endpoint.name}"
        deadline = time.monotonic() + patience
        going = self.ask(INFERENCE_SERVICES, "delete_namespaced_custom_object", **where, propagation_policy="Foreground")
        while going and (left := self.ask(INFERENCE_SERVICES, "get_namespaced_custom_object", **where)):
            if _uid(left) != _uid(going):
                raise PlatformError(
                    f"{about} was deleted, and something made it again",
                    "Take it out of what deploys it (Argo CD, Flux, Helm), and try again.",
                )
            if time.monotonic() > deadline:
                holding = ", ".join(left["metadata"].get("finalizers") or []) or "none"
                raise PlatformError(
                    f"{about} is still there {patience:.0f} s after its deletion; its finalizers: {holding}",
                    "See why the controllers that these name do not finish: their logs, and `kubectl describe` of it.",
                )
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def ask(self, resource: Resource, action: str, read: float = READ, /, **options: object) -> Object | None:
        """One call of CustomObjectsApi, named as there; it takes and gives every kind of object as the JSON that it is.

        None when there is no such object, kind or namespace (404). Raises PlatformError when the server refuses otherwise,
        of which `http_status` tells how, and when it does not answer within `read` seconds.
        """
        call = getattr(self._objects, action)
        named = {"group": resource.group, "version": resource.version, "plural": resource.plural}
        try:
            with _errors(self.host, resource.rule):
                answer = call(**named, **options, _request_timeout=(CONNECT, read))
        except PlatformError as error:
            if http_status(error) != HTTPStatus.NOT_FOUND:
                raise
            return None
        if not isinstance(answer, dict):
            raise self._no_kubernetes(answer)
        return answer

    @functools.cached_property
    def _objects(self) -> Any:  # noqa: ANN401 - the client has no types
        """The client of a server that answers: a dead one shows at once by a request that even a busy one answers quickly.

        And one that is no Kubernetes shows too: its 404 would otherwise read as a cluster without inference services.
        """
        from kubernetes.client import ApiClient, CustomObjectsApi

        client = ApiClient(self._configuration)
        options = {"auth_settings": ["BearerToken"], "response_type": "object", "_return_http_data_only": True}
        with _errors(self.host, "{nonResourceURLs: [/version], verbs: [get]}"):
            version = client.call_api("/version", "GET", **options, _request_timeout=(CONNECT, FIRST_ANSWER))
        if not isinstance(version, dict) or "gitVersion" not in version:
            raise self._no_kubernetes(version)
        return CustomObjectsApi(client)

    def _no_kubernetes(self, answer: object) -> PlatformError:
        return PlatformError(
            f"{self.host} answers, but not as Kubernetes does: {str(answer)[:80]!r}", "Name the address of the cluster's API."
        )


def http_status(error: PlatformError) -> int:
    """The HTTP status that an error of the API came with; 0 when the server answered nothing."""
    return int(getattr(error.__cause__, "status", None) or 0)


@contextlib.contextmanager
def _errors(host: str, rule: str) -> Iterator[None]:
    """The client's exceptions as a PlatformError that names the cluster, the cause and the fix."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        if error.status:
            raise _refusal(host, rule, error) from error
        raise _unreachable(host, error.reason) from error  # TLS: a certificate that nobody trusts
    except (HTTPError, OSError, ValueError) as error:
        raise _unreachable(host, error) from error


def _refusal(host: str, rule: str, error: "ApiException") -> PlatformError:
    fix = {
        HTTPStatus.UNAUTHORIZED: "These credentials are not valid there: log in again, or start the pod anew.",
        HTTPStatus.FORBIDDEN: f"Give that user this RBAC rule: {rule}",
    }.get(error.status, "Is this the address of a cluster's API, and is it well? Try again.")
    return PlatformError(f"the cluster at {host} refused it ({error.status}): {_message(error)}", fix)


def _unreachable(host: str, cause: object) -> PlatformError:
    said = " ".join(str(cause).split())[:200]
    return PlatformError(f"the cluster at {host} cannot be reached: {said}", "Is it running, and is this its address?")


def _message(error: "ApiException") -> str:
    """The message of the Status object that an API server answers with; the bare reason of another server."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return str(json.loads(error.body).get("message") or error.reason)[:300]
    return str(error.reason)[:300]


def _of_pod() -> "Configuration":
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    configuration = Configuration()
    try:
        InClusterConfigLoader(str(SERVICE_ACCOUNT / "token"), str(SERVICE_ACCOUNT / "ca.crt")).load_and_set(configuration)
    except (ConfigException, OSError) as error:
        raise PlatformError(f"the service account in {SERVICE_ACCOUNT} is broken: {error}", "Start the pod anew.") from error
    return configuration


def _of_context(context: str) -> "Configuration":
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


def _endpoint(found: Object) -> Endpoint:
    about, uris = found["metadata"], tuple(dict.fromkeys(_uris(found.get("spec"))))
    return Endpoint(
        about["namespace"], about["name"], (about.get("labels") or {}).get(BOT_LABEL, ""), uris, str(about.get("uid", ""))
    )


def _uris(part: object, key: str = "") -> Iterator[str]:
    """Every storage URI in a part of an InferenceService's spec, which `key` names."""
    if isinstance(part, str) and part and key in URI_KEYS:
        yield part
    elif isinstance(part, list):
        for each in part:
            yield from _uris(each, key)
    elif isinstance(part, dict):
        if key == "env" and part.get("name") == "STORAGE_URI":  # how a container of one's own asks for a model
            yield from _uris(part.get("value"), "storageUri")
        for name, value in part.items():
            yield from _uris(value, "storageUri" if (key, name) == ("storageUris", "uri") else name)


def _uid(answer: Object) -> object:
    """Whose it is: a deletion answers with the object while it goes, and with a Status when it is gone."""
    return answer["metadata"].get("uid") or (answer.get("details") or {}).get("uid")


def _folder(uri: str) -> str:
    return f"{uri.rstrip('/')}/"
