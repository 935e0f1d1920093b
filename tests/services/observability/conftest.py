"""A small server with a log, metrics and a collector of traces."""

import http.server
import io
import threading

import pytest

from serving.observability.logs import Log
from serving.observability.metrics import Metrics
from tests.services.observability.telemetry import Collector
from tests.services.small_server import BOTS, small_server


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
