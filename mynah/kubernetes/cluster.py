"""KServe's inference services of bots in a Kubernetes cluster.

Listing them needs this rule in a ClusterRole, since they are in all namespaces
(https://kubernetes.io/docs/reference/access-authn-authz/rbac/):

    {apiGroups: [serving.kserve.io], resources: [inferenceservices], verbs: [get, list, delete]}

Importing the `kubernetes` package takes half a second, so only functions import it.
"""

import contextlib
import functools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mynah.core.errors import PlatformError
from mynah.core.settings import KUBERNETES_SERVICE_HOST
from mynah.kubernetes.endpoint import Endpoint
from mynah.kubernetes.errors import api_errors, http_status
from mynah.kubernetes.kubeconfig import context_configuration, pod_configuration
from mynah.mlflow_client.store import public

if TYPE_CHECKING:
    from kubernetes.client import Configuration

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # mounted in a pod by Kubernetes
CONNECT, FIRST_ANSWER, READ = 5.0, 4.0, 20.0  # seconds; a busy API server queues a request for up to 15
SECONDS_TO_DELETE = 120.0  # of an object with its dependents
SECONDS_BETWEEN_CHECKS = 0.5
PAGE = 100  # objects per response
Object = dict[str, Any]  # a Kubernetes object as JSON


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of API object, and the verbs that Mynah uses on it."""

    group: str
    version: str
    plural: str
    verbs: tuple[str, ...]

    @property
    def rule(self) -> str:
        """The RBAC rule that allows the verbs."""
        group = self.group or '""'  # the core group has no name
        return f"{{apiGroups: [{group}], resources: [{self.plural}], verbs: [{', '.join(self.verbs)}]}}"

    def path(self, namespace: str, name: str = "") -> str:
        """Return the API path of one object in a namespace, or of all."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural.partition('/')[0]}{'/' + name if name else ''}"


INFERENCE_SERVICES = Resource("serving.kserve.io", "v1beta1", "inferenceservices", ("get", "list", "delete"))


