"""OpenTelemetry traces, sent to OTEL_EXPORTER_OTLP_ENDPOINT if it is set.

The SDK's variables apply (sampling, OTEL_SERVICE_NAME, headers, timeouts, OTEL_SDK_DISABLED):
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables. Without an endpoint, the SDK is not imported, which
takes 0.1 s.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mynah.core.errors import InputError
from mynah.core.settings import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
    OTEL_RESOURCE_ATTRIBUTES,
    OTEL_SDK_DISABLED,
    OTEL_SERVICE_NAME,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

OURS = OTEL_EXPORTER_OTLP_PROTOCOL.default
NAMES = {"status": "http.response.status_code", "method": "http.request.method", "path": "url.path"}
NANO = 1_000_000_000


def traces_from_environment() -> "Traces | None":
    """Return the traces that the environment configures, or None. Raises InputError for an unsupported protocol."""
    if OTEL_SDK_DISABLED.get().strip().lower() == "true":  # OpenTelemetry accepts no other value, such as 1
        return None
    if not (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT.get() or OTEL_EXPORTER_OTLP_ENDPOINT.get()):
        return None
    protocol = OTEL_EXPORTER_OTLP_TRACES_PROTOCOL.get() or OTEL_EXPORTER_OTLP_PROTOCOL.get()
    if protocol != OURS:
        raise InputError(
            f"{OTEL_EXPORTER_OTLP_PROTOCOL.name} is {protocol[:40]!r}",
            f"Unset it, or set {OURS}, which collectors accept on port 4318.",
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    given = OTEL_SERVICE_NAME.is_set() or f"{SERVICE_NAME}=" in OTEL_RESOURCE_ATTRIBUTES.get()
    resource = Resource.create({} if given else {SERVICE_NAME: "mynah"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter())
    )  # sends on its own thread; drops spans when the collector is unreachable
    return Traces(provider)


class Traces:
    """Spans of requests, sent in the background. Never the process's global provider: MLflow has its own spans."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("mynah")
        self._parents = TraceContextTextMapPropagator()

    def begin(self, name: str, headers: Mapping[str, str]) -> "Span":
        """Start a span within the trace that `headers` (lower-case names) carry as W3C trace context, https://www.w3.org/TR/trace-context/."""
        from opentelemetry.trace import SpanKind

        return self._tracer.start_span(name, self._parents.extract(headers), kind=SpanKind.SERVER)

    def end(self, span: "Span", fields: Mapping[str, object], first_token: float | None, seconds: float) -> None:
        """End a span, with child spans for the time before and after the first token.

        Before the first token are the queue and the prefill, after it the decoding.

        Args:
            span: the span to end.
            fields: the request's fields, which become attributes; prompts are omitted.
            first_token: seconds from the span's start to the first token; None where nothing was streamed.
            seconds: seconds from the span's start to its end.
        """
        from opentelemetry.trace import StatusCode, set_span_in_context

        ended = time.time_ns()
        for name, value in fields.items():
            if name != "prompts" and isinstance(value, str | int | float) and value != "":
                span.set_attribute(NAMES.get(name, f"mynah.{name}"), value)
        if first_token is not None:
            context, started = set_span_in_context(span), ended - int(seconds * NANO)
            first = started + int(first_token * NANO)
            for name, start, end in (("queue and prefill", started, first), ("decode", first, ended)):
                self._tracer.start_span(name, context, start_time=start).end(end)
        status = fields.get("status")
        if isinstance(status, int) and status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end(ended)

    def close(self) -> None:
        """Send the pending spans and stop; blocks for at most the exporter's timeout."""
        self._provider.shutdown()


def trace_of(span: "Span") -> str:
    """Return the id of a span's trace, as 32 hexadecimal digits."""
    return f"{span.get_span_context().trace_id:032x}"
