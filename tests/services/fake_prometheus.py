"""A real Prometheus that scrapes what a test sets; and where its program is not installed, the same queries answered by hand.

The metrics are those that serving/observability/metrics.py names, with the labels that a PodMonitor adds: namespace and pod.
"""

import contextlib
import json
import math
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import pytest

from tests.http_fake import Answer, HttpFake

CONFIG = """
global: {scrape_interval: 100ms, scrape_timeout: 100ms}
scrape_configs:
  - job_name: mynah
    honor_labels: true
    static_configs: [{targets: ["TARGET"]}]
"""


class Traffic:
    """Counters of pods, which grow with each scrape by what a test says: pod to (requests, errors, seconds of each)."""

    def __init__(self):
        self.rates = {}
        self._totals = {}
        self._lock = threading.Lock()

    def exposition(self):
        """The metrics of all pods as a scrape gets them."""
        lines = ["# TYPE mynah_requests_total counter", "# TYPE mynah_request_seconds histogram"]
        with self._lock:
            for pod, (requests, errors, seconds) in self.rates.items():
                done, failed = self._totals.get(pod, (0, 0))
                self._totals[pod] = done, failed = done + requests, failed + errors
                labels = f'namespace="mynah",pod="{pod}",bot="wren"'
                lines.append(f'mynah_requests_total{{{labels},protocol="v2",status="200"}} {done}')
                if failed:
                    lines.append(f'mynah_requests_total{{{labels},protocol="v2",status="500"}} {failed}')
                for bound in ("0.1", "0.25", "1", "5", "+Inf"):
                    count = done + failed if bound == "+Inf" or seconds <= float(bound) else 0
                    lines.append(f'mynah_request_seconds_bucket{{{labels},le="{bound}"}} {count}')
        return "\n".join(lines) + "\n"


class _Paths(HttpFake):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def respond(self, request):
        status, kind, text = self.answer(request.target)
        return Answer(status, text, {"Content-Type": kind})


@contextlib.contextmanager
def http_server(answer):
    """A server on a free port; `answer` is a function (path) to (code, content type, text). Yields its address."""
    with _Paths(answer) as server:
        yield server.url


@contextlib.contextmanager
def real_prometheus(folder, traffic):
    """Prometheus itself, which scrapes `traffic` ten times a second. Yields its address."""
    program = shutil.which("prometheus")
    if not program:
        pytest.skip("there is no prometheus (Debian's package of that name)")
    with http_server(lambda _: (200, "text/plain; version=0.0.4", traffic.exposition())) as target, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        (folder / "prometheus.yml").write_text(CONFIG.replace("TARGET", target.removeprefix("http://")))
        options = [
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={address}",
        ]
        process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(f"http://{address}/-/ready")
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(20)


def _wait_for(url):
    for _ in range(600):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")


def fake_prometheus(values):
    """Prometheus' query API by hand: `values` is a function (query) to a number, or None for no data."""

    def answer(path):
        address = urllib.parse.urlsplit(path)
        if address.path != "/api/v1/query":
            return 404, "text/plain", "404 page not found\n"
        query = urllib.parse.parse_qs(address.query)["query"][0]
        value = 1 if query == "vector(1)" else values(query)
        if isinstance(value, str):
            return 422, "application/json", json.dumps({"status": "error", "errorType": "execution", "error": value})
        shown = "NaN" if value is not None and math.isnan(value) else str(value)
        result = [] if value is None else [{"metric": {}, "value": [time.time(), shown]}]
        return 200, "application/json", json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})

    return http_server(answer)
