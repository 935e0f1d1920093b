"""Observes each request: a log line, metrics, a trace span, and a request id returned to the client."""

import re
import time
import uuid
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.observability.logs import Log
from serving.observability.metrics import REASONS, Metrics
from serving.observability.traces import Traces, trace_of
from serving.paths import PROBES

if TYPE_CHECKING:
    from serving.auth.middleware import Caller

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # UUIDs, ULIDs, trace ids; no characters special to logs and terminals
READ_HEADERS = (b"x-request-id", b"traceparent", b"tracestate")
CLIENT_LEFT = 499  # nginx's status for a client that disconnected before the response
# Probes and scrapes arrive every few seconds; they are logged, counted and traced only when they fail.
QUIET = re.compile(rf"/|/metrics|{PROBES}")
PREFIXES = {"/openai/": "openai", "/v2": "v2", "/v1/models": "v1", "/v1/": "openai", "/page/": "page"}


class RequestTrace:
    """One running request. Handlers write bot, version, tokens, first_token (seconds), prompts, caller and rejected into `state`.

    Args:
        middleware: the metrics, the log and the traces.
        protocol: one of v1, v2, openai, grpc, page, other.
        method: the HTTP method.
        path: the path, or the gRPC method after a slash.
        headers: with lower-case names.
        state: where handlers write about the request.
    """

    def __init__(
        self,
        middleware: "ObservabilityMiddleware",
        protocol: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        state: MutableMapping[str, Any],
    ) -> None:
        self._middleware = middleware
        self._protocol, self._method, self._path = protocol, method, path
        self._state = state
        self._started = time.perf_counter()
        sent_id = headers.get("x-request-id", "")
        self.id = state["request_id"] = sent_id if REQUEST_ID.fullmatch(sent_id) else uuid.uuid4().hex
        self._quiet = method in ("GET", "HEAD") and QUIET.fullmatch(path) is not None
        traces = None if self._quiet else middleware.traces
        self._span = traces.begin(f"{method} {protocol}", headers) if traces else None

    def record_first_chunk(self) -> None:
        """Record the time of the first chunk of a streamed answer."""
        self._state.setdefault("first_token", time.perf_counter() - self._started)

    def end(self, status: int, is_complete: bool = True) -> None:
        """Log, count and trace the finished request.

        Args:
            status: the HTTP status.
            is_complete: False for an answer that was cut off.
        """
        if self._quiet and status < 500:
            return
        seconds = time.perf_counter() - self._started
        fields = self._fields(status, seconds, is_complete)
        self._count(fields["bot"], status, seconds)
        if self._span and self._middleware.traces:
            fields["trace"] = trace_of(self._span)
            self._middleware.traces.end(self._span, fields, self._state.get("first_token"), seconds)
        self._middleware.log.request({**fields, "prompts": self._state.get("prompts")})

    def _fields(self, status: int, seconds: float, is_complete: bool) -> dict[str, Any]:
        state = self._state
        caller: Caller | None = state.get("caller")
        fields = {
            "id": self.id, "protocol": self._protocol, "method": self._method, "path": self._path[:200], "status": status,
            "seconds": seconds, "bot": str(state.get("bot", "")), "version": str(state.get("version", "")),
            "tokens": state.get("tokens"), "first_token": state.get("first_token"),
            "key": caller.id if caller else "", "tenant": caller.tenant if caller else "", "rejected": state.get("rejected"),
        }  # fmt: skip
        return fields if is_complete else {**fields, "cut": True}

    def _count(self, bot: str, status: int, seconds: float) -> None:
        metrics, state = self._middleware.metrics, self._state
        metrics.request(bot, self._protocol, status, seconds)
        if state.get("tokens"):
            metrics.tokens(bot, state["tokens"])
        if state.get("first_token") is not None:
            metrics.first_token(bot, state["first_token"])
        if not self._quiet and (reason := state.get("rejected") or REASONS.get(status)):
            metrics.rejected(reason)


class ObservabilityMiddleware:
    """The outermost ASGI middleware, which observes every request. gRPC calls `begin` and `RequestTrace.end` itself."""

    def __init__(self, app: ASGIApp | None, metrics: Metrics, log: Log, traces: Traces | None = None) -> None:
        self._app = app
        self.metrics = metrics
        self.log = log
        self.traces = traces

    def begin(
        self, protocol: str, method: str, path: str, headers: Mapping[str, str], state: MutableMapping[str, Any]
    ) -> RequestTrace:
        """Start observing a request.

        Args:
            protocol: one of v1, v2, openai, grpc, page, other.
            method: the HTTP method.
            path: the path, or the gRPC method after a slash.
            headers: with lower-case names.
            state: where handlers write about the request, see RequestTrace.
        """
        return RequestTrace(self, protocol, method, path, headers, state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and observe it."""
        assert self._app is not None, "an ObservabilityMiddleware without an app is for gRPC"
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in READ_HEADERS}
        state = scope.setdefault("state", {})
        trace = self.begin(protocol_of(scope["path"]), scope["method"], scope["path"], headers, state)
        traced_send = _TracedSend(send, trace)
        try:
            await self._app(scope, receive, traced_send)
        except Exception:
            trace.end(traced_send.status or 500, is_complete=False)
            raise
        except BaseException:  # cancelled: uvicorn's grace period has ended
            trace.end(traced_send.status or 503, is_complete=False)
            raise
        trace.end(traced_send.status or CLIENT_LEFT, traced_send.is_complete)


class _TracedSend:
    """An ASGI send callable that records status, first chunk and end, and adds the request's id to the headers."""

    def __init__(self, send: Send, trace: RequestTrace) -> None:
        self._send = send
        self._trace = trace
        self._streams = False
        self.status = 0
        self.is_complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [(name.lower(), value) for name, value in message.get("headers", ())]
            self._streams = any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)
            message = {**message, "headers": [*headers, (b"x-request-id", self._trace.id.encode())]}
        elif message["type"] == "http.response.body":
            if self._streams and message.get("body"):
                self._trace.record_first_chunk()
            self.is_complete = not message.get("more_body", False)
        await self._send(message)


def protocol_of(path: str) -> str:
    """Return the protocol of a path: openai, v2, v1, page or other."""
    return next((protocol for prefix, protocol in PREFIXES.items() if path.startswith(prefix)), "other")
