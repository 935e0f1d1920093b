"""Whose turn it is to generate: one request at a time, a bounded number waiting, and the event loop free meanwhile."""

import asyncio
import threading

from serving.ask import Ask
from serving.engine import Engine
from serving.refusals import Refusal

MOST_WAITING = 32  # requests; at one to three seconds each, those behind would outwait their callers' patience


class Turns:
    """The queue in front of every engine of a process, first come, first served."""

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self._waiting = 0
        self._turn = asyncio.Lock()

    async def answer(self, engine: Engine, ask: Ask) -> list[list[str]]:
        """`ask.sampling.n` texts for each prompt, generated in a thread so that health checks are answered meanwhile.

        Each prompt starts from the same seed, so its texts do not depend on the prompts beside it.
        Raises Refusal: 503 when too many requests wait or the server stops, 400 when a prompt is too long.
        """
        if self._waiting >= self._most_waiting:
            raise Refusal(503, f"{self._waiting} requests are waiting already; try again later")
        try:
            await self._wait()
            try:
                return await _in_thread(engine, ask)
            finally:
                self._turn.release()
        except asyncio.CancelledError as error:  # by uvicorn, when the grace is over: let the caller know instead
            raise Refusal(503, "the server is stopping; try again later") from error

    async def _wait(self) -> None:
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1


async def _in_thread(engine: Engine, ask: Ask) -> list[list[str]]:
    stop = threading.Event()

    def generate_all() -> list[list[str]]:
        return [engine.generate(prompt, ask.sampling, stop) for prompt in ask.prompts]

    try:
        return await asyncio.to_thread(generate_all)
    except asyncio.CancelledError:
        stop.set()  # a thread cannot be cancelled, and the process would wait for it at its end
        raise
