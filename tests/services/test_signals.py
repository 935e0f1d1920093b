"""What a server tells about itself: metrics as Prometheus reads them, log lines without prompts, traces that a collector gets."""

import gzip
import http.server
import io
import json
import logging
import re
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from components.errors import InputError, PlatformError
from serving.doors.key_file import add_key
from serving.doors.keys import Keys, Limits, new_key
from serving.signals.logs import Log
from serving.signals.metrics import MOST_BOTS, Metrics
from serving.signals.traces import traces_from_environment
from tests.services.small_server import BOTS, small_server, whole_server

PROMPT = "My dream is a secret that nobody shall read"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def written():
    return io.StringIO()


@pytest.fixture
def log(written):
    log = Log(written)
    yield log
    log.close()


@pytest.fixture
def metrics():
    return Metrics(known=lambda name: name in BOTS)


@pytest.fixture
def server(metrics, log):
    with small_server(metrics=metrics, log=log) as server:
        yield server


def lines(written, least=1):
    """The log's lines, once there are so many: an answer is sent before it is told of."""
    deadline = time.monotonic() + 30
    while len(found := written.getvalue().splitlines()) < least:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return [json.loads(line) for line in found]


def scraped(text):
    """Each sample's value by its name and labels, as Prometheus reads them."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(server, **headers):
    answer = server.get("/metrics", **headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return scraped(answer.text)


def test_a_request_is_one_line_without_its_prompt(server, written):
    answer = server.ask(prompt=PROMPT, tokens=7)
    (line,) = lines(written)
    assert line.pop("seconds") > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
    assert line == {
        "level": "info", "message": "request", "id": answer.headers["x-request-id"], "protocol": "v2", "method": "POST",
        "path": "/v2/models/wren/infer", "status": 200, "bot": "wren", "version": "3", "tokens": 7, "tenant": "anonymous",
    }  # fmt: skip
    assert PROMPT not in written.getvalue()


def test_a_line_says_whose_key_it_was_and_never_the_key(tmp_path, metrics, log, written):
    key, presented = new_key("alice", ["wren"], False, Limits(), "")
    add_key(tmp_path / "keys.json", key)
    with small_server(Keys(tmp_path / "keys.json"), metrics, log) as server:
        server.ask(key=presented)
        server.ask(key=presented + "x")
    right, wrong = lines(written, 2)
    assert (right["tenant"], right["key"], right["status"]) == ("alice", key.id, 200)
    assert (wrong["status"], wrong["rejected"]) == (401, "key")
    assert "tenant" not in wrong
    assert presented.split("_", 2)[2] not in written.getvalue()


def test_prompts_are_logged_for_who_asks_for_them(metrics, written):
    log = Log(written, prompts=True)
    try:
        with small_server(metrics=metrics, log=log) as server:
            server.ask(prompt=f"{PROMPT}\n\x1b[31m")
    finally:
        log.close()
    assert lines(written)[0]["prompts"] == [f"{PROMPT}\n\x1b[31m"]
    assert "\x1b" not in written.getvalue()


def test_probes_and_scrapes_are_not_logged(server, written, metrics):
    for path in ("/", "/v2/health/live", "/v2/health/ready", "/v2/models/wren/ready", "/v1/models/wren", "/metrics"):
        assert server.get(path).status_code == 200
    server.get("/v2/models")
    assert [line["path"] for line in lines(written)] == ["/v2/models"]
    counted = [name for name in scrape(server) if name[0] == "mynah_requests_total"]
    assert counted == [("mynah_requests_total", ("bot", ""), ("protocol", "v2"), ("status", "200"))]


@pytest.mark.parametrize("given", ["abc-123", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "a" * 64])
def test_a_request_id_is_taken_over(server, given, written):
    assert server.ask(headers={"X-Request-Id": given}).headers["x-request-id"] == given
    assert lines(written)[0]["id"] == given


HOSTILE = [
    b"a b",
    b"\x1b[31mred",
    b"a" * 10_000,
    b"",
    b"\xff\xfe",
    b'"},{"level":"fatal"',
    b"a\tb",
    "\u202eabc".encode(),
    b"a" * 65,
]


@pytest.mark.parametrize("given", HOSTILE)
def test_a_hostile_request_id_is_replaced(server, given, written):
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        head = b"GET /v2/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Request-Id: " + given + b"\r\n\r\n"
        connection.sendall(head)
        answer = connection.makefile("rb").read()
    if b" 400 " in answer.splitlines()[0]:  # the parser would not have it: no request, no line
        assert written.getvalue() == "" or "Invalid HTTP request" in written.getvalue()
        return
    assert re.search(rb"x-request-id: [0-9a-f]{32}\r\n", answer)
    assert re.fullmatch("[0-9a-f]{32}", lines(written)[0]["id"])


@pytest.mark.parametrize("hostile", ["\n", "\r\n", "\x1b[2J", "\x00", "\u202e", "\u2028", "\x9b31m", "\ud800"])
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_no_control_character_reaches_the_log(hostile, stream):
    written = stream()
    log = Log(written, prompts=True)
    try:
        log.request(
            {"id": "1", "path": f"/v2/{hostile}x", "bot": f"w{hostile}", "tenant": hostile, "prompts": [hostile], "status": 200}
        )
        logging.getLogger("uvicorn.error").error("odd %s", hostile)
    finally:
        log.close()
    text = written.getvalue()
    assert len(text.splitlines()) == text.count("\n") == 2
    assert hostile.strip("\n") == "" or hostile not in text
    text.encode("ascii" if stream is io.StringIO else "utf-8")


def test_a_path_in_the_log_is_short_and_without_its_query(server, written):
    server.get(f"/{'a' * 5000}?key=secret")
    assert lines(written)[0]["path"] == f"/{'a' * 199}"
    assert "secret" not in written.getvalue()


def test_on_a_terminal_a_request_is_a_few_words(metrics):
    written = Terminal()
    log = Log(written)
    try:
        with small_server(metrics=metrics, log=log) as server:
            answer = server.ask(prompt=PROMPT, tokens=7)
    finally:
        log.close()
    found = re.fullmatch(
        r"\d\d:\d\d:\d\d 200 POST /v2/models/wren/infer wren 7 tokens [\d.]+ s anonymous (\w+)\n", written.getvalue()
    )
    assert found, written.getvalue()
    assert found[1] == answer.headers["x-request-id"]


def test_a_crash_is_told_with_its_place_and_without_what_was_asked(server, written):
    assert server.ask(prompt=PROMPT, fail=True).status_code == 500
    found = lines(written, 2)
    request = next(line for line in found if line["message"] == "request")
    crash = next(line for line in found if line.get("logger") == "uvicorn.error")
    assert (request["status"], request["level"]) == (500, "error")
    assert "ValueError" in crash["error"]
    assert "small_server.py" in crash["error"]
    assert PROMPT not in written.getvalue()


def test_an_exception_about_the_machine_keeps_its_words(written, log):
    try:
        try:
            raise OSError("no space left on device")
        except OSError as error:
            raise PlatformError("the disk is full", "Free some.") from error
    except PlatformError:
        logging.getLogger("mynah.engine").exception("loading failed")
    (line,) = lines(written)
    assert "the disk is full" in line["error"]
    assert "no space left on device" in line["error"]


def test_a_stream_that_breaks_is_logged_as_cut(server, written, metrics):
    with pytest.raises(httpx.RemoteProtocolError):
        server.ask(stream=2, **{"break": True})
    line = next(line for line in lines(written, 2) if line["message"] == "request")
    assert (line["status"], line["cut"]) == (200, True)
    assert line["first_token"] > 0


def test_metrics_of_requests(server):
    for _ in range(3):
        server.ask(tokens=5)
    server.ask(stream=3, tokens=2)
    server.ask("nightingale")
    httpx.post(f"{server.url}/openai/v1/completions", json={"model": "heron"})
    httpx.post(f"{server.url}/v2/repository/models/wren/load")
    found = scrape(server)

    def requests(bot, protocol, status):
        return found.get(("mynah_requests_total", ("bot", bot), ("protocol", protocol), ("status", status)))

    assert requests("wren", "v2", "200") == 4
    assert requests("", "v2", "404") == 1  # a name that no bot has is no label
    assert requests("heron", "openai", "200") == 1
    assert found["mynah_tokens_total", ("bot", "wren")] == 17
    assert found["mynah_request_seconds_count", ("bot", "wren")] == 4
    assert found["mynah_first_token_seconds_count", ("bot", "wren")] == 1
    assert found["mynah_rejected_total", ("reason", "admin")] == 1
    assert found["process_resident_memory_bytes",] > 1e6


def test_metrics_of_rejections(tmp_path, metrics, log):
    key, presented = new_key("alice", ["wren"], False, Limits(requests_per_minute=1), "")
    add_key(tmp_path / "keys.json", key)
    admin, its = new_key("ops", [], True, Limits(), "")
    add_key(tmp_path / "keys.json", admin)
    with small_server(Keys(tmp_path / "keys.json"), metrics, log) as server:
        statuses = [server.ask().status_code, server.ask(key=presented).status_code, server.ask(key=presented).status_code]
        found = scrape(server, **{"X-API-Key": its})
    assert statuses == [401, 200, 429]
    assert found["mynah_rejected_total", ("reason", "key")] == 1
    assert found["mynah_rejected_total", ("reason", "requests")] == 1


def test_metrics_of_the_engine_and_the_repository(server, metrics):
    metrics.watch(waiting=lambda: 3, running=lambda: 5, bots_loaded=lambda: 2, models_bytes=lambda: 1 << 20)
    threads = [threading.Thread(target=lambda: [metrics.step("wren", 4, 0.01) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metrics.prefill("wren", 2, 11, 0.02)
    metrics.loaded("wren", 0.2)
    metrics.loaded("heron", 0.2)
    metrics.evicted("heron")
    metrics.swapped("wren")
    found = scrape(server)
    metrics.forgotten("heron")
    assert "heron" not in str(scrape(server))
    assert found["mynah_token_seconds_count", ("bot", "wren")] == 2000
    assert found["mynah_batch_size_sum",] == 8000
    assert found["mynah_prompt_tokens_total", ("bot", "wren")] == 11
    assert (found["mynah_loads_total", ("bot", "wren")], found["mynah_load_seconds_count",]) == (1, 2)
    assert (found["mynah_evictions_total", ("bot", "heron")], found["mynah_swaps_total", ("bot", "wren")]) == (1, 1)
    gauges = ("mynah_queue_waiting", "mynah_running", "mynah_bots_loaded", "mynah_models_bytes")
    assert [found[name,] for name in gauges] == [3, 5, 2, 1 << 20]


def labels(metrics):
    from prometheus_client import generate_latest

    found = scraped(generate_latest(metrics.registry).decode())
    return {dict(key[1:])["bot"] for key in found if key[0] == "mynah_requests_total"}


def test_bots_are_labels_within_a_bound_and_strangers_never():
    metrics = Metrics(known=lambda name: name.startswith("bot-"))
    for number in range(1000):
        metrics.request(f"bot-{number}", "v2", 200, 0.1)
        metrics.request(f"made-up-{number}", "v2", 404, 0.1)
        metrics.loaded(f"bot-{number}", 0.1)
    found = labels(metrics)
    assert found == {f"bot-{number}" for number in range(MOST_BOTS)} | {"other", "unknown"}


def test_a_label_cannot_break_the_format(metrics):
    hostile = 'x"} 1\nmynah_running 99\n'
    metrics = Metrics(known=lambda _: True)
    metrics.request(hostile, hostile, 200, 0.1)
    assert labels(metrics) == {hostile}
    from prometheus_client import generate_latest

    assert ("mynah_running",) not in scraped(generate_latest(metrics.registry).decode())


def test_metrics_in_openmetrics_for_who_prefers_it(server):
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

    server.ask()
    answer = server.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert "mynah_requests" in {family.name for family in openmetrics(answer.text)}


class Collector(http.server.BaseHTTPRequestHandler):
    """An OpenTelemetry collector: keeps the spans that it is sent, as OTLP in protobuf over HTTP."""

    def do_POST(self):
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        sent = ExportTraceServiceRequest.FromString(body)
        self.server.sent.append((self.path, sent))
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.sent = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(30)


def spans_of(sent):
    return [span for _, request in sent for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]


def attributes(span):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


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
        "import sys, serving.doors, serving.signals, serving.signals.traces\n"
        "assert serving.signals.traces.traces_from_environment() is None\n"
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
