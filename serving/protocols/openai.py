"""OpenAI's completions API over the engine: /openai/v1/completions and /openai/v1/models."""

import codecs
import json
import re
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request, Response

from components.generation import NO_TEXT
from serving.engine.ask import Ask, read_sampling, read_stop
from serving.engine.stream import Answer, Chosen, Piece
from serving.protocols.kserve_routes import call_of
from serving.protocols.openai_types import Completion, CompletionRequest, ModelCard, ModelList, OpenAIProblem, read_request
from serving.protocols.openapi import documented
from serving.protocols.sse import DONE, EventStream, event
from serving.refusals import Refusal
from serving.service import Call, Opened, Service, allow

PART = re.compile(r"bytes:((?:\\x[0-9a-f]{2})+)")  # as OpenAI and `serving.engine.run` show a token that is part of a character
COLDEST = 0.01  # the lowest temperature that is sampled at; below lies the likeliest token


def ask_of(request: CompletionRequest) -> Ask:
    """What the engine is asked. Temperature 0 is greedy: the likeliest token each time. Raises Refusal (400)."""
    names = ("n", "temperature", "top_p", "top_k", "min_tokens", "max_tokens", "seed")
    given = {name: value for name in names if (value := getattr(request, name)) is not None}
    if given.get("temperature", 1) < COLDEST:
        given |= {"temperature": 1.0, "top_k": 1}
    if given.get("top_p", 1) < COLDEST:
        given |= {"top_p": 1.0, "top_k": 1}
    penalty = 1.0 if request.repetition_penalty is None else request.repetition_penalty
    stop = read_stop(request.stop) if request.stop is not None else ()
    scored = bool(request.echo) and request.logprobs is not None
    return Ask(request.prompts, read_sampling(given), stop, penalty, request.logprobs, scored)


class Offsets:
    """Where in a text each token begins, counted as the text is made: by characters, of which a token may be a part."""

    def __init__(self) -> None:
        self.first = True  # nothing was sent of this text yet
        self._at = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def next(self, token: Chosen, read: bool = False) -> int:
        """Where `token` begins; one that was `read` stands in the text as it is, and what is written loses what is no text."""
        begins = self._at
        part = PART.fullmatch(token.text)
        text = self._decoder.decode(bytes.fromhex(part[1].replace("\\x", "")) if part else token.text.encode())
        self._at += len(text if read else NO_TEXT.sub("", text))
        return begins


@dataclass(slots=True)
class Reply:
    """An answer in the making, and what all of its parts share."""

    request: CompletionRequest
    ask: Ask
    opened: Opened
    tokens: int = 0
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def head(self) -> dict[str, Any]:
        """What the answer and each event of a stream begin with."""
        base = {"id": self.id, "object": "text_completion", "created": self.created, "model": self.opened.address}
        return {**base, "seed": self.ask.sampling.seed}

    def usage(self) -> dict[str, int]:
        """Tokens read and written so far."""
        read = self.opened.stream.prompt_tokens
        return {"prompt_tokens": read, "completion_tokens": self.tokens, "total_tokens": read + self.tokens}

    def choice(
        self, prompt: int, sample: int, text: str, tokens: Sequence[Chosen], finish: str, offsets: Offsets
    ) -> dict[str, Any]:
        """One choice, or what an event adds to one, the first for its sample also the prompt where it is echoed."""
        self.tokens += len(tokens)
        read: Sequence[Chosen] = ()
        if offsets.first and self.request.echo:
            text = self.ask.prompts[prompt] + text
            read = self.opened.stream.read.get(prompt, ())
        told = logprobs_of(read, tokens, offsets) if self.ask.logprobs is not None else None
        offsets.first = False
        index = prompt * self.ask.sampling.n + sample
        return {"index": index, "text": text, "logprobs": told, "finish_reason": finish or None}

    def whole(self, answers: Sequence[Sequence[Answer]]) -> dict[str, Any]:
        """The answer that is not streamed."""
        choices = []
        for prompt, several in enumerate(answers):
            for sample, one in enumerate(several):
                choices.append(self.choice(prompt, sample, one.text, one.tokens, one.finish, Offsets()))
        return {**self.head(), "choices": choices, "usage": self.usage()}


def logprobs_of(read: Sequence[Chosen], written: Sequence[Chosen], offsets: Offsets) -> dict[str, Any]:
    """The logprobs of tokens, as OpenAI's completions write them."""
    tokens = [*read, *written]
    return {
        "text_offset": [*(offsets.next(token, read=True) for token in read), *(offsets.next(token) for token in written)],
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [dict(token.top) for token in tokens],
    }


async def events_of(reply: Reply) -> AsyncGenerator[bytes, None]:
    """The events of a streamed answer."""
    rest = "," + json.dumps(reply.head() | ({"usage": None} if reply.request.usage_in_stream else {}))[1:]
    began, ended = b'data: {"choices":[', f"]{rest}\n\n".encode()
    offsets: dict[tuple[int, int], Offsets] = {}
    try:
        async for piece in reply.opened.stream:
            if choice := _added(reply, piece, offsets):
                yield began + json.dumps(choice, ensure_ascii=False).encode() + ended
    except Refusal as refusal:  # the engine gave it up; the status has been sent already
        yield event(refusal.body("/openai/"))
        return
    if reply.request.usage_in_stream:
        yield event({**reply.head(), "choices": [], "usage": reply.usage()})
    yield DONE


def _added(reply: Reply, piece: Piece, offsets: dict[tuple[int, int], Offsets]) -> dict[str, Any] | None:
    """The choice that a piece adds to, or None when it says nothing yet: part of a character, or of a stop string."""
    place = (piece.prompt, piece.sample)
    at = offsets.setdefault(place, Offsets())
    choice = reply.choice(piece.prompt, piece.sample, piece.text, piece.tokens, piece.finish, at)
    return choice if choice["text"] or piece.finish or choice["logprobs"] else None


def create_openai(service: Service) -> APIRouter:
    """The routes under /openai/v1."""
    router = APIRouter(prefix="/openai/v1", tags=["OpenAI"])
    started = int(time.time())

    def card(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": started, "owned_by": "mynah"}

    async def completions(request: Request) -> Response:
        body = read_request(request.state.body)
        call = call_of(request, "openai")
        if body.user:
            call = Call(call.protocol, call.state, body.user[:200])
        ask = ask_of(body)
        async with AsyncExitStack() as stack:
            opened = await stack.enter_async_context(service.open(body.model, ask, call))
            reply = Reply(body, ask, opened)
            headers = {"X-Mynah-Version": opened.address}
            if body.stream:
                return EventStream(events_of(reply), headers, stack.pop_all())
            whole = reply.whole(await opened.stream.answers())
        content = json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()
        return Response(content, headers=headers, media_type="application/json")

    async def models(request: Request) -> dict[str, Any]:
        return {"object": "list", "data": [card(name) for name in service.names(call_of(request, "openai").caller)]}

    async def model(model_id: str, request: Request) -> dict[str, Any]:
        caller = call_of(request, "openai").caller
        allow(model_id, caller)
        service.known(model_id, caller)
        return card(model_id)

    asked = documented(Completion, CompletionRequest, problem=OpenAIProblem, streams=True)
    router.add_api_route("/completions", completions, **asked)
    router.add_api_route("/models", models, **documented(ModelList, problem=OpenAIProblem))
    router.add_api_route("/models/{model_id}", model, **documented(ModelCard, refused=(403, 404), problem=OpenAIProblem))
    return router
