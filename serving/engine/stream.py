"""The answers of a request: chunks of text as they are generated, or complete answers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from mynah.decoding.request import TextChunk, TokenLogprob
from serving.engine.errors import EngineError


@dataclass(frozen=True, slots=True)
class Answer:
    """One sample: the continuation of its prompt, without the prompt."""

    text: str
    finish: str
    tokens: tuple[TokenLogprob, ...]


class Stream:
    """The answers of a running request. The engine's thread adds chunks; the event loop reads them.

    Attributes:
        prompt_tokens: The number of tokens of all prompts.
        prompt_logprobs: The prompt's tokens after the first, by the prompt's index, if requested; set before its first chunk.
        written: The number of tokens generated so far.
        cancelled: Whether the reader cancelled the request.
    """

    def __init__(self, prompts: int, samples: int, prompt_tokens: int, cancel: Callable[["Stream"], None]) -> None:
        """Create a stream.

        Args:
            prompts: The number of prompts.
            samples: The number of samples per prompt.
            prompt_tokens: The number of tokens of all prompts.
            cancel: Called on the event loop when the reader cancels the request.
        """
        self.prompt_tokens = prompt_tokens
        self.prompt_logprobs: dict[int, tuple[TokenLogprob, ...]] = {}
        self.written = 0
        self._prompts, self._samples = prompts, samples
        self._unfinished = prompts * samples
        self._chunks: deque[TextChunk] = deque()
        self._error: EngineError | None = None
        self._woken = asyncio.Event()
        self._is_streamed = False  # whether every chunk wakes the reader, or only the last
        self._cancel = cancel
        self.cancelled = False

    # On the engine's thread

    def put(self, chunk: TextChunk) -> bool:
        """Add a chunk. Return whether the reader must be woken."""
        self._chunks.append(chunk)
        self.written += len(chunk.tokens)
        if chunk.finish:
            self._unfinished -= 1
        return self._is_streamed or not self._unfinished

    def fail(self, error: EngineError) -> None:
        """End the stream with an error."""
        self._error = error

    # On the event loop

    def wake(self) -> None:
        """Wake the reader."""
        self._woken.set()

    def cancel(self) -> None:
        """Cancel the request; its samples leave the batch at the next step. A further call, or one after the end, has no effect."""
        if self._unfinished and not self.cancelled:
            self.cancelled = True
            self._cancel(self)

    async def __aiter__(self) -> AsyncIterator[TextChunk]:
        """Yield the chunks as they are generated. Leaving the loop early cancels the request. Raises EngineError."""
        self._is_streamed = True
        left = self._prompts * self._samples
        try:
            while left:
                while self._chunks:
                    chunk = self._chunks.popleft()
                    left -= bool(chunk.finish)
                    yield chunk
                if left:
                    await self._wait()
        finally:
            if left:
                self.cancel()

    async def answers(self) -> list[list[Answer]]:
        """Return the complete answers, [prompt][sample]. Cancelling this coroutine cancels the request. Raises EngineError."""
        try:
            while self._unfinished:
                await self._wait()
        except BaseException:
            self.cancel()
            raise
        return _join(self._chunks, self._prompts, self._samples)

    async def _wait(self) -> None:
        if self._error:
            raise self._error
        await self._woken.wait()
        self._woken.clear()
        if self._error and not self._chunks:
            raise self._error


def _join(chunks: Iterable[TextChunk], prompts: int, samples: int) -> list[list[Answer]]:
    texts: dict[tuple[int, int], list[TextChunk]] = {}
    for chunk in chunks:
        texts.setdefault((chunk.prompt, chunk.sample), []).append(chunk)
    return [[_answer(texts[prompt, sample]) for sample in range(samples)] for prompt in range(prompts)]


def _answer(chunks: list[TextChunk]) -> Answer:
    tokens = tuple(token for chunk in chunks for token in chunk.tokens)
    return Answer("".join(chunk.text for chunk in chunks), chunks[-1].finish, tokens)
