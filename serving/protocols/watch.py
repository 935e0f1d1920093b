"""A request that runs is given up when its sender leaves, or when its time is over."""

import asyncio
import json
import math

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.refusals import Refusal

HEADER = "x-request-timeout"  # seconds, lower than the deadline


def seconds_for(scope: Scope, deadline: float) -> float:
    """How long the request may run: what its header X-Request-Timeout says, and never more than `deadline`. Raises Refusal (400)."""
    said = Headers(scope=scope).get(HEADER)
    if said is None:
        return deadline
    try:
        seconds = float(said)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise Refusal(400, f"X-Request-Timeout is {said[:40]!r}, and must be a number of seconds over 0")
    return min(seconds, deadline)


class Watch:
    """Runs an application for one request, whose body has been read, until it answers, its sender leaves or its time is over."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds
        self._started = False
        self._ended = False
        self._gone = False
        self._overdue = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; cancelling it is what ends its generation. Answers 504 when the time is over."""
        self._task = asyncio.current_task()
        self._scope, self._send = scope, send
        loop = asyncio.get_running_loop()
        clock = loop.call_later(self._seconds, self._expire)
        leaving = loop.create_task(self._until_gone(receive))
        try:
            await self._app(scope, receive, self._sending)
        except asyncio.CancelledError:
            await self._given_up()
        finally:
            clock.cancel()
            leaving.cancel()

    async def _sending(self, message: Message) -> None:
        self._started = True
        if not message.get("more_body", False) and message["type"] == "http.response.body":
            self._ended = True
        await self._send(message)

    def _expire(self) -> None:
        if not self._ended:
            self._overdue = True
            self._cancel()

    async def _until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._ended:  # uvicorn says so after a whole answer, too
            self._gone = True
            self._cancel()

    def _cancel(self) -> None:
        if self._task:
            self._task.cancel()

    async def _given_up(self) -> None:
        while self._task and (self._gone or self._overdue) and self._task.cancelling():
            self._task.uncancel()
        if self._gone:
            return
        refusal = Refusal(503, "the server is stopping; try again later")  # it was uvicorn, when the grace was over
        if self._overdue:
            refusal = Refusal(504, f"the answer took more than {self._seconds:g} seconds; ask for fewer tokens or texts")
        if not self._started:
            await refusal.response_to(self._scope)(self._scope, _nothing, self._send)
        elif not self._ended:  # only a stream of events starts before it knows its end
            event = f"data: {json.dumps(refusal.body(self._scope['path']))}\n\n".encode()
            await self._send({"type": "http.response.body", "body": event, "more_body": False})


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
