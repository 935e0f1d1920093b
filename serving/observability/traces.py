"""OpenTelemetry traces, where OTEL_EXPORTER_OTLP_ENDPOINT says where to send them.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables: the variables of the SDK hold (sampling,
OTEL_SERVICE_NAME, headers, timeouts, OTEL_SDK_DISABLED). Without an endpoint the SDK, 0.1 s of imports, stays away.
"""

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.errors import InputError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
OURS = "http/protobuf"
NAMES = {"status": "http.response.status_code", "method": "http.request.method", "path": "url.path"}
NANO = 1_000_000_000


def traces_from_environment() -> "Traces | None":
    """The traces that the environment asks for, or None. Raises InputError for a protocol that isn't spoken."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    protocol = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), OURS)
    if protocol != OURS:
        raise InputError(f"{PROTOCOLS[1]} is {protocol[:40]!r}", f"Leave it out, or say {OURS}; collectors take it on port 4318.")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    given = "OTEL_SERVICE_NAME" in os.environ or f"{SERVICE_NAME}=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if given else {SERVICE_NAME: "mynah"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))  # its own thread; drops what a dead collector cannot take
    return Traces(provider)


class Traces:
    """Spans of requests, sent in the background. Never the process's global provider: MLflow has its own spans."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("mynah")
        self._parents = TraceContextTextMapPropagator()

    def begin(self, name: str, headers: Mapping[str, str]) -> "Span":
        """A span that begins now, within the trace that `headers` (lower-case names) carry by W3C's traceparent."""
        from opentelemetry.trace import SpanKind

        return self._tracer.start_span(name, self._parents.extract(headers), kind=SpanKind.SERVER)

    def end(self, span: "Span", fields: Mapping[str, object], first_token: float | None, seconds: float) -> None:
        """End a span with a request's `fields`, and with a span each for what came before and after its first token.

        Before it lie the queue and the reading of the prompt, after it the decoding. `first_token` and `seconds` count from
        the span's beginning.
        """
        from opentelemetry.trace import StatusCode, set_span_in_context

        ended = time.time_ns()
        for name, value in fields.items():
            if name != "prompts" and isinstance(value, str | int | float) and value != "":
                span.set_attribute(NAMES.get(name, f"mynah.{name}"), value)
        if first_token is not None:
            context, began = set_span_in_context(span), ended - int(seconds * NANO)
            turn = began + int(first_token * NANO)
            for name, start, end in (("queue and prefill", began, turn), ("decode", turn, ended)):
                self._tracer.start_span(name, context, start_time=start).end(end)
        status = fields.get("status")
        if isinstance(status, int) and status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end(ended)

    def close(self) -> None:
        """Send what waits, and stop; blocks, for as long as the exporter's timeout at most."""
        self._provider.shutdown()


def trace_of(span: "Span") -> str:
    """The id of the trace that a span belongs to, as 32 hexadecimal digits."""
    return f"{span.get_span_context().trace_id:032x}"
