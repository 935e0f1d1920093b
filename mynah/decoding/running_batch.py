"""Continuous batching (Yu et al. 2022, Orca): the samples of one body's bots that run now, a token each per step.

Evaluation, `mynah generate` and the server decode with it. It knows no streams and no protocol: each sample has an `owner`, and each
step returns the samples with what it added to them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

import torch
from torch import Tensor

from mynah.decoding.body import Body
from mynah.decoding.decoder import KVCacheBatch, cache_bytes
from mynah.decoding.detokenizer import Repeats, Transcript
from mynah.decoding.model import Model
from mynah.decoding.readable import Readable, either
from mynah.decoding.request import GenerationRequest, TextChunk, TokenLogprob
from mynah.decoding.sampler import SamplerState, TokenScores, draw, logprobs, sample_rng
from mynah.decoding.tokenizer import Tokenizer

MAX_CACHE_BYTES = 1 << 30  # of keys and values, where nobody says otherwise
ROWS_AT_ONCE = 64  # of logits; GPT-2's take 200 kB each

Owner = TypeVar("Owner")  # who asked for a sample: compared by identity or value, and hashable


@dataclass(eq=False, slots=True)
class RunningSample(Generic[Owner]):
    """One sample of a request, from before its first token to its last.

    Attributes:
        owner: Who asked for it.
        request: What was asked.
        model: The bot that answers.
        label: The bot's name in metrics.
        prompt: The prompt's index in the request.
        sample: The sample's index among those of its prompt.
        max_tokens: Tokens that it may write.
        max_length: Tokens that it and its prompt may come to.
        state: What drawing its next token takes.
        transcript: Its text.
        repeats: Keeps it from repeating a training post; None where it may.
        readable: Keeps it to its author's scripts; None where they are not known, or any may be written.
        score_prompt: Compute the log-probabilities of its prompt's tokens when it begins.
        prompt_logprobs: Those, of each token after the first; None until they are computed.
        token: The last one drawn.
    """

    owner: Owner
    request: GenerationRequest
    model: Model
    label: str
    prompt: int
    sample: int
    max_tokens: int
    max_length: int
    state: SamplerState
    transcript: Transcript
    repeats: Repeats | None
    readable: Readable | None
    score_prompt: bool = False
    prompt_logprobs: tuple[TokenLogprob, ...] | None = None
    token: int = 0

    @classmethod
    def begin(
        cls,
        owner: Owner,
        request: GenerationRequest,
        model: Model,
        prompt: int,
        sample: int,
        ids: Sequence[int],
        *,
        allow_verbatim: bool,
        any_script: bool = False,
        score_prompt: bool = False,
        label: str = "",
    ) -> "RunningSample[Owner]":
        """Prepare a sample that has no token yet.

        Args:
            owner: Who asks for it.
            request: What is asked.
            model: The bot that answers.
            prompt: The prompt's index in the request.
            sample: The sample's index among those of its prompt.
            ids: The prompt's tokens (`encode_prompt`).
            allow_verbatim: Whether the answer may repeat a training post.
            any_script: Whether the answer may have scripts that its author never used, and bytes that form no character.
            score_prompt: Whether to compute the log-probabilities of the prompt's tokens with it.
            label: The bot's name in metrics.
        """
        text = request.prompts[prompt]
        repeats = None if allow_verbatim or not model.bloom else Repeats(model.bloom, model.tokenizer, text)
        readable = None if any_script or model.scripts is None else Readable(model.tokenizer, model.scripts, text)
        # Equal prompts get different texts, as n samples of one of them would be; another prompt changes nothing.
        turn = request.prompts[:prompt].count(text)
        state = SamplerState(
            request.sampling,
            sample_rng(request.sampling.seed, turn * request.sampling.n + sample),
            model.end,
            request.repetition_penalty,
            seen=set(ids) if request.repetition_penalty != 1.0 else set(),
            refuses=either(readable.would_spoil if readable else None, repeats.would if repeats else None),
        )
        max_tokens = min(request.sampling.max_tokens, model.context - len(ids))
        encoded = request.encoded_text(text)
        blank_is_given = encoded != text or (model.tokenizer.adds_blank and not text)
        transcript = Transcript(model.tokenizer, request.stop, drop_blank=blank_is_given)
        return cls(
            owner, request, model, label, prompt, sample, max_tokens, len(ids) + max_tokens, state, transcript, repeats, readable, score_prompt
        )  # fmt: skip

    def take(self, token: int, scores: TokenScores | None) -> TextChunk:
        """Append a token.

        Args:
            token: The one that was drawn.
            scores: Its log-probability and those of the likeliest tokens, where they were asked for.

        Returns:
            What it adds to the answer.
        """
        self.token = token
        self.state.written += 1
        if self.state.penalty != 1.0:
            self.state.seen.add(token)
        if self.repeats:
            self.repeats.add(token)
        if self.readable:
            self.readable.add(token)
        if token == self.state.end:
            return TextChunk(self.prompt, self.sample, self.transcript.end(), (), "stop")
        text = self.transcript.add(token)
        finish = "stop" if self.transcript.stopped else "length" if self.state.written >= self.max_tokens else ""
        if finish == "length":
            text += self.transcript.end()
        return TextChunk(self.prompt, self.sample, text, (_scored_token(self.model.tokenizer, token, scores),), finish)


class RunningBatch(Generic[Owner]):
    """The samples of one body's bots that run now, in the order of the cache's slots. Not thread-safe."""

    def __init__(self, body: Body) -> None:
        self.samples: list[RunningSample[Owner]] = []
        self._cache = KVCacheBatch(body)

    @property
    def size(self) -> int:
        """How many samples run."""
        return len(self.samples)

    @property
    def labels(self) -> set[str]:
        """The names in metrics of the bots that answer."""
        return {sample.label for sample in self.samples}

    @property
    def mean_max_tokens(self) -> float:
        """Tokens that its samples may write, on average."""
        return sum(sample.max_tokens for sample in self.samples) / max(1, self.size)

    @property
    def owners(self) -> set[Owner]:
        """Who asked for the samples."""
        return {sample.owner for sample in self.samples}

    def cache_bytes_with(self, count: int, max_length: int) -> int:
        """Bytes that its cache may come to with `count` samples more, of at most `max_length` tokens each with their prompts."""
        longest = max([max_length, *(sample.max_length for sample in self.samples)])
        return cache_bytes(self._cache.body, self.size + count, longest)

    @torch.inference_mode()
    def add(
        self, prompts: Sequence[Sequence[int]], samples: Sequence[Sequence[RunningSample[Owner]]]
    ) -> Iterator[tuple[RunningSample[Owner], TextChunk]]:
        """Prefill prompts together, and draw the first token of the samples that begin with each.

        Args:
            prompts: Token ids, a prompt each. A prompt is computed once however many samples begin with it.
            samples: At least one for each prompt, which join the batch.

        Returns:
            The new samples with their first chunks.
        """
        start = self.size
        copies = [len(several) for several in samples]
        self.samples += [sample for several in samples for sample in several]
        states = self._cache.add(prompts, copies)  # fp32 [tokens of all prompts, width]
        ends = [*accumulate(map(len, prompts))]
        for ids, end, (first, *_) in zip(prompts, ends, samples, strict=True):
            if first.score_prompt:
                first.prompt_logprobs = self._score(ids, states[end - len(ids) : end - 1], first.request.logprobs or 0)
        hidden = states[torch.tensor(ends, device=states.device) - 1]
        rows = torch.repeat_interleave(
            torch.arange(len(prompts), device=hidden.device), torch.tensor(copies, device=hidden.device)
        )
        return self._draw(hidden, self._cache.logits(hidden)[rows], rows, start)

    def step(self) -> Iterator[tuple[RunningSample[Owner], TextChunk]]:
        """Draw the next token of every sample; those that end leave the batch.

        Returns:
            The samples with what the step added to them.
        """
        hidden = self._cache.step([sample.token for sample in self.samples])
        return self._draw(hidden, self._cache.logits(hidden), torch.arange(self.size, device=hidden.device), 0)

    def remove(self, owners: Collection[Owner]) -> None:
        """Give up the samples of `owners`."""
        for slot in reversed([slot for slot, sample in enumerate(self.samples) if sample.owner in owners]):
            self._remove(slot)

    @torch.inference_mode()
    def _score(self, prompt: Sequence[int], states: Tensor, top: int) -> tuple[TokenLogprob, ...]:
        """Each token of a prompt after its first, with its logprob and those of the `top` likeliest in its place.

        `states`: fp32 [tokens - 1, width], the hidden states that each of these tokens follows.
        """
        tokens = prompt[1:]
        found: list[TokenLogprob] = []
        for start in range(0, len(tokens), ROWS_AT_ONCE):
            some = tokens[start : start + ROWS_AT_ONCE]
            scores = logprobs(self._cache.logits(states[start : start + len(some)]), range(len(some)), some, top)
            found += [_scored_token(self._cache.body.tokenizer, token, each) for token, each in zip(some, scores, strict=True)]
        return tuple(found)

    @torch.inference_mode()
    def _draw(self, hidden: Tensor, logits: Tensor, rows: Tensor, start: int) -> Iterator[tuple[RunningSample[Owner], TextChunk]]:
        """Draw a token for each sample from slot `start` on.

        `hidden`: fp32 [states, width]; `logits`: fp32 [samples, padded vocabulary], changed in place; `rows`: int64 [samples], which of
        the states each sample has.
        """
        samples = self.samples[start:]
        scored = [place for place, sample in enumerate(samples) if sample.request.logprobs is not None]
        raw = logits[scored].clone() if scored else None

        def shift(places: Sequence[int]) -> Tensor:
            return hidden[rows[list(places)]] @ self._cache.body.mean

        tokens = draw(logits, [sample.state for sample in samples], shift)
        scores = {} if raw is None else _scores(raw, scored, samples, tokens)
        chunks = [
            sample.take(token, scores.get(place)) for place, (sample, token) in enumerate(zip(samples, tokens, strict=True))
        ]
        for slot in reversed([start + place for place, chunk in enumerate(chunks) if chunk.finish]):
            self._remove(slot)
        return zip(samples, chunks, strict=True)

    def _remove(self, slot: int) -> None:
        """End the sample in a slot; the last one takes its place, as it does in the cache."""
        self._cache.remove(slot)
        last = self.samples.pop()
        if slot < len(self.samples):
            self.samples[slot] = last


def _scores(
    logits: Tensor, places: Sequence[int], samples: Sequence[RunningSample[Owner]], tokens: Sequence[int]
) -> Mapping[int, TokenScores]:
    """The log-probabilities that samples ask for, by their places; `logits`: fp32 [places, padded vocabulary], as the model has them."""
    top = max(samples[place].request.logprobs or 0 for place in places)
    numbers = logprobs(logits, range(len(places)), [tokens[place] for place in places], top)
    return {
        place: (chosen, best[: samples[place].request.logprobs or 0])
        for place, (chosen, best) in zip(places, numbers, strict=True)
    }


def _scored_token(tokenizer: Tokenizer, token: int, scores: TokenScores | None) -> TokenLogprob:
    if scores is None:
        return TokenLogprob(token, _token_text(tokenizer, token))
    top = tuple((_token_text(tokenizer, each), number) for each, number in scores[1])
    return TokenLogprob(token, _token_text(tokenizer, token), scores[0], top)


def _token_text(tokenizer: Tokenizer, token: int) -> str:
    """A token's text; of a part of a character, its bytes, as OpenAI shows them."""
    content = tokenizer.bytes_of(token)
    try:
        return content.decode() or tokenizer.name_of(token)
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)
