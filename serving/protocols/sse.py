"""Server-sent events: streams chunks as events, one `send` each.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

DONE = b"data: [DONE]\n\n"
# Line breaks to Unicode and not to the standard, which JSON may hold: httpx and requests split lines at them.
LINE_BREAKS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def encode(data: object) -> bytes:
    """Return a JSON value in UTF-8 without any line break."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return (text if text.isascii() else text.translate(LINE_BREAKS)).encode()


def event(data: object) -> bytes:
    """Return one event with JSON as its data."""
    return b"data: " + encode(data) + b"\n\n"


class EventStream(Response):
    """A response that sends events as they are generated.

    Args:
        events: the encoded events.
        headers: further response headers.
        stack: the resources that the events need; closed at the end, also when the connection fails.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], headers: Mapping[str, str], stack: AsyncExitStack) -> None:
        self._events = events
        self._stack = stack
        self.status_code = 200
        self.background = None
        # A proxy that buffers responses would undo the streaming.
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **headers})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events. A disconnect or the deadline cancels this (see `serving.protocols.deadline`)."""
        async with self._stack, aclosing(self._events) as events:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for chunk in events:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