class Cluster:
    """A cluster's API. Every call has a deadline, and the first error comes within 10 seconds."""

    def __init__(self, configuration: "Configuration", *, in_pod: bool = False) -> None:
        # The client's own three retries would stretch every deadline fourfold, and follow redirects with the token.
        configuration.retries = False
        self._configuration = configuration
        self.host = public(str(configuration.host))
        self.in_pod = in_pod  # whether this process runs in the cluster, and reaches services by their names

    @classmethod
    def connect(cls, context: str = "") -> "Cluster | None":
        """Return the cluster of a kubeconfig's context; without a context that of this pod; else None. Sends no request.

        Never uses the kubeconfig's current context: on a laptop it may be any cluster.

        Raises InputError when the context or a usable kubeconfig is missing, and PlatformError when the pod's service account is broken.
        """
        if context:
            return cls(context_configuration(context))
        if KUBERNETES_SERVICE_HOST.get() and (SERVICE_ACCOUNT / "token").is_file():
            return cls(pod_configuration(SERVICE_ACCOUNT), in_pod=True)
        return None

    def endpoints(self) -> list[Endpoint]:
        """Return the inference services of all namespaces; none where KServe is not installed.

        Raises PlatformError when the cluster cannot be reached or denies access.
        """
        items: list[Object] = []
        action, token = "list_cluster_custom_object", None
        while True:
            try:
                page = self.call_custom_objects(INFERENCE_SERVICES, action, limit=PAGE, _continue=token)
            except PlatformError as error:
                if http_status(error) != HTTPStatus.GONE or not token:
                    raise
                # The continue token has expired: list all at once, as client-go's pager does.
                items, page = [], self.call_custom_objects(INFERENCE_SERVICES, action)
            if page is None:  # without a CustomResourceDefinition the path does not exist
                return []
            items += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return [Endpoint.from_json(item) for item in items]

    def delete(self, endpoint: Endpoint, timeout: float = SECONDS_TO_DELETE) -> None:
        """Delete an inference service, and wait until it and its dependents are gone.

        It is no error if the service no longer exists.
        https://kubernetes.io/docs/concepts/architecture/garbage-collection/#foreground-deletion

        Args:
            endpoint: The inference service.
            timeout: Seconds to wait.

        Raises:
            PlatformError: The service still exists after `timeout` seconds or was created again, or the API fails as in `endpoints`.
        """
        assert endpoint.namespace and endpoint.name  # without a name, the address is that of all inference services
        where = {"namespace": endpoint.namespace, "name": endpoint.name}
        about = f"the inference service {endpoint.namespace}/{endpoint.name}"
        deadline = time.monotonic() + timeout
        deleted = self.call_custom_objects(
            INFERENCE_SERVICES, "delete_namespaced_custom_object", **where, propagation_policy="Foreground"
        )
        while deleted and (remaining := self.call_custom_objects(INFERENCE_SERVICES, "get_namespaced_custom_object", **where)):
            if _uid(remaining) != _uid(deleted):
                raise PlatformError(
                    f"{about} was deleted, and something created it again",
                    "Remove it from the tool that deploys it (Argo CD, Flux, Helm), and try again.",
                )
            if time.monotonic() > deadline:
                holding = ", ".join(remaining["metadata"].get("finalizers") or []) or "none"
                raise PlatformError(
                    f"{about} is still there {timeout:.0f} s after its deletion; its finalizers: {holding}",
                    "See why the controllers that these name do not finish: their logs, and `kubectl describe` of it.",
                )
            time.sleep(SECONDS_BETWEEN_CHECKS)

    def call_custom_objects(self, resource: Resource, action: str, read: float = READ, /, **options: object) -> Object | None:
        """Call a method of CustomObjectsApi, which accepts and returns any kind of object as JSON.

        Args:
            resource: The kind of object.
            action: The method's name.
            read: Seconds to wait for the response.
            options: The method's other arguments.

        Returns:
            The object; None when the object, kind or namespace does not exist (404).

        Raises:
            PlatformError: The server denies the request (see `http_status`) or does not respond in time.
        """
        call = getattr(self._objects, action)
        identifiers = {"group": resource.group, "version": resource.version, "plural": resource.plural}
        try:
            with api_errors(self.host, resource.rule):
                response = call(**identifiers, **options, _request_timeout=(CONNECT, read))
        except PlatformError as error:
            if http_status(error) != HTTPStatus.NOT_FOUND:
                raise
            return None
        if not isinstance(response, dict):
            raise self._not_kubernetes(response)
        return response

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
        """Send a request by its path, for what CustomObjectsApi lacks: core kinds, logs, a service behind the API's proxy.

        Args:
            method: The HTTP method.
            path: The API path.
            body: Sent as JSON.
            query: Query parameters.
            headers: Additional headers.
            read: Seconds to wait for the response.
            rule: The RBAC rule that an error about permissions names.

        Returns:
            The response's JSON, or its text; None for a 404.

        Raises:
            PlatformError: As `call_custom_objects` does.
        """
        accepted = {"Accept": "application/json, */*", "Content-Type": "application/json", **headers}
        request = {"query_params": list(query), "header_params": accepted, "body": body}
        try:
            text = self._text(path, method, request, read, rule)
        except PlatformError as error:
            if http_status(error) != HTTPStatus.NOT_FOUND:
                raise
            return None
        with contextlib.suppress(ValueError):
            return json.loads(text)
        return text

    def _text(self, path: str, method: str, request: dict[str, Any], read: float, rule: str) -> str:
        """Send a request, and return the body of the response."""
        options = {"auth_settings": ["BearerToken"], "_return_http_data_only": True, "_preload_content": False}
        with api_errors(self.host, rule):
            response = self._client.call_api(path, method, **request, **options, _request_timeout=(CONNECT, read))
            return str(response.data.decode("utf-8", "replace"))

    def web_socket(self, path: str, query: tuple[tuple[str, str], ...], rule: str) -> Any:  # noqa: ANN401 - websocket-client's
        """Open a WebSocket, as streams such as port-forwards are.

        Args:
            path: The API path.
            query: Query parameters.
            rule: The RBAC rule that an error about permissions names.

        Raises:
            PlatformError: The server does not respond, has no such object, or denies the request.
        """
        from kubernetes.client.exceptions import ApiException
        from kubernetes.stream.ws_client import create_websocket, get_websocket_url
        from websocket import WebSocketBadStatusException, WebSocketException

        configuration = self._client.configuration  # of a server that responds
        token = configuration.get_api_key_with_prefix("authorization")
        address = get_websocket_url(f"{configuration.host}{path}", query)
        with api_errors(self.host, rule):
            try:
                return create_websocket(configuration, address, {"authorization": token} if token else {})
            except WebSocketBadStatusException as error:
                refused = ApiException(status=error.status_code, reason=error.status_message)
                refused.body = error.resp_body
                raise refused from error
            except WebSocketException as error:
                raise ApiException(status=0, reason=str(error)) from error

    def kinds(self, group: str, version: str) -> set[str]:
        """Return the plural names of the kinds of an API group, such as {"inferenceservices"}; empty when the group does not exist."""
        listing = self.call("GET", f"/apis/{group}/{version}", rule=f"{{nonResourceURLs: [/apis/{group}/*], verbs: [get]}}")
        return {kind["name"] for kind in listing["resources"]} if isinstance(listing, dict) and "resources" in listing else set()

    @functools.cached_property
    def _objects(self) -> Any:  # noqa: ANN401 - the client has no types
        from kubernetes.client import CustomObjectsApi

        return CustomObjectsApi(self._client)

    @functools.cached_property
    def _client(self) -> Any:  # noqa: ANN401 - the client has no types
        """The client of a server that responds.

        A quick request detects an unreachable server immediately, and one that is not Kubernetes: its 404 would otherwise look like a
        cluster without inference services.
        """
        from kubernetes.client import ApiClient

        client = ApiClient(self._configuration)
        options = {"auth_settings": ["BearerToken"], "response_type": "object", "_return_http_data_only": True}
        with api_errors(self.host, "{nonResourceURLs: [/version], verbs: [get]}"):
            version = client.call_api("/version", "GET", **options, _request_timeout=(CONNECT, FIRST_ANSWER))
        if not isinstance(version, dict) or "gitVersion" not in version:
            raise self._not_kubernetes(version)
        return client

    def _not_kubernetes(self, response: object) -> PlatformError:
        return PlatformError(
            f"{self.host} answers, but not as Kubernetes does: {str(response)[:80]!r}", "Name the address of the cluster's API."
        )


def _uid(response: Object) -> object:
    """Return the object's uid. A deletion returns the object while it is being deleted, and a Status when it is gone."""
    return response["metadata"].get("uid") or (response.get("details") or {}).get("uid")
