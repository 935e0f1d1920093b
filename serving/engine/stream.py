"""What a request gets from the engine: pieces of text as they come, or the whole answers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from serving.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token of an answer; its logprob in nats, and the likeliest tokens with theirs, where the request asked for them."""

    id: int
    text: str
    logprob: float = 0.0
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """What one step adds to one sample of one prompt; `finish` is "" until its last piece: "stop" or "length"."""

    prompt: int
    sample: int
    text: str
    tokens: tuple[Chosen, ...]
    finish: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One sample: the continuation of its prompt, without the prompt."""

    text: str
    finish: str
    tokens: tuple[Chosen, ...]


class Stream:
    """A request's answers on their way. The engine's thread puts pieces in; the event loop takes them out."""

    def __init__(self, prompts: int, samples: int, prompt_tokens: int, cancel: Callable[["Stream"], None]) -> None:
        self.prompt_tokens = prompt_tokens
        self.read: dict[
            int, tuple[Chosen, ...]
        ] = {}  # each prompt's own tokens, there before its first piece, where they were asked for
        self.written = 0  # tokens so far
        self._prompts, self._samples = prompts, samples
        self._unfinished = prompts * samples
        self._pieces: deque[Piece] = deque()
        self._error: Refusal | None = None
        self._woken = asyncio.Event()
        self._eager = False  # whether each piece wakes the reader, or only the end
        self._cancel = cancel
        self.cancelled = False

    # On the engine's thread

    def put(self, piece: Piece) -> bool:
        """Add a piece; returns whether the reader must be woken."""
        self._pieces.append(piece)
        self.written += len(piece.tokens)
        if piece.finish:
            self._unfinished -= 1
        return self._eager or not self._unfinished

    def fail(self, error: Refusal) -> None:
        """End it with `error`."""
        self._error = error

    # On the event loop

    def wake(self) -> None:
        """Let the reader look."""
        self._woken.set()

    def cancel(self) -> None:
        """Give up: its samples leave the batch at the next step. Safe to call twice, and after the end."""
        if self._unfinished and not self.cancelled:
            self.cancelled = True
            self._cancel(self)

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """The pieces as they come. Raises Refusal when the engine gives it up; leaving the loop early cancels it."""
        self._eager = True
        left = self._prompts * self._samples
        try:
            while left:
                while self._pieces:
                    piece = self._pieces.popleft()
                    left -= bool(piece.finish)
                    yield piece
                if left:
                    await self._more()
        finally:
            if left:
                self.cancel()

    async def answers(self) -> list[list[Answer]]:
        """All answers when the last has ended, [prompt][sample]. Raises Refusal; being cancelled cancels them."""
        try:
            while self._unfinished:
                await self._more()
        except BaseException:
            self.cancel()
            raise
        return _joined(self._pieces, self._prompts, self._samples)

    async def _more(self) -> None:
        if self._error:
            raise self._error
        await self._woken.wait()
        self._woken.clear()
        if self._error and not self._pieces:
            raise self._error


def _joined(pieces: Iterable[Piece], prompts: int, samples: int) -> list[list[Answer]]:
    texts: dict[tuple[int, int], list[Piece]] = {}
    for piece in pieces:
        texts.setdefault((piece.prompt, piece.sample), []).append(piece)
    return [[_answer(texts[prompt, sample]) for sample in range(samples)] for prompt in range(prompts)]


def _answer(pieces: list[Piece]) -> Answer:
    tokens = tuple(token for piece in pieces for token in piece.tokens)
    return Answer("".join(piece.text for piece in pieces), pieces[-1].finish, tokens)
