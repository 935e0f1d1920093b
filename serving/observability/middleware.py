"""What is seen of each request: a line in the log, the metrics, a span, and an id that its sender gets back."""

import re
import time
import uuid
from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.signals.logs import Log
from serving.signals.metrics import REASONS, Metrics
from serving.signals.traces import Traces, trace_of

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # UUIDs, ULIDs, trace ids; nothing that a log or a terminal could choke on
READ = (b"x-request-id", b"traceparent", b"tracestate")
CLIENT_LEFT = 499  # nginx's number for a client that went away before there was an answer
# Probes and scrapes come every few seconds: they are in no log, metric or trace unless they fail.
QUIET = re.compile(r"/|/metrics|/v2/health/(live|ready)|/v1/models/[^/:]+|/v2/models/[^/]+(/versions/[^/]+)?/ready")
PREFIXES = {"/openai/": "openai", "/v2": "v2", "/v1/": "v1", "/page/": "page"}


class Seen:
    """One request under way. `state` is where handlers put bot, version, tokens, first_token (seconds), prompts, caller, rejected."""

    def __init__(
        self,
        signals: "Signals",
        protocol: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        state: MutableMapping[str, Any],
    ) -> None:
        self._signals = signals
        self._protocol, self._method, self._path = protocol, method, path
        self._state = state
        self._began = time.perf_counter()
        given = headers.get("x-request-id", "")
        self.id = state["request_id"] = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self._quiet = method in ("GET", "HEAD") and QUIET.fullmatch(path) is not None
        traces = None if self._quiet else signals.traces
        self._span = traces.begin(f"{method} {protocol}", headers) if traces else None

    def first(self) -> None:
        """The first piece of the answer is on its way."""
        self._state.setdefault("first_token", time.perf_counter() - self._began)

    def end(self, status: int, whole: bool = True) -> None:
        """The answer has been sent, `whole` or cut off."""
        if self._quiet and status < 500:
            return
        seconds = time.perf_counter() - self._began
        fields = self._fields(status, seconds, whole)
        self._count(fields["bot"], status, seconds)
        if self._span and self._signals.traces:
            fields["trace"] = trace_of(self._span)
            self._signals.traces.end(self._span, fields, self._state.get("first_token"), seconds)
        self._signals.log.request({**fields, "prompts": self._state.get("prompts")})

    def _fields(self, status: int, seconds: float, whole: bool) -> dict[str, Any]:
        state, caller = self._state, self._state.get("caller")
        fields = {
            "id": self.id, "protocol": self._protocol, "method": self._method, "path": self._path[:200], "status": status,
            "seconds": seconds, "bot": str(state.get("bot", "")), "version": str(state.get("version", "")),
            "tokens": state.get("tokens"), "first_token": state.get("first_token"),
            "key": getattr(caller, "id", ""), "tenant": getattr(caller, "tenant", ""), "rejected": state.get("rejected"),
        }  # fmt: skip
        return fields if whole else {**fields, "cut": True}

    def _count(self, bot: str, status: int, seconds: float) -> None:
        metrics, state = self._signals.metrics, self._state
        metrics.request(bot, self._protocol, status, seconds)
        if state.get("tokens"):
            metrics.tokens(bot, state["tokens"])
        if state.get("first_token") is not None:
            metrics.first_token(bot, state["first_token"])
        if not self._quiet and (reason := state.get("rejected") or REASONS.get(status)):
            metrics.rejected(reason)


class Signals:
    """ASGI middleware, the outermost: watches every request. gRPC uses `begin` and the watch's `end` itself."""

    def __init__(self, app: ASGIApp | None, metrics: Metrics, log: Log, traces: Traces | None = None) -> None:
        self._app = app
        self.metrics = metrics
        self.log = log
        self.traces = traces

    def begin(self, protocol: str, method: str, path: str, headers: Mapping[str, str], state: MutableMapping[str, Any]) -> Seen:
        """Watch a request from now on; `headers` have lower-case names."""
        return Seen(self, protocol, method, path, headers, state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and tell what came of it."""
        assert self._app is not None, "Signals without an app are for gRPC"
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in READ}
        state = scope.setdefault("state", {})
        watch = self.begin(protocol_of(scope["path"]), scope["method"], scope["path"], headers, state)
        answer = _Answer(send, watch)
        try:
            await self._app(scope, receive, answer)
        except Exception:
            watch.end(answer.status or 500, whole=False)
            raise
        except BaseException:  # cancelled: uvicorn's grace is over
            watch.end(answer.status or 503, whole=False)
            raise
        watch.end(answer.status or CLIENT_LEFT, answer.whole)


class _Answer:
    """What an application sends, on its way: status, first piece, end; and the request's id among the headers."""

    def __init__(self, send: Send, watch: Seen) -> None:
        self._send = send
        self._watch = watch
        self._streams = False
        self.status = 0
        self.whole = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [(name.lower(), value) for name, value in message.get("headers", ())]
            self._streams = any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)
            message = {**message, "headers": [*headers, (b"x-request-id", self._watch.id.encode())]}
        elif message["type"] == "http.response.body":
            if self._streams and message.get("body"):
                self._watch.first()
            self.whole = not message.get("more_body", False)
        await self._send(message)


def protocol_of(path: str) -> str:
    """Which protocol a path belongs to: openai, v2, v1, page or other."""
    return next((protocol for prefix, protocol in PREFIXES.items() if path.startswith(prefix)), "other")
