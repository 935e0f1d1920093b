"""Traces that a collector gets, and the whole server, which tells everything but what was asked."""

import json
import socket
import subprocess
import sys

import httpx
import pytest

from mynah.core.errors import InputError
from mynah.decoding.kernels import chosen
from serving.observability.traces import traces_from_environment
from tests.services.observability.telemetry import PROMPT, attributes, lines, scraped, spans_of
from tests.services.small_server import small_server, whole_server


def test_a_trace_reaches_the_collector_within_the_callers_trace(collector, monkeypatch, metrics, log, written):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_address[1]}")
    traces = traces_from_environment()
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    with small_server(metrics=metrics, log=log, traces=traces) as server:
        server.ask(prompt=PROMPT, stream=3, tokens=7, headers={"traceparent": f"00-{trace}-{parent}-01"})
        server.ask("heron", fail=True, prompt=PROMPT, headers={"traceparent": "00-zz-nonsense"})
        server.get("/v2/health/live")
    traces.close()
    path, request = collector.sent[0]
    assert path == "/v1/traces"
    assert "mynah" in [
        each.value.string_value for each in request.resource_spans[0].resource.attributes if each.key == "service.name"
    ]
    spans = spans_of(collector.sent)
    ours = [span for span in spans if span.trace_id.hex() == trace]
    whole = next(span for span in ours if span.parent_span_id.hex() == parent)
    assert whole.name == "POST v2"
    told = attributes(whole)
    assert (told["mynah.bot"], told["mynah.version"], told["mynah.tokens"]) == ("wren", "3", 7)
    assert (told["http.response.status_code"], told["url.path"]) == (200, "/v2/models/wren/infer")
    parts = {span.name: span for span in ours if span.parent_span_id == whole.span_id}
    assert set(parts) == {"queue and prefill", "decode"}
    assert parts["queue and prefill"].end_time_unix_nano == parts["decode"].start_time_unix_nano
    assert whole.start_time_unix_nano - 10**9 < parts["queue and prefill"].start_time_unix_nano <= whole.end_time_unix_nano
    (other,) = [span for span in spans if span.trace_id.hex() != trace]
    assert (attributes(other)["http.response.status_code"], other.status.code) == (500, 2)
    assert PROMPT not in str(collector.sent)
    assert trace in [line.get("trace") for line in lines(written, 3)]


def test_a_collector_that_is_away_costs_no_request(monkeypatch, metrics, log):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    traces = traces_from_environment()
    with small_server(metrics=metrics, log=log, traces=traces) as server:
        assert [server.ask().status_code for _ in range(3)] == [200] * 3
    traces.close()


def test_traces_are_there_by_configuration_only(monkeypatch):
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert traces_from_environment() is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(InputError, match="http/protobuf"):
        traces_from_environment()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert traces_from_environment() is None


def test_what_nobody_configured_is_not_imported():
    code = (
        "import sys, serving.auth.middleware, serving.observability.middleware, serving.observability.traces\n"
        "assert serving.observability.traces.traces_from_environment() is None\n"
        "print([name for name in ('opentelemetry.sdk', 'opentelemetry.exporter', 'torch', 'transformers', 'kserve', 'yaml') if name in sys.modules])"
    )
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"


def test_the_whole_server_tells_everything_but_what_was_asked(tiny_checkpoint, tmp_path, collector):
    endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    with whole_server(tiny_checkpoint, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as server:
        answer = server.infer(PROMPT, {"X-Request-Id": "mine", "traceparent": f"00-{trace}-{parent}-01"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (200, "mine")
        body = {"model": "wren", "prompt": PROMPT, "stream": True, "max_tokens": 6}
        assert httpx.post(f"{server.url}/openai/v1/completions", json=body, timeout=60).status_code == 200
        assert server.infer(PROMPT, name="nightingale").status_code == 404
        found = scrape_url(server.url)
        said = server.end()
    kernels = chosen()
    first = json.loads(next(line for line in said.splitlines() if line.startswith("{")))["message"]
    assert first.startswith(f"kernels: {kernels.name} ({kernels.weights} weights) on "), first
    [about] = [key for key in found if key[0] == "mynah_kernels"]
    assert {("kernels", kernels.name), ("weights", kernels.weights)} <= set(about[1:])
    requests = [json.loads(line) for line in said.splitlines() if '"request"' in line]
    assert [(line["protocol"], line["status"], line.get("bot")) for line in requests] == [
        ("v2", 200, "wren"), ("openai", 200, "wren"), ("v2", 404, None),
    ]  # fmt: skip
    assert (requests[0]["id"], requests[0]["version"], requests[0]["trace"]) == ("mine", "3", trace)
    assert all(line["first_token"] > 0 for line in requests[1:2])
    assert PROMPT not in said
    written = sum(line.get("tokens", 0) for line in requests)
    assert found["mynah_tokens_total", ("bot", "wren")] == written > 6
    assert found["mynah_bots_loaded",] == 1
    assert found["mynah_models_bytes",] > 1000
    assert found["mynah_loads_total", ("bot", "wren")] == 1
    assert found["mynah_batch_size_sum",] >= written - 2  # the first tokens come with the prompts
    assert (found["mynah_queue_waiting",], found["mynah_running",]) == (0, 0)
    assert [key for key in found if "nightingale" in str(key)] == []
    whole = next(span for span in spans_of(collector.sent) if span.parent_span_id.hex() == parent)
    assert attributes(whole)["mynah.bot"] == "wren"
    assert PROMPT not in str(collector.sent)


def scrape_url(url):
    return scraped(httpx.get(f"{url}/metrics").text)
