"""Limits on HTTP/1.1 request heads and slow clients, which uvicorn's httptools protocol lacks: it keeps any number of headers.

A request head (request line and headers) has at most 100 headers and 64 KiB and must arrive within 30 seconds. A body that still
arrives long after the response is not read to its end, and a client that stops reading is disconnected.
"""

import asyncio
import json

import httptools

from serving.compat import STATUS_LINE, Protocol

MAX_HEADERS = 100
MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 30.0
READER_SECONDS = (
    30.0  # after which the connection of a client that does not read its response is closed, and its request cancelled
)
LINGER_SECONDS = 15.0  # for the rest of a rejected body: closing at once could lose the error response

MESSAGES = {
    400: "this is not a valid HTTP request",
    408: f"the request's headers took more than {HEAD_SECONDS:.0f} seconds to arrive",
    431: f"a request may have at most {MAX_HEADERS} headers and {MAX_HEAD_BYTES:,} bytes of headers; send fewer",
}


class _HeadTooLarge(Exception):  # noqa: N818 - raised in a parser's callback and handled by data_received
    """The request head exceeds a limit."""


class BoundedProtocol(Protocol):
    """uvicorn's httptools protocol with the limits above; it answers 400, 408 and 431 itself and closes the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Start the timer for the first request's head."""
        super().connection_made(transport)
        self._unparsed_bytes = 0  # bytes read since the parser last completed an element
        self._header_count = self._head_bytes = 0  # of the current request
        self._is_message_complete = True  # whether the newest request has fully arrived
        # Bytes of a body that the parser leaves unread because its request offers a protocol upgrade.
        self._unread_body_bytes: int | None = None
        self._reader_timer: asyncio.TimerHandle | None = None
        self._timer = self.loop.call_later(HEAD_SECONDS, self._refuse, 408)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._timer.cancel()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the reader's timer: the client does not keep up."""
        super().pause_writing()
        if not self._reader_timer:
            self._reader_timer = self.loop.call_later(READER_SECONDS, self._drop_reader)

    def _drop_reader(self) -> None:
        if self.cycle:
            self.cycle.disconnected = True  # discards further writes
        self.transport.abort()

    def resume_writing(self) -> None:
        """Stop the reader's timer: the client keeps up again."""
        if self._reader_timer:
            self._reader_timer.cancel()
            self._reader_timer = None
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse data in slices, so that the limit holds within one large read too."""
        self.stop_keep_alive_clock()
        if self._unread_body_bytes is not None:
            self._read_upgrade_body(data)
            return
        for start in range(0, len(data), MAX_HEAD_BYTES):
            if self.transport.is_closing():
                return
            part = data[start : start + MAX_HEAD_BYTES]
            self._unparsed_bytes += len(part)
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserCallbackError as error:
                self._refuse(431 if isinstance(error.__context__, _HeadTooLarge) else 400)
            except httptools.HttpParserError:
                self._refuse(400)
            except httptools.HttpParserUpgrade as offered:
                self._read_upgrade_body(data[start + offered.args[0] :])
                return
            else:
                if self._unparsed_bytes > MAX_HEAD_BYTES:
                    self._refuse(431)

    def _read_upgrade_body(self, data: bytes) -> None:
        """Read the body of a request that offers WebSocket or HTTP/2 and is answered as plain HTTP/1.1; it is the connection's last."""
        assert self._unread_body_bytes is not None
        body, self._unread_body_bytes = data[: self._unread_body_bytes], max(0, self._unread_body_bytes - len(data))
        if body:
            self.on_body(body)
        if not self._unread_body_bytes and not self._is_message_complete:
            self.on_message_complete()

    def on_message_begin(self) -> None:
        """Reset counts and timer at a request's first byte."""
        super().on_message_begin()
        self._header_count, self._head_bytes, self._is_message_complete = 0, 0, False
        self._timer.cancel()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._refuse, 408)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header or trailer; raise _HeadTooLarge past a limit."""
        self._header_count += 1
        self._head_bytes += len(name) + len(value)
        if self._header_count > MAX_HEADERS or self._head_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the timer: the head has arrived."""
        self._timer.cancel()
        self._unparsed_bytes = 0
        super().on_headers_complete()
        if self.parser.should_upgrade():
            lengths = [value for name, value in self.headers if name == b"content-length"]
            self._unread_body_bytes = int(lengths[0]) if lengths and lengths[0].isdigit() else 0
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Complete the request, unless a body remains that the parser does not read."""
        if self._unread_body_bytes:
            return
        self._unparsed_bytes, self._is_message_complete = 0, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give the rest of an answered request's body some time to arrive; it is discarded."""
        super().on_response_complete()
        if not self._is_message_complete and not self.transport.is_closing():
            self._timer.cancel()
            self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _refuse(self, status: int) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # otherwise the error would land inside another response
            body = json.dumps({"error": MESSAGES[status]}).encode()
            head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()
