"""The engine: one thread that decodes for everybody. A request joins the running batch at the next step, and leaves when it is done."""

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from components.decoding.model import Model, decode_here
from serving.engine.ask import Ask
from serving.engine.queue import Group, Waiting, choose
from serving.engine.run import Run, Sample
from serving.engine.stream import Stream
from serving.refusals import Refusal

LONG_PREFILL = 0.05  # seconds; after one that takes longer, who runs goes on for as long before the next
CACHE = 1 << 30  # bytes
INTERNAL = Refusal(500, "internal error")
log = logging.getLogger("mynah.engine")


class Observer(Protocol):
    """Is told of every step, on the engine's thread: must be quick."""

    def step(self, label: str, batch: int, seconds: float) -> None:
        """One decoding step: `batch` samples got a token each."""

    def prefill(self, label: str, prompts: int, tokens: int, seconds: float) -> None:
        """Prompts were taken in."""


class Engine:
    """Decodes for all models of a process. `start` and `submit` belong to the event loop."""

    def __init__(
        self,
        most_running: int = 64,
        most_waiting: int = 256,
        observer: Observer | None = None,
        *,
        cache: int = CACHE,
        allow_verbatim: bool = False,
    ) -> None:
        """`cache`: bytes that the running samples' keys and values may take in all; a sample alone is never refused for them."""
        self._most_running, self._most_waiting, self._cache = most_running, most_waiting, cache
        self._observer, self._allow_verbatim = observer, allow_verbatim
        self._queue: deque[Waiting] = deque()
        self._cancelled: list[Stream] = []
        self._runs: dict[Model, Run] = {}
        self._changed = threading.Condition()
        self._closing = self._ended = self._device_lost = False
        self._rest_until = 0.0
        self._pace = 0.05  # seconds a sample takes of the whole, smoothed; for the wait that a full queue is told
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, daemon=True, name="engine")

    def start(self) -> None:
        """Begin; the running event loop is the one whose coroutines read the streams."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it decodes, and takes requests."""
        return self._thread.is_alive() and not self._closing and not self._device_lost

    @property
    def device_lost(self) -> bool:
        """Whether the GPU has failed in a way that only a new process mends."""
        return self._device_lost

    @property
    def waiting(self) -> int:
        """Requests with samples that have no slot yet."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Samples in the batch."""
        return sum(run.size for run in list(self._runs.values()))

    def submit(self, model: Model, ask: Ask, label: str = "") -> Stream:
        """Queue `ask`. Raises Refusal: 400 when a prompt leaves no room in the context, 503 when the queue is full or the end is near."""
        if not self.alive:
            raise Refusal(503, "the server is stopping; try again later", retry_after=5)
        if len(self._queue) >= self._most_waiting:
            wait = max(1, math.ceil(self._pace * sum(len(each.left) for each in list(self._queue))))
            raise Refusal(
                503, f"{len(self._queue)} requests are waiting already, for about {wait} s; try again then", retry_after=wait
            )
        prompts = [_encode(model, prompt, ask) for prompt in ask.prompts]
        stream = Stream(len(prompts), ask.sampling.n, sum(map(len, prompts)) - len(prompts), self._cancel)
        left = deque((prompt, sample) for prompt in range(len(prompts)) for sample in range(ask.sampling.n))
        with self._changed:
            self._queue.append(Waiting(model, ask, label, stream, prompts, left))
            self._changed.notify()
        return stream

    async def close(self, grace: float) -> None:
        """Take no more, let what runs and waits finish within `grace` seconds, end the rest with a Refusal (503), and return."""
        self._closing = True
        deadline = time.monotonic() + grace
        while (self._queue or self._runs) and time.monotonic() < deadline and self._thread.is_alive():
            await asyncio.sleep(0.02)
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 10)
        await asyncio.sleep(0)  # what the thread scheduled last

    def _cancel(self, stream: Stream) -> None:
        with self._changed:
            self._cancelled.append(stream)
            self._changed.notify()

    # On the thread

    def _work(self) -> None:
        decode_here()
        while self._wait():
            try:
                self._turn()
            except Exception:
                log.exception("the engine failed at a step; the requests that it was about are given up")
                self._give_up(INTERNAL)
        self._give_up(Refusal(503, "the server is stopping; try again later", retry_after=5))

    def _wait(self) -> bool:
        with self._changed:
            while not (self._queue or self._runs or self._cancelled or self._ended):
                self._changed.wait()
            return not self._ended

    def _turn(self) -> None:
        self._drop_cancelled()
        self._admit()
        woken: set[Stream] = set()
        for model, run in list(self._runs.items()):
            if run.size:
                began = time.perf_counter()
                size = run.size
                try:
                    woken |= run.step()
                except Exception as error:  # noqa: BLE001 - told in the log, and to those whom it is about
                    self._abandon(model, run.streams, error)
                    continue
                self._told(run, size, time.perf_counter() - began)
            if not run.size:
                del self._runs[model]  # and its cache
        self._wake(woken)

    def _told(self, run: Run, size: int, seconds: float) -> None:
        self._pace += 0.02 * (seconds * run.mean_length / max(1, size) - self._pace)
        if self._observer:
            self._observer.step(run.label, size, seconds)

    def _drop_cancelled(self) -> None:
        with self._changed:
            gone, self._cancelled = set(self._cancelled), []
            if gone:
                for each in [each for each in self._queue if each.stream in gone]:
                    self._queue.remove(each)
        if gone:
            for model, run in list(self._runs.items()):
                run.drop(gone)
                if not run.size:
                    del self._runs[model]

    def _admit(self) -> None:
        """Take in what waits, as far as there is room for it; not at once after prompts so long that who runs waited for them."""
        if not self._queue or (self._runs and time.perf_counter() < self._rest_until):
            return
        with self._changed:
            chosen = choose(self._queue, self._runs, self._most_running, self._cache)
        by_model: dict[Model, list[Group]] = {}
        for group in chosen:
            by_model.setdefault(group.request.model, []).append(group)
        for model, groups in by_model.items():
            try:
                # Before the step: nobody waits for others' tokens to see the first of theirs.
                self._wake(self._begin(model, groups))
            except Exception as error:  # noqa: BLE001 - out of memory, perhaps; told in the log, and to those whom it is about
                self._abandon(model, {group.request.stream for group in groups}, error)

    def _begin(self, model: Model, groups: Sequence[Group]) -> set[Stream]:
        began, alone = time.perf_counter(), not self._runs
        run = self._runs.setdefault(model, Run(model, groups[0].request.label))
        made = [
            [
                Sample.begin(
                    group.request.stream, group.request.ask, model, group.prompt, sample, group.ids,
                    allow_verbatim=self._allow_verbatim,
                )
                for sample in group.samples
            ]
            for group in groups
        ]  # fmt: skip
        woken = run.add([group.ids for group in groups], made)
        seconds = time.perf_counter() - began
        if seconds > LONG_PREFILL and not alone:
            self._rest_until = time.perf_counter() + seconds
        if self._observer:
            self._observer.prefill(run.label, len(groups), sum(len(group.ids) for group in groups), seconds)
        return woken

    def _abandon(self, model: Model, streams: set[Stream], error: Exception) -> None:
        """Give up the requests to `model`, whose cache nobody knows the state of now; the others go on."""
        log.exception("the engine failed at a step; the requests that it was about are given up")
        self._device_lost |= "CUDA error" in str(error)  # each later call fails as well
        run = self._runs.pop(model, None)
        streams |= run.streams if run else set()
        with self._changed:
            for each in [each for each in self._queue if each.stream in streams]:  # with samples that have not begun
                self._queue.remove(each)
        for stream in streams:
            stream.fail(INTERNAL)
        self._wake(streams)

    def _give_up(self, why: Refusal) -> None:
        with self._changed:
            waiting, self._queue = list(self._queue), deque()
        streams = {each.stream for each in waiting} | {stream for run in self._runs.values() for stream in run.streams}
        self._runs.clear()
        for stream in streams:
            stream.fail(why)
        self._wake(streams)

    def _wake(self, streams: set[Stream]) -> None:
        if streams and self._loop:
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody reads
                self._loop.call_soon_threadsafe(_wake_all, streams)


def _wake_all(streams: set[Stream]) -> None:
    for stream in streams:
        stream.wake()


def _encode(model: Model, prompt: str, ask: Ask) -> list[int]:
    """The prompt's ids after the token that stands before every post. Raises Refusal (400) when it is too long."""
    if len(prompt) > 64 * model.context:  # no token is that long, and encoding megabytes takes a while
        raise Refusal(
            400, f"the prompt has {len(prompt):,} characters, more than the model's context of {model.context} tokens holds"
        )
    ids = [model.end, *model.encode(prompt)]
    if model.context - len(ids) < max(1, ask.sampling.min_tokens):
        raise Refusal(
            400,
            f"the prompt has {len(ids) - 1} tokens, and the model's context of {model.context} leaves no room for an answer. "
            "Shorten the prompt.",
        )
    return ids
