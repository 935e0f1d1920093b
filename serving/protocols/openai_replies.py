"""Builds the responses of OpenAI's completions and chat completions, whole and as streams of events."""

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mynah.decoding.request import GenerationRequest, TextChunk, TokenLogprob
from serving.engine.errors import EngineError
from serving.engine.stream import Answer
from serving.protocols.errors import to_api_error
from serving.protocols.openai_chat_types import ChatRequest
from serving.protocols.openai_logprobs import Offsets, chat_logprobs_of, logprobs_of
from serving.protocols.openai_types import CompletionRequest
from serving.protocols.sse import DONE, encode, event
from serving.service import RunningRequest

EVENT_STEP = 64  # bytes; the sizes of events with obfuscation are multiples of it


@dataclass(slots=True)
class Reply(ABC):
    """A response under construction, with what all of its parts share."""

    request: CompletionRequest | ChatRequest
    generation: GenerationRequest
    running: RunningRequest
    tokens: int = 0
    created: int = field(default_factory=lambda: int(time.time()))
    token: str = field(default_factory=lambda: secrets.token_hex(12))
    kind: ClassVar[str] = ""  # of the whole response
    chunk_kind: ClassVar[str] = ""  # of an event
    prefix: ClassVar[str] = ""  # of the response's id

    def head(self, kind: str) -> dict[str, Any]:
        """Return the fields that the response and each event of a stream share."""
        seed = self.generation.sampling.seed if self.request.seed is None else self.request.seed
        base = {"id": f"{self.prefix}-{self.token}", "object": kind, "created": self.created}
        return {**base, "model": self.running.address, "seed": seed}

    def usage(self) -> dict[str, int]:
        """Return the number of prompt tokens, and of tokens generated so far."""
        read = self.running.stream.prompt_tokens
        return {"prompt_tokens": read, "completion_tokens": self.tokens, "total_tokens": read + self.tokens}

    def whole(self, answers: Sequence[Sequence[Answer]]) -> dict[str, Any]:
        """Return the response of a request that is not streamed."""
        choices = [
            self.choice(prompt, sample, answer) for prompt, samples in enumerate(answers) for sample, answer in enumerate(samples)
        ]
        return {**self.head(self.kind), "choices": choices, "usage": self.usage()}

    @abstractmethod
    def choice(self, prompt: int, sample: int, answer: Answer) -> dict[str, Any]:
        """Return one of the texts: of the sample `sample` of the prompt `prompt`, by their indexes."""

    @abstractmethod
    def deltas(self, chunk: TextChunk) -> Sequence[Mapping[str, Any]]:
        """Return what a chunk adds to a choice; nothing while it has no text yet: part of a character, or of a stop string."""


@dataclass(slots=True)
class CompletionReply(Reply):
    """The response of completions."""

    request: CompletionRequest
    offsets: dict[tuple[int, int], Offsets] = field(default_factory=dict)  # by prompt and sample
    kind: ClassVar[str] = "text_completion"
    chunk_kind: ClassVar[str] = "text_completion"
    prefix: ClassVar[str] = "cmpl"

    def choice(self, prompt: int, sample: int, answer: Answer) -> dict[str, Any]:
        """Return one of the texts."""
        return self._choice(prompt, sample, answer.text, answer.tokens, answer.finish)

    def deltas(self, chunk: TextChunk) -> Sequence[Mapping[str, Any]]:
        """Return the text that a chunk adds, and the prompt before the first of a sample when it is echoed."""
        choice = self._choice(chunk.prompt, chunk.sample, chunk.text, chunk.tokens, chunk.finish)
        return [choice] if choice["text"] or chunk.finish or choice["logprobs"] else []

    def _choice(self, prompt: int, sample: int, text: str, tokens: Sequence[TokenLogprob], finish: str) -> dict[str, Any]:
        if self.request.max_tokens == 0:
            text, tokens, finish = "", (), finish and "length"
        self.tokens += len(tokens)
        offsets = self.offsets.get((prompt, sample))
        if offsets is None:
            offsets = self.offsets[prompt, sample] = Offsets()
        read: Sequence[TokenLogprob] = ()
        if offsets.first and self.request.echo:
            text = self.generation.prompts[prompt] + text
            read = self.running.stream.prompt_logprobs.get(prompt, ())
        logprobs = logprobs_of(read, tokens, offsets) if self.generation.logprobs is not None else None
        offsets.first = False
        index = prompt * self.generation.sampling.n + sample
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish or None}


@dataclass(slots=True)
class ChatReply(Reply):
    """The response of chat completions: the message of the bot is what it writes after that of the user."""

    request: ChatRequest
    begun: set[int] = field(default_factory=set)  # the samples whose first delta was sent
    kind: ClassVar[str] = "chat.completion"
    chunk_kind: ClassVar[str] = "chat.completion.chunk"
    prefix: ClassVar[str] = "chatcmpl"

    def choice(self, prompt: int, sample: int, answer: Answer) -> dict[str, Any]:
        """Return one of the answers; `prompt` is 0."""
        self.tokens += len(answer.tokens)
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        return {"index": sample, "message": message, "logprobs": self._logprobs(answer.tokens), "finish_reason": answer.finish}

    def deltas(self, chunk: TextChunk) -> Sequence[Mapping[str, Any]]:
        """Return the role before the first text of a sample, the text, and the reason of the end."""
        self.tokens += len(chunk.tokens)
        logprobs = self._logprobs(chunk.tokens) if chunk.tokens else None
        if not (chunk.text or chunk.finish or logprobs):
            return []
        parts = []
        if chunk.sample not in self.begun:
            self.begun.add(chunk.sample)
            parts.append(_delta(chunk.sample, {"role": "assistant", "content": "", "refusal": None}))
        if chunk.text or logprobs:
            parts.append(_delta(chunk.sample, {"content": chunk.text}, logprobs))
        if chunk.finish:
            parts.append(_delta(chunk.sample, {}, finish=chunk.finish))
        return parts

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        return chat_logprobs_of(tokens) if self.generation.logprobs is not None else None


def _delta(index: int, delta: Mapping[str, Any], logprobs: Mapping[str, Any] | None = None, finish: str = "") -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish or None}


async def stream_events(reply: Reply) -> AsyncGenerator[bytes, None]:
    """Yield the events of a streamed response."""
    options = reply.request.stream_options
    counted, obfuscated = bool(options and options.include_usage), bool(options and options.include_obfuscation)
    head = reply.head(reply.chunk_kind)
    prefix, suffix = b'data: {"choices":[', b"]," + encode(head | ({"usage": None} if counted else {}))[1:] + b"\n\n"
    try:
        async for chunk in reply.running.stream:
            events = [prefix + encode(delta) + suffix for delta in reply.deltas(chunk)]
            if events:
                yield b"".join(map(_obfuscate, events) if obfuscated else events)
    except EngineError as error:  # the engine aborted it; the status has been sent already
        yield event(to_api_error(error).body(openai=True))
        return
    if counted:
        yield event({**head, "choices": [], "usage": reply.usage()})
    yield DONE


def _obfuscate(one: bytes) -> bytes:
    """Pad an event with random characters in a field of its own, so that its size does not tell the length of its text."""
    start, opening, end = one.removesuffix(b"}\n\n"), b',"obfuscation":"', b'"}\n\n'
    missing = -(len(start) + len(opening) + len(end)) % EVENT_STEP
    return start + opening + secrets.token_urlsafe(EVENT_STEP)[:missing].encode() + end
