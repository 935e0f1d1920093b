"""The smoke test: one real request to the deployment, answered by the very version that was deployed."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from components.deploy.manifest import Serving
from mynah.core.errors import PlatformError
from mynah.core.progress import notify
from mynah.kubernetes.cluster import Cluster

PROMPT = "My dream is"
READ = 60.0  # seconds for a response: the first request may load the model
RULE = '{apiGroups: [""], resources: [services/proxy], verbs: [get, create]}'


@dataclass(frozen=True, slots=True)
class BotEndpoint:
    """Where a bot is reached: the URL before /v2, or "" for the API server's proxy to `service`; `key` may be ""."""

    cluster: Cluster
    namespace: str
    service: str
    url: str = ""
    key: str = ""

    def request(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON value
        """Send a request to the bot.

        Args:
            method: The HTTP method.
            path: The path, from /v2 on.
            body: Sent as JSON; None for no body.

        Returns:
            The response's JSON; None for a 404.

        Raises:
            PlatformError, ValueError, OSError: The bot cannot be reached, or responds with an error or without JSON.
        """
        headers = {"X-API-Key": self.key} if self.key else {}  # the API server consumes Authorization
        if self.url:
            return _request(method, self.url + path, body, headers)
        proxy = f"/api/v1/namespaces/{self.namespace}/services/http:{self.service}:80/proxy"
        return self.cluster.call(method, proxy + path, body, headers=headers, read=READ, rule=RULE)

    def __str__(self) -> str:
        return self.url or f"the API server's proxy to the Service {self.service}"


def bot_endpoint(cluster: Cluster, namespace: str, service: str, address: str, key: str) -> BotEndpoint:
    """Return how to reach the pods behind a Service.

    Args:
        cluster: The cluster.
        namespace: The namespace.
        service: The Service.
        address: A URL, in which {service} and {namespace} are replaced; "" for the Service itself in a pod of the cluster, and for the API
            server's proxy elsewhere.
        key: The API key; "" for none.

    Returns:
        The endpoint.
    """
    if cluster.in_pod and not address:
        address = "http://{service}.{namespace}.svc.cluster.local"
    url = address.replace("{service}", service).replace("{namespace}", namespace).rstrip("/")
    return BotEndpoint(cluster, namespace, service, url, key)


def smoke_test(endpoint: BotEndpoint, serving: Serving, seconds: float, poll: float) -> str:
    """Let a bot continue a prompt, with KServe's v2 protocol (https://github.com/kserve/open-inference-protocol).

    Where the server requires a key and none is given, only the version's readiness is checked, and the result is "".

    Args:
        endpoint: How to reach the bot.
        serving: The version that must respond.
        seconds: How long to retry, until the Service routes to the pods.
        poll: Seconds between attempts.

    Returns:
        The generated text.

    Raises:
        PlatformError: No valid response came in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _generate(endpoint, serving)
        except (PlatformError, OSError, ValueError) as error:
            reason = error.problem if isinstance(error, PlatformError) else str(error)
            if time.monotonic() >= deadline or "(401)" in reason or "(403)" in reason:
                raise _failure(endpoint, serving, reason) from error
        time.sleep(poll)


def _generate(endpoint: BotEndpoint, serving: Serving) -> str:
    model = f"/v2/models/{serving.name}"
    try:
        return _checked(endpoint.request("POST", f"{model}/infer", _infer_request()), serving)
    except (PlatformError, ValueError) as error:
        if endpoint.key or "(401)" not in str(error):
            raise
    notify("the server requires an API key (MYNAH_API_KEY), so only its readiness was checked", "warning")
    ready = endpoint.request("GET", f"{model}/versions/{serving.version}/ready")
    if not isinstance(ready, dict) or ready.get("ready") is not True:
        raise ValueError(f"it has not loaded version {serving.version}: {str(ready)[:200]}")
    return ""


def _failure(endpoint: BotEndpoint, serving: Serving, reason: str) -> PlatformError:
    return PlatformError(
        f"version {serving.version} of {serving.name} is ready, and does not answer as it should ({endpoint}): {reason[:400]}",
        f"More: kubectl logs -n {endpoint.namespace} -l mynah.dev/bot={serving.name} -c kserve-container --tail 50",
    )


def _infer_request() -> dict[str, Any]:
    prompt = {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": [PROMPT]}
    return {"inputs": [prompt], "parameters": {"n": 1, "max_tokens": 24}}


def _request(method: str, url: str, body: object, headers: dict[str, str]) -> Any:  # noqa: ANN401 - any JSON value
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method=method)  # noqa: S310 - DeploySettings accepts only http(s)
    try:
        with urllib.request.urlopen(request, timeout=READ) as response:  # noqa: S310 - as above
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise ValueError(f"it answers ({error.code}): {error.read()[:200].decode('utf-8', 'replace')}") from error


def _checked(response: Any, serving: Serving) -> str:  # noqa: ANN401 - any JSON value
    """Return the text of a v2 response. Raises ValueError for an invalid one, or one of another version."""
    if response is None:
        raise ValueError("it answers (404): there is no such service or bot")
    try:
        text, version = str(response["outputs"][0]["data"][0]), str(response.get("model_version"))
    except (TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"its answer is not of the v2 protocol: {str(response)[:200]}") from error
    if version != str(serving.version):
        raise ValueError(f"version {version} answers, and not {serving.version}")
    if not text.strip():
        raise ValueError("its answer is empty")
    return text
