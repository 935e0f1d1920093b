"""HTTP/1.1 with limits on what comes before a body, which uvicorn's httptools parser lacks: it would keep any number of headers.

A head (request line and headers) has at most 100 headers and 64 KiB, and arrives within 30 seconds; a body that is still
arriving long after its request was answered is not read to its end, and a reader who stops reading loses the connection.
"""

import asyncio
import json

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MOST_HEADERS = 100
LARGEST_HEAD = 64 * 1024  # bytes
SLOWEST_HEAD = 30.0  # seconds
SLOWEST_READER = 30.0  # seconds that a reader may leave an answer unread; then it is gone, and its request with it
LINGERING = 15.0  # seconds for the rest of a refused body: a connection cut at once would take the refusal with it

SAID = {
    400: "this is not a valid HTTP request",
    408: f"the request's headers took more than {SLOWEST_HEAD:.0f} seconds to arrive",
    431: f"a request takes at most {MOST_HEADERS} headers and {LARGEST_HEAD:,} bytes of them; send fewer",
}


class _TooMany(Exception):  # noqa: N818 - leaves the parser's callback, and is answered
    """The head is over a limit."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol over httptools, with the limits above. Answers 400, 408 and 431 by itself, and closes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Start the clock for the first request."""
        super().connection_made(transport)
        self._silent = 0  # bytes that were read since the parser last finished something
        self._count = self._size = 0  # of its headers
        self._whole = True  # the message that was begun last has arrived to its end
        self._owed: int | None = None  # bytes of a body that the parser does not read, for its request offers another protocol
        self._unread: asyncio.TimerHandle | None = None
        self._clock = self.loop.call_later(SLOWEST_HEAD, self._refuse, 408)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._clock.cancel()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The reader does not keep up: start its clock."""
        super().pause_writing()
        if not self._unread:
            self._unread = self.loop.call_later(SLOWEST_READER, self._let_go)

    def _let_go(self) -> None:
        if self.cycle:
            self.cycle.disconnected = True  # what it writes from now on goes nowhere
        self.transport.abort()

    def resume_writing(self) -> None:
        """It does again."""
        if self._unread:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse, a slice at a time, so that the limit holds within one large read too."""
        self._unset_keepalive_if_required()
        if self._owed is not None:
            self._take(data)
            return
        for start in range(0, len(data), LARGEST_HEAD):
            if self.transport.is_closing():
                return
            part = data[start : start + LARGEST_HEAD]
            self._silent += len(part)
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserCallbackError as error:
                self._refuse(431 if isinstance(error.__context__, _TooMany) else 400)
            except httptools.HttpParserError:
                self._refuse(400)
            except httptools.HttpParserUpgrade as offered:
                self._take(data[start + offered.args[0] :])
                return
            else:
                if self._silent > LARGEST_HEAD:
                    self._refuse(431)

    def _take(self, data: bytes) -> None:
        """Read the body of a request that offers WebSocket or HTTP/2, and is answered as plain HTTP/1.1; nothing comes after it."""
        assert self._owed is not None
        body, self._owed = data[: self._owed], max(0, self._owed - len(data))
        if body:
            self.on_body(body)
        if not self._owed and not self._whole:
            self.on_message_complete()

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._count, self._size, self._whole = 0, 0, False
        self._clock.cancel()
        self._clock = self.loop.call_later(SLOWEST_HEAD, self._refuse, 408)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header, or a trailer, within the limit."""
        self._count += 1
        self._size += len(name) + len(value)
        if self._count > MOST_HEADERS or self._size > LARGEST_HEAD:
            raise _TooMany
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._clock.cancel()
        self._silent = 0
        super().on_headers_complete()
        if self.parser.should_upgrade():
            lengths = [value for name, value in self.headers if name == b"content-length"]
            self._owed = int(lengths[0]) if lengths and lengths[0].isdigit() else 0
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._silent = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has arrived, but for a body that is not the parser's to read."""
        if self._owed:
            return
        self._silent, self._whole = 0, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The request is answered: what is left of its body has a while to arrive, and is thrown away."""
        super().on_response_complete()
        if not self._whole and not self.transport.is_closing():
            self._clock.cancel()
            self._clock = self.loop.call_later(LINGERING, self.transport.close)

    def _refuse(self, status: int) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # or the words would land in another answer's midst
            body = json.dumps({"error": SAID[status]}).encode()
            head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()
