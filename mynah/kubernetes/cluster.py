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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.cluster_errors import api_errors
from components.cluster_errors import http_status as http_status
from components.errors import PlatformError
from components.kubeconfig import of_context, of_pod
from components.store import public

if TYPE_CHECKING:
    from kubernetes.client import Configuration

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
        group = self.group or '""'  # the core group has no name
        return f"{{apiGroups: [{group}], resources: [{self.plural}], verbs: [{', '.join(self.verbs)}]}}"

    def path(self, namespace: str, name: str = "") -> str:
        """The path of one in a namespace, or of them all."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural.partition('/')[0]}{'/' + name if name else ''}"


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

    def __init__(self, configuration: "Configuration", *, in_pod: bool = False) -> None:
        # The client's own three retries would stretch every deadline fourfold, and follow redirects with the token.
        configuration.retries = False
        self._configuration = configuration
        self.host = public(str(configuration.host))
        self.in_pod = in_pod  # whether this process runs in the cluster itself, and reaches its services by their names

    @classmethod
    def connect(cls, context: str = "") -> "Cluster | None":
        """The cluster of a kubeconfig's context; without one that of the pod that this runs in; else None. Sends nothing yet.

        Never the kubeconfig's current context: on a laptop it may point at anything.

        Raises InputError when there is no such context or no usable kubeconfig, and PlatformError when the pod's service
        account is broken.
        """
        if context:
            return cls(of_context(context))
        if os.environ.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT / "token").is_file():
            return cls(of_pod(SERVICE_ACCOUNT), in_pod=True)
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
            with api_errors(self.host, resource.rule):
                answer = call(**named, **options, _request_timeout=(CONNECT, read))
        except PlatformError as error:
            if http_status(error) != HTTPStatus.NOT_FOUND:
                raise
            return None
        if not isinstance(answer, dict):
            raise self._no_kubernetes(answer)
        return answer

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: tuple[tuple[str, str], ...] = (),
        headers: Mapping[str, str] = {},
        read: float = READ,
        rule: str = "",
    ) -> Any:  # noqa: ANN401 - any JSON value
        """One request by its path, for what CustomObjectsApi has no call of: core kinds, logs, a service behind the API's proxy.

        The JSON of the answer, or its text; None for a 404. `rule` is the RBAC rule that a refusal names. Raises as `ask` does.
        """
        accepted = {"Accept": "application/json, */*", "Content-Type": "application/json", **headers}
        try:
            with api_errors(self.host, rule):
                answer = self._client.call_api(
                    path, method, query_params=list(query), header_params=accepted, body=body, auth_settings=["BearerToken"],
                    _return_http_data_only=True, _preload_content=False, _request_timeout=(CONNECT, read),
                )  # fmt: skip
                text = answer.data.decode("utf-8", "replace")
        except PlatformError as error:
            if http_status(error) != HTTPStatus.NOT_FOUND:
                raise
            return None
        with contextlib.suppress(ValueError):
            return json.loads(text)
        return text

    def kinds(self, group: str, version: str) -> set[str]:
        """The plural names of the kinds that the API has of a group, such as {"inferenceservices"}; empty when it has none."""
        found = self.call("GET", f"/apis/{group}/{version}", rule=f"{{nonResourceURLs: [/apis/{group}/*], verbs: [get]}}")
        return {each["name"] for each in found["resources"]} if isinstance(found, dict) and "resources" in found else set()

    @functools.cached_property
    def _objects(self) -> Any:  # noqa: ANN401 - the client has no types
        from kubernetes.client import CustomObjectsApi

        return CustomObjectsApi(self._client)

    @functools.cached_property
    def _client(self) -> Any:  # noqa: ANN401 - the client has no types
        """The client of a server that answers: a dead one shows at once by a request that even a busy one answers quickly.

        And one that is no Kubernetes shows too: its 404 would otherwise read as a cluster without inference services.
        """
        from kubernetes.client import ApiClient

        client = ApiClient(self._configuration)
        options = {"auth_settings": ["BearerToken"], "response_type": "object", "_return_http_data_only": True}
        with api_errors(self.host, "{nonResourceURLs: [/version], verbs: [get]}"):
            version = client.call_api("/version", "GET", **options, _request_timeout=(CONNECT, FIRST_ANSWER))
        if not isinstance(version, dict) or "gitVersion" not in version:
            raise self._no_kubernetes(version)
        return client

    def _no_kubernetes(self, answer: object) -> PlatformError:
        return PlatformError(
            f"{self.host} answers, but not as Kubernetes does: {str(answer)[:80]!r}", "Name the address of the cluster's API."
        )


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
