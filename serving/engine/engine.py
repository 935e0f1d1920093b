"""The engine: one thread that decodes all requests with continuous batching.

Requests join the running batch before its next step and leave it when they have finished (Yu et al. 2022, "Orca", iteration-level
scheduling).
"""

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence

from mynah.decoding.body import Body
from mynah.decoding.model import Model
from mynah.decoding.request import GenerationRequest, TextChunk, encode_prompt
from mynah.decoding.running_batch import MAX_CACHE_BYTES, RunningBatch, RunningSample
from mynah.decoding.threads import use_all_cores, use_free_cores, use_free_cores_for_prompts
from serving.engine.errors import EngineError, EngineStopped, GenerationFailed, QueueFull
from serving.engine.observer import Observer
from serving.engine.scheduler import Group, QueuedRequest, by_prompt, choose
from serving.engine.stream import Stream

LONG_PREFILL = 0.05  # seconds of prefills that running samples wait for; they are then decoded for the same time before the next
FIRST_PREFILLS = 0.15  # the same, where all samples that run began in these prefills
log = logging.getLogger("mynah.engine")


class Engine:
    """Decodes for all models of a process. Call `start` and `submit` on the event loop."""

    def __init__(
        self,
        max_running: int = 64,
        max_waiting: int = 256,
        observer: Observer | None = None,
        *,
        cache: int = MAX_CACHE_BYTES,
        allow_verbatim: bool = False,
    ) -> None:
        """Create an engine; `start` starts it.

        Args:
            max_running: The maximum number of samples in the batches of all models.
            max_waiting: The maximum number of queued requests; beyond it, `submit` raises QueueFull.
            observer: Receives the durations of steps and prefills.
            cache: The maximum bytes of the running samples' keys and values; one sample alone may exceed it.
            allow_verbatim: Whether an answer may repeat a training post.
        """
        self._max_running, self._max_waiting, self._cache = max_running, max_waiting, cache
        self._observer, self._allow_verbatim = observer, allow_verbatim
        self._queue: deque[QueuedRequest] = deque()
        self._cancelled: list[Stream] = []
        self._batches: dict[Body, RunningBatch[Stream]] = {}
        self._changed = threading.Condition()
        self._closing = self._ended = self._device_lost = False
        self._pause_until = 0.0
        self._seconds_per_sample = 0.05  # moving average over all models; for the wait that QueueFull reports
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, daemon=True, name="engine")

    def start(self) -> None:
        """Start the thread. Call it on the event loop whose coroutines read the streams."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the engine is running and accepts requests."""
        return self._thread.is_alive() and not self._closing and not self._device_lost

    @property
    def device_lost(self) -> bool:
        """Whether the GPU has failed so that only a new process can use it again."""
        return self._device_lost

    @property
    def waiting(self) -> int:
        """The number of requests with samples that have not started; a request whose samples are queued separately counts once."""
        return len({queued.stream for queued in list(self._queue)})

    @property
    def running(self) -> int:
        """The number of samples in the batches."""
        return sum(batch.size for batch in list(self._batches.values()))

    def submit(self, model: Model, request: GenerationRequest, label: str = "") -> Stream:
        """Queue a request.

        Args:
            model: The model; it must stay in memory until the stream ends.
            request: The prompts and how to continue them.
            label: The model's name in metrics.

        Returns:
            The stream of the answers.

        Raises:
            PromptTooLong: A prompt leaves no room in the model's context.
            QueueFull: The queue has reached its limit.
            EngineStopped: The engine is closing, or its GPU has failed.
        """
        if not self.alive:
            raise EngineStopped
        if (count := self.waiting) >= self._max_waiting:
            wait = max(1, math.ceil(self._seconds_per_sample * sum(len(queued.left) for queued in list(self._queue))))
            raise QueueFull(count, wait)
        prompts = [encode_prompt(model, request.encoded_text(prompt), request.sampling.min_tokens) for prompt in request.prompts]
        stream = Stream(len(prompts), request.sampling.n, sum(map(len, prompts)) - len(prompts), self._cancel)
        left = [(prompt, sample) for prompt in range(len(prompts)) for sample in range(request.sampling.n)]
        entries = [QueuedRequest(model, request, label, stream, prompts, deque(left))]
        if request.seeded and not model.is_exact:  # a batch of its own for each sample, whose result depends on no other
            entries = [QueuedRequest(model.apart(), request, label, stream, prompts, deque([sample])) for sample in left]
        with self._changed:
            self._queue.extend(entries)
            self._changed.notify()
        return stream

    async def close(self, grace: float) -> None:
        """Reject new requests, let others finish within `grace` seconds, and fail the remaining ones with EngineStopped."""
        self._closing = True
        deadline = time.monotonic() + grace
        while (self._queue or self._batches) and time.monotonic() < deadline and self._thread.is_alive():
            await asyncio.sleep(0.02)
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 10)
        await asyncio.sleep(0)  # run the callbacks that the thread scheduled last

    def _cancel(self, stream: Stream) -> None:
        with self._changed:
            self._cancelled.append(stream)
            self._changed.notify()

    # On the thread

    def _work(self) -> None:
        use_all_cores()
        while self._wait():
            try:
                self._run_once()
            except Exception:
                log.exception("the engine failed at a step; its requests are aborted")
                self._fail_all(GenerationFailed)
        self._fail_all(EngineStopped)

    def _wait(self) -> bool:
        with self._changed:
            while not (self._queue or self._batches or self._cancelled or self._ended):
                self._changed.wait()
            return not self._ended

    def _run_once(self) -> None:
        self._drop_cancelled()
        self._start_queued()
        use_free_cores(self._batches)
        woken: set[Stream] = set()
        for body, batch in list(self._batches.items()):
            if batch.size:
                started, size, labels = time.perf_counter(), batch.size, batch.labels
                try:
                    woken |= _put_chunks(batch.step())
                except Exception as error:  # noqa: BLE001 - _fail_batch logs it and fails the batch's requests
                    self._fail_batch(body, batch.owners, error)
                    continue
                self._report_step(batch, labels, size, time.perf_counter() - started)
            if not batch.size:
                del self._batches[body]  # with its KV cache
        self._wake(woken)

    def _report_step(self, batch: RunningBatch[Stream], labels: Collection[str], size: int, seconds: float) -> None:
        self._seconds_per_sample += 0.02 * (seconds * batch.mean_max_tokens / max(1, size) - self._seconds_per_sample)
        if self._observer:
            self._observer.step(labels, size, seconds)

    def _drop_cancelled(self) -> None:
        with self._changed:
            cancelled, self._cancelled = set(self._cancelled), []
            if cancelled:
                for queued in [queued for queued in self._queue if queued.stream in cancelled]:
                    self._queue.remove(queued)
        if cancelled:
            for body, batch in list(self._batches.items()):
                batch.remove(cancelled)
                if not batch.size:
                    del self._batches[body]

    def _start_queued(self) -> None:
        """Start queued samples as capacity allows, some prompts at a time; not directly after long prefills, which delayed running samples.

        First tokens are not made to wait for the steps of samples that began a moment before: prompts that arrive together are read one
        chunk after the other. Running samples wait for LONG_PREFILL, those of the same moment for FIRST_PREFILLS.
        """
        started, is_alone = time.perf_counter(), not self._batches
        if not is_alone and started < self._pause_until:
            return
        limit = FIRST_PREFILLS if is_alone else LONG_PREFILL
        seconds = 0.0
        while self._queue and self._start_some():
            seconds = time.perf_counter() - started
            if seconds >= limit:
                break
        if seconds > LONG_PREFILL and (seconds >= limit or not is_alone):
            self._pause_until = time.perf_counter() + seconds

    def _start_some(self) -> bool:
        """Start the samples of one chunk of prompts. Return whether there were any."""
        with self._changed:
            chosen = choose(self._queue, self._batches, self._max_running, self._cache)
        by_body: dict[Body, list[Group]] = {}
        for group in chosen:
            by_body.setdefault(group.queued.model.body, []).append(group)
        for body, groups in by_body.items():
            use_free_cores_for_prompts(body)
            try:
                # Wake the readers before the next step, so that first tokens do not wait for it.
                self._wake(self._prefill(body, groups))
            except Exception as error:  # noqa: BLE001 - such as out of memory; _fail_batch logs it
                self._fail_batch(body, {group.queued.stream for group in groups}, error)
        return bool(chosen)

    def _prefill(self, body: Body, groups: Sequence[Group]) -> set[Stream]:
        """Prefill groups of samples together. Return the streams whose readers must be woken."""
        batch = self._batches.setdefault(body, RunningBatch(body))
        alike = by_prompt(groups)
        samples = [[sample for group in several for sample in self._samples_of(group)] for several in alike]
        chunks = batch.add([several[0].ids for several in alike], samples)
        for (group, *_), (first, *_) in zip(alike, samples, strict=True):
            if first.prompt_logprobs is not None:
                group.queued.stream.prompt_logprobs[group.prompt] = first.prompt_logprobs
        woken = _put_chunks(chunks)
        if self._observer:
            tokens = Counter[str]()
            for group in groups:
                tokens[group.queued.label] += len(group.ids)
            self._observer.prefill(tokens)
        return woken

    def _samples_of(self, group: Group) -> list[RunningSample[Stream]]:
        stream, request = group.queued.stream, group.queued.request
        score_prompt = request.prompt_logprobs and group.prompt not in stream.prompt_logprobs
        return [
            RunningSample.begin(
                stream, request, group.queued.model, group.prompt, sample, group.ids,
                allow_verbatim=self._allow_verbatim, score_prompt=score_prompt,
                label=group.queued.label,
            )
            for sample in group.samples
        ]  # fmt: skip

    def _fail_batch(self, body: Body, streams: set[Stream], error: Exception) -> None:
        """Fail the requests of a body, whose KV cache is in an unknown state after an error; other bodies are not affected."""
        log.exception("the engine failed at a step; its requests are aborted")
        self._device_lost |= "CUDA error" in str(error)  # every later call fails too
        batch = self._batches.pop(body, None)
        streams |= batch.owners if batch else set()
        with self._changed:
            for queued in [queued for queued in self._queue if queued.stream in streams]:  # with samples that have not started
                self._queue.remove(queued)
        for stream in streams:
            stream.fail(GenerationFailed())
        self._wake(streams)

    def _fail_all(self, make_error: Callable[[], EngineError]) -> None:
        with self._changed:
            waiting, self._queue = list(self._queue), deque()
        streams = {queued.stream for queued in waiting} | {stream for batch in self._batches.values() for stream in batch.owners}
        self._batches.clear()
        for stream in streams:
            stream.fail(make_error())
        self._wake(streams)

    def _wake(self, streams: set[Stream]) -> None:
        if streams and self._loop:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so there are no readers
                self._loop.call_soon_threadsafe(_wake_all, streams)


def _put_chunks(chunks: Iterable[tuple[RunningSample[Stream], TextChunk]]) -> set[Stream]:
    """Add chunks to their streams. Return the streams whose readers must be woken."""
    woken = set()
    for sample, chunk in chunks:
        if sample.owner.put(chunk):
            woken.add(sample.owner)
    return woken


def _wake_all(streams: set[Stream]) -> None:
    for stream in streams:
        stream.wake()
