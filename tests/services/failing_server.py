"""A real HTTP server that answers by a function, and fails by a script as servers and networks fail."""

import contextlib
import gzip
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit


class Asked(NamedTuple):
    """A request that came."""

    path: str
    query: dict
    headers: dict


class Answer(NamedTuple):
    """What is sent: a JSON value or bytes."""

    status: int
    body: object
    headers: dict = {}  # noqa: RUF012 - never changed


class FailingServer:
    """`failures` is taken from one by one, one for each request: None to answer well, an Answer, or a function of the handler."""

    def __init__(self, answer):
        self.answer, self.failures, self.asked = answer, [], []
        self.ended = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer takes 40 ms

    def do_GET(self):
        server = self.server.fake
        parts = urlsplit(self.path)
        asked = Asked(parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), dict(self.headers.items()))
        server.asked.append(asked)
        failure = server.failures.pop(0) if server.failures else None
        if callable(failure):
            failure(self)
            return
        self.answer(failure or server.answer(asked))

    def answer(self, answer, cut=0):
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        headers = {"Content-Type": "application/json; charset=utf-8", **answer.headers}
        if "gzip" in self.headers.get("Accept-Encoding", "") and headers["Content-Type"].startswith("application/json"):
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        self.send_response(answer.status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) - cut])

    def log_message(self, *_):
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that did not wait for its answer."""


def reset(handler):
    """The connection is reset, as by a firewall."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def truncated(handler):
    """A good answer, of which the last bytes never come."""
    handler.answer(handler.server.fake.answer(handler.server.fake.asked[-1]), cut=40)
    handler.close_connection = True


def dripping(handler):
    """A body that never ends, a byte at a time."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    handler.close_connection = True
    with contextlib.suppress(OSError):
        while not handler.server.fake.ended.is_set():
            handler.wfile.write(b" ")
            time.sleep(0.02)


def flooding(handler):
    """A body that never ends, as fast as it can."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    handler.close_connection = True
    with contextlib.suppress(OSError):
        while not handler.server.fake.ended.is_set():
            handler.wfile.write(b" " * (1 << 20))


def silent(handler):
    """No answer at all."""
    handler.server.fake.ended.wait(20)
    handler.close_connection = True


LOGIN_PAGE = Answer(200, b"<!DOCTYPE html><html><body>We will be back soon</body></html>", {"Content-Type": "text/html"})


@contextlib.contextmanager
def running(fake):
    """Serve `fake`, a FailingServer, while the block runs."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.fake, fake.port = fake, server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.ended.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
