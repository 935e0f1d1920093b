"""The engine: one thread that decodes for everybody. A request joins the running batch at the next step, and leaves when it is done."""

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from serving.engine.ask import Ask
from serving.engine.model import Model, decode_here
from serving.engine.run import Run, Sample
from serving.engine.stream import Stream
from serving.refusals import Refusal

MOST_PREFILL = 64  # prompt tokens that one step takes in, so that those who run do not wait long for those who come
INTERNAL = Refusal(500, "internal error")
log = logging.getLogger("mynah.engine")


class Observer(Protocol):
    """Is told of every step, on the engine's thread: must be quick."""

    def step(self, label: str, batch: int, seconds: float) -> None:
        """One decoding step: `batch` samples got a token each."""

    def prefill(self, label: str, prompts: int, tokens: int, seconds: float) -> None:
        """Prompts were taken in."""


@dataclass(eq=False)
class _Waiting:
    """A request with samples that have no slot yet: [(prompt's number, sample's number)]."""

    model: Model
    ask: Ask
    label: str
    stream: Stream
    prompts: list[list[int]]
    left: deque[tuple[int, int]] = field(default_factory=deque)


class Engine:
    """Decodes for all models of a process. `start` and `submit` belong to the event loop."""

    def __init__(
        self, most_running: int = 64, most_waiting: int = 256, observer: Observer | None = None, *, allow_verbatim: bool = False
    ) -> None:
        self._most_running, self._most_waiting = most_running, most_waiting
        self._observer, self._allow_verbatim = observer, allow_verbatim
        self._queue: deque[_Waiting] = deque()
        self._cancelled: list[Stream] = []
        self._runs: dict[Model, Run] = {}
        self._changed = threading.Condition()
        self._closing = self._ended = False
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
        return self._thread.is_alive() and not self._closing

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
            self._queue.append(_Waiting(model, ask, label, stream, prompts, left))
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
                except Exception:  # noqa: BLE001 - told in the log, and to those whom it is about
                    self._abandon(model, run.streams)
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
        """Take in waiting samples, first come first served, as far as slots and this step's prompt tokens go."""
        free, tokens = self._most_running - self.running, 0
        chosen: dict[Model, list[tuple[_Waiting, int, list[int]]]] = {}
        while free > 0 and self._queue and tokens < MOST_PREFILL:
            first = self._queue[0]
            prompt = first.left[0][0]
            samples = []
            while first.left and first.left[0][0] == prompt and free > 0:
                samples.append(first.left.popleft()[1])
                free -= 1
            chosen.setdefault(first.model, []).append((first, prompt, samples))
            tokens += len(first.prompts[prompt])
            if not first.left:
                with self._changed:
                    self._queue.popleft()
        for model, groups in chosen.items():
            try:
                # Before the step: nobody waits for others' tokens to see the first of theirs.
                self._wake(self._begin(model, groups))
            except Exception:  # noqa: BLE001 - out of memory, perhaps; told in the log, and to those whom it is about
                self._abandon(model, {each.stream for each, _, _ in groups})

    def _begin(self, model: Model, groups: Sequence[tuple[_Waiting, int, list[int]]]) -> set[Stream]:
        began = time.perf_counter()
        run = self._runs.setdefault(model, Run(model, groups[0][0].label))
        made = [
            [
                Sample.begin(
                    each.stream, each.ask, model, prompt, sample, each.prompts[prompt], allow_verbatim=self._allow_verbatim
                )
                for sample in samples
            ]
            for each, prompt, samples in groups
        ]
        woken = run.add([each.prompts[prompt] for each, prompt, _ in groups], made)
        if self._observer:
            tokens = sum(len(each.prompts[prompt]) for each, prompt, _ in groups)
            self._observer.prefill(run.label, len(groups), tokens, time.perf_counter() - began)
        return woken

    def _abandon(self, model: Model, streams: set[Stream]) -> None:
        """Give up the requests to `model`, whose cache nobody knows the state of now; the others go on."""
        log.exception("the engine failed at a step; the requests that it was about are given up")
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
