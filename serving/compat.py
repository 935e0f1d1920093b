"""The undocumented parts of uvicorn that the server uses, in one place.

They were checked in the source of the versions below, which constraints.txt pins. `tests/code/test_compat.py` fails when a pin changes
and this module does not. `serving.protocols.http_limits` also overrides the parser's callbacks of this protocol.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator

import uvicorn
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

WRITTEN_FOR = {"uvicorn": "0.54.0", "httptools": "0.9.0"}
SIGNALS = (signal.SIGINT, signal.SIGTERM)

__all__ = ["STATUS_LINE", "WRITTEN_FOR", "Protocol", "Server"]


class _UnframedCycle(RequestResponseCycle):
    """A response to HTTP/1.0, which knows no chunks and no 100 Continue: without a length it ends with the connection (RFC 9112 6.3)."""

    is_unframed = False

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message without chunks."""
        if message["type"] == "http.response.start":
            self.is_unframed = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            if self.is_unframed:
                self.chunked_encoding = False
        elif self.is_unframed and message["type"] == "http.response.body":
            self.expected_content_length = len(message.get("body", b""))  # of this part; the next one sets its own
        await super().send(message)


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol over httptools."""

    def on_headers_complete(self) -> None:
        """Begin the response, which is sent in chunks to clients that know them."""
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = _UnframedCycle  # uvicorn makes it, and has not run it yet
            self.cycle.waiting_for_100_continue = False

    def stop_keep_alive_clock(self) -> None:
        """Stop the timer that closes an idle connection."""
        self._unset_keepalive_if_required()


class Server(uvicorn.Server):
    """uvicorn's server, which handles signals with `handle_exit` and returns when it has stopped."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the block runs. uvicorn's own method raises them again afterwards, which would kill the process."""
        if threading.current_thread() is not threading.main_thread():  # Python sets handlers in the main thread only
            yield
            return
        handlers = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
