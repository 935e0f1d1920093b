"""What the fake services share: a threaded HTTP server, JSON answers, the requests that came, and failures by a script."""

import gzip
import json
import ssl
import sys
import threading
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit


class Request(NamedTuple):
    """A request that came; `target` is what its first line says, of which `path` and `query` are the parts."""

    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


class Answer(NamedTuple):
    """What is sent: bytes, text, or a value as JSON; of its body the last `cut` bytes never are."""

    status: int
    body: object = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    cut: int = 0

    def encoded(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


class Refusal(Exception):  # noqa: N818 - as mynah.core.errors has it
    """Raised while an answer is made: `answer` is sent instead."""

    def __init__(self, answer: Answer, message: str = "") -> None:
        super().__init__(message)
        self.answer = answer


class HttpFake:
    """A server on a free port from its construction to `stop`, or to the end of a with-block.

    `failures` is taken from one by one, one for each request: None to answer well, an Answer, or a function of the handler.
    """

    gzips = False  # whether JSON goes packed to clients that take it so
    json_type = "application/json; charset=utf-8"
    bytes_type = "application/octet-stream"

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.failures: list[Answer | Callable[[Handler], None] | None] = []
        self.ended = threading.Event()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.fake = self
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def respond(self, request: Request) -> Answer:
        """The answer to a request; may raise a Refusal."""
        raise NotImplementedError

    def handle(self, handler: "Handler") -> None:
        """Read a request, keep it, and answer it."""
        request = handler.read_request()
        if request is None:  # the client is gone
            return
        self.requests.append(request)
        failure = self.failures.pop(0) if self.failures else None
        if callable(failure):
            failure(handler)
            return
        handler.send(failure or self.answer_to(request))

    def answer_to(self, request: Request) -> Answer:
        try:
            return self.respond(request)
        except Refusal as refusal:
            return refusal.answer

    def stop(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open, as a real server's do
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's acknowledgement of its head

    def _handle(self) -> None:
        self.fake.handle(self)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - as BaseHTTPRequestHandler names them

    @property
    def fake(self) -> HttpFake:
        return self.server.fake

    def as_request(self, body: bytes = b"") -> Request:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return Request(self.command, self.path, parts.path, query, self.headers, body)

    def read_request(self) -> Request | None:
        """The request with its body; None where the client left in the middle of it."""
        length = int(self.headers.get("Content-Length") or 0)
        body = self._chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return None
        return self.as_request(body)

    def _chunks(self) -> bytes:
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def send(self, answer: Answer) -> None:
        data = answer.encoded()
        kind = {bytes: self.fake.bytes_type, str: "text/plain; charset=utf-8"}.get(type(answer.body), self.fake.json_type)
        headers = {"Content-Type": kind, **answer.headers}
        takes_gzip = self.fake.gzips and "gzip" in self.headers.get("Accept-Encoding", "")
        if takes_gzip and headers["Content-Type"].startswith("application/json"):
            data, headers["Content-Encoding"] = gzip.compress(data), "gzip"
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) - answer.cut])
        if answer.cut:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fake: HttpFake

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that did not wait for its answer is no error; a defect of the fake is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
