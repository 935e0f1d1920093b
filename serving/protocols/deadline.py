"""Cancels a running request when its client disconnects or its deadline passes."""

import asyncio
import json
import math

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import ApiError

TIMEOUT_HEADER = "x-request-timeout"  # seconds; the server's deadline is the upper limit


def seconds_for(scope: Scope, deadline: float) -> float:
    """Return the seconds that a request may run.

    Args:
        scope: the request, whose X-Request-Timeout is read.
        deadline: the server's limit, in seconds.

    Raises:
        ApiError: (400) the header is invalid.
    """
    value = Headers(scope=scope).get(TIMEOUT_HEADER)
    if value is None:
        return deadline
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise ApiError(400, f"X-Request-Timeout is {value[:40]!r}, and must be a number of seconds over 0")
    return min(seconds, deadline)


class DeadlineMiddleware:
    """Runs an application for one request whose body has been read, until it answers, the client disconnects or time runs out."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds
        self._started = False
        self._finished = False
        self._disconnected = False
        self._expired = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application and cancel it, and its generation, when needed. Answers 504 after the deadline."""
        self._task = asyncio.current_task()
        self._scope, self._send = scope, send
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._seconds, self._expire)
        disconnect_task = loop.create_task(self._watch_disconnect(receive))
        try:
            await self._app(scope, receive, self._track_send)
        except asyncio.CancelledError:
            await self._answer_cancelled()
        finally:
            timer.cancel()
            disconnect_task.cancel()

    async def _track_send(self, message: Message) -> None:
        self._started = True
        if not message.get("more_body", False) and message["type"] == "http.response.body":
            self._finished = True
        await self._send(message)

    def _expire(self) -> None:
        if not self._finished:
            self._expired = True
            self._cancel_request()

    async def _watch_disconnect(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._finished:  # uvicorn reports a disconnect after a complete response too
            self._disconnected = True
            self._cancel_request()

    def _cancel_request(self) -> None:
        if self._task:
            self._task.cancel()

    async def _answer_cancelled(self) -> None:
        while self._task and (self._disconnected or self._expired) and self._task.cancelling():
            self._task.uncancel()
        if self._disconnected:
            return
        error = ApiError(503, "the server is stopping; try again later")  # uvicorn cancelled it at the end of the grace period
        if self._expired:
            error = ApiError(504, f"the answer took more than {self._seconds:g} seconds; ask for fewer tokens or texts")
        if not self._started:
            await error.response_to(self._scope)(self._scope, _receive_nothing, self._send)
        elif not self._finished:  # only event streams, which are OpenAI's, start before they are complete
            event = f"data: {json.dumps(error.body(openai=True))}\n\n".encode()
            await self._send({"type": "http.response.body", "body": event, "more_body": False})


async def _receive_nothing() -> Message:
    return {"type": "http.disconnect"}
