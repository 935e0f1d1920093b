"""The smoke test: one real question to what was deployed, answered by the very version that was."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from components.cluster import Cluster
from components.deploy.manifest import Serving
from components.errors import PlatformError
from components.events import say

PROMPT = "My dream is"
READ = 60.0  # seconds for an answer: a model may be read at its first question
RULE = '{apiGroups: [""], resources: [services/proxy], verbs: [get, create]}'


@dataclass(frozen=True, slots=True)
class Door:
    """Where a bot is asked: the URL before /v2, or "" for the API server's proxy to `service`; `key` is "" where none is given."""

    cluster: Cluster
    namespace: str
    service: str
    url: str = ""
    key: str = ""

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON value
        """The answer as JSON, None for a 404. Raises PlatformError or ValueError, OSError for others."""
        headers = {"X-API-Key": self.key} if self.key else {}  # the API server keeps Authorization for itself
        if self.url:
            return _request(method, self.url + path, body, headers)
        proxy = f"/api/v1/namespaces/{self.namespace}/services/http:{self.service}:80/proxy"
        return self.cluster.call(method, proxy + path, body, headers=headers, read=READ, rule=RULE)

    def __str__(self) -> str:
        return self.url or f"the API server's proxy to the Service {self.service}"


def door(cluster: Cluster, namespace: str, service: str, address: str, key: str) -> Door:
    """The way to the pods behind a Service: `address` with {service} and {namespace} in it; "" is the Service itself in a pod of the
    cluster, and the API server's proxy elsewhere."""
    if cluster.in_pod and not address:
        address = "http://{service}.{namespace}.svc.cluster.local"
    url = address.replace("{service}", service).replace("{namespace}", namespace).rstrip("/")
    return Door(cluster, namespace, service, url, key)


def smoke_test(there: Door, serving: Serving, seconds: float, poll: float) -> str:
    """Ask a bot to continue a prompt, by KServe's v2; what it wrote.

    A server that asks for a key, where none is given, is asked whether it has loaded that very version, and the answer is "".
    seconds: for the Service to lead to the pods; poll: between tries. Raises PlatformError when no right answer comes in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _asked(there, serving)
        except (PlatformError, OSError, ValueError) as error:
            reason = error.problem if isinstance(error, PlatformError) else str(error)
            if time.monotonic() >= deadline or "(401)" in reason or "(403)" in reason:
                raise _failure(there, serving, reason) from error
        time.sleep(poll)


def _asked(there: Door, serving: Serving) -> str:
    model = f"/v2/models/{serving.name}"
    try:
        return _checked(there.ask("POST", f"{model}/infer", _question()), serving)
    except (PlatformError, ValueError) as error:
        if there.key or "(401)" not in str(error):
            raise
    say("the server asks for an API key (MYNAH_API_KEY), so that it was asked for its readiness alone", "warning")
    ready = there.ask("GET", f"{model}/versions/{serving.version}/ready")
    if not isinstance(ready, dict) or ready.get("ready") is not True:
        raise ValueError(f"it has not loaded version {serving.version}: {str(ready)[:200]}")
    return ""


def _failure(there: Door, serving: Serving, reason: str) -> PlatformError:
    return PlatformError(
        f"version {serving.version} of {serving.name} is ready, and does not answer as it should ({there}): {reason[:400]}",
        f"More: kubectl logs -n {there.namespace} -l mynah.dev/bot={serving.name} -c kserve-container --tail 50",
    )


def _question() -> dict[str, Any]:
    prompt = {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": [PROMPT]}
    return {"inputs": [prompt], "parameters": {"n": 1, "max_tokens": 24}}


def _request(method: str, url: str, body: object, headers: dict[str, str]) -> Any:  # noqa: ANN401 - any JSON value
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method=method)  # noqa: S310 - http(s): checked
    try:
        with urllib.request.urlopen(request, timeout=READ) as answer:  # noqa: S310
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise ValueError(f"it answers ({error.code}): {error.read()[:200].decode('utf-8', 'replace')}") from error


def _checked(answer: Any, serving: Serving) -> str:  # noqa: ANN401 - any JSON value
    """The text of a v2 answer. Raises ValueError for what is none, or comes from another version."""
    if answer is None:
        raise ValueError("it answers (404): there is no such service or bot")
    try:
        text, version = str(answer["outputs"][0]["data"][0]), str(answer.get("model_version"))
    except (TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"its answer is none of the v2 protocol: {str(answer)[:200]}") from error
    if version != str(serving.version):
        raise ValueError(f"version {version} answers, and not {serving.version}")
    if not text.strip():
        raise ValueError("its answer is empty")
    return text
