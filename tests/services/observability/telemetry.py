"""What a server writes and counts, read by a test: log lines, metrics and spans."""

import gzip
import http.server
import io
import json
import time

from prometheus_client.parser import text_string_to_metric_families

PROMPT = "My dream is a secret that nobody shall read"


class Terminal(io.StringIO):
    def isatty(self):
        return True


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


def spans_of(sent):
    return [span for _, request in sent for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]


def attributes(span):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
