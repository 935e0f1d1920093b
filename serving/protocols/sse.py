"""Server-sent events: what a stream's pieces become on the wire, one `send` for each.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

DONE = b"data: [DONE]\n\n"


def event(data: object) -> bytes:
    """One event, whose data is JSON; JSON has no line break to escape."""
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


class EventStream(Response):
    """A response of events that are made as they are sent. `stack`, what they need, is closed whatever happens to the connection."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], headers: Mapping[str, str], stack: AsyncExitStack) -> None:
        self._events = events
        self._stack = stack
        self.status_code = 200
        self.background = None
        # A proxy that gathers answers before it passes them on would undo the streaming.
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **headers})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events. Whoever left, or is late, has this cancelled (see `serving.protocols.watch`)."""
        async with self._stack, aclosing(self._events) as events:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for each in events:
                await send({"type": "http.response.body", "body": each, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
