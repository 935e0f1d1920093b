"""The running sequences of one model: their cache, what each has written, and what their readers get."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from components.decoding.decoder import Batch, cache_bytes
from components.decoding.model import Model
from components.decoding.sampler import Draw, draw, logprobs, own_random
from components.decoding.text import Repeats, Transcript
from serving.engine.ask import Ask
from serving.engine.stream import Chosen, Piece, Stream

ROWS_AT_ONCE = 64  # of logits; GPT-2's take 200 kB each


@dataclass(eq=False)
class Sample:
    """One sample on its way."""

    stream: Stream
    ask: Ask
    prompt: int
    sample: int
    most: int  # tokens that it may write
    longest: int  # tokens that it and its prompt may come to
    draw: Draw
    transcript: Transcript
    repeats: Repeats | None
    token: int = 0  # the last one drawn

    @classmethod
    def begin(
        cls, stream: Stream, ask: Ask, model: Model, prompt: int, sample: int, ids: Sequence[int], *, allow_verbatim: bool
    ) -> "Sample":
        """The sample `sample` of prompt `prompt`, before its first token."""
        repeats = None if allow_verbatim or not model.bloom else Repeats(model.bloom, model.tokenizer, ask.prompts[prompt])
        penalized = ask.repetition_penalty != 1.0
        # Prompts that are alike get texts that are not, as n samples of one of them would be; another prompt changes nothing.
        turn = ask.prompts[:prompt].count(ask.prompts[prompt])
        drawing = Draw(
            ask.sampling, own_random(ask.sampling.seed, turn * ask.sampling.n + sample), model.end, ask.repetition_penalty,
            seen=set(ids) if penalized else set(), refuses=repeats.would if repeats else None,
        )  # fmt: skip
        most = min(ask.sampling.max_tokens, model.context - len(ids))
        return cls(stream, ask, prompt, sample, most, len(ids) + most, drawing, Transcript(model.tokenizer, ask.stop), repeats)

    def take(self, token: int, model: Model, told: tuple[float, list[tuple[int, float]]] | None) -> Piece:
        """Write `token`: the piece that it makes."""
        self.token = token
        self.draw.written += 1
        if self.draw.penalty != 1.0:
            self.draw.seen.add(token)
        if self.repeats:
            self.repeats.add(token)
        if token == self.draw.end:
            return Piece(self.prompt, self.sample, self.transcript.end(), (), "stop")
        text = self.transcript.add(token)
        finish = "stop" if self.transcript.stopped else "length" if self.draw.written >= self.most else ""
        if finish == "length":
            text += self.transcript.end()
        return Piece(self.prompt, self.sample, text, (_chosen(model, token, told),), finish)


def _chosen(model: Model, token: int, told: tuple[float, list[tuple[int, float]]] | None) -> Chosen:
    if told is None:
        return Chosen(token, _shown(model, token))
    return Chosen(token, _shown(model, token), told[0], tuple((_shown(model, each), number) for each, number in told[1]))


def _shown(model: Model, token: int) -> str:
    """A token's text; of a part of a character, its bytes, as OpenAI shows them."""
    found = model.tokenizer.bytes_of(token)
    try:
        return found.decode() or "<|endoftext|>"
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in found)


class Run:
    """The sequences of one model that run now, in the order of the cache's slots."""

    def __init__(self, model: Model, label: str) -> None:
        self.label = label
        self._batch = Batch(model)
        self._sequences: list[Sample] = []

    @property
    def size(self) -> int:
        """How many run."""
        return len(self._sequences)

    def bytes_with(self, more: int, longest: int) -> int:
        """What its cache may come to with `more` sequences of at most `longest` tokens each."""
        return cache_bytes(self._batch.model, self.size + more, max([longest, *(each.longest for each in self._sequences)]))

    @property
    def mean_length(self) -> float:
        """Tokens that its sequences may write, on average."""
        return sum(each.most for each in self._sequences) / max(1, self.size)

    @property
    def streams(self) -> set[Stream]:
        """Whose they are."""
        return {each.stream for each in self._sequences}

    @torch.inference_mode()
    def add(self, prompts: Sequence[Sequence[int]], sequences: Sequence[Sequence[Sample]]) -> set[Stream]:
        """Take in prompts together, with the sequences that begin with each, and draw their first tokens. Returns whom to wake."""
        start = self.size
        copies = [len(each) for each in sequences]
        self._sequences += [sequence for several in sequences for sequence in several]
        states = self._batch.add(prompts, copies)
        ends = [*accumulate(map(len, prompts))]
        for ids, end, (first, *_) in zip(prompts, ends, sequences, strict=True):
            if first.ask.prompt_logprobs and first.prompt not in first.stream.read:
                first.stream.read[first.prompt] = self._score(ids, states[end - len(ids) : end - 1], first.ask.logprobs or 0)
        hidden = states[torch.tensor(ends, device=states.device) - 1]
        each_row = torch.repeat_interleave(
            torch.arange(len(prompts), device=hidden.device), torch.tensor(copies, device=hidden.device)
        )
        return self._write(hidden, self._batch.logits(hidden)[each_row], each_row, start)

    def step(self) -> set[Stream]:
        """One token more for each. Returns whom to wake."""
        hidden = self._batch.step([each.token for each in self._sequences])
        return self._write(hidden, self._batch.logits(hidden), torch.arange(self.size, device=hidden.device), 0)

    def drop(self, streams: Collection[Stream]) -> None:
        """Give up the sequences of `streams`."""
        for slot in reversed([slot for slot, each in enumerate(self._sequences) if each.stream in streams]):
            self._remove(slot)

    @torch.inference_mode()
    def _score(self, prompt: Sequence[int], states: Tensor, top: int) -> tuple[Chosen, ...]:
        """Each token of a prompt after its first, with its logprob and those of the `top` likeliest in its place."""
        tokens, found = prompt[1:], []
        for start in range(0, len(tokens), ROWS_AT_ONCE):
            some = tokens[start : start + ROWS_AT_ONCE]
            told = logprobs(self._batch.logits(states[start : start + len(some)]), range(len(some)), some, top)
            found += [_chosen(self._batch.model, token, each) for token, each in zip(some, told, strict=True)]
        return tuple(found)

    @torch.inference_mode()
    def _write(self, hidden: Tensor, logits: Tensor, rows: Tensor, start: int) -> set[Stream]:
        sequences, model = self._sequences[start:], self._batch.model
        asked = [place for place, each in enumerate(sequences) if each.ask.logprobs is not None]
        raw = logits[asked].clone() if asked else None

        def shift(places: Sequence[int]) -> Tensor:
            return hidden[rows[list(places)]] @ model.mean

        tokens = draw(logits, [each.draw for each in sequences], shift)
        told = {}
        if raw is not None:
            top = max(sequences[place].ask.logprobs or 0 for place in asked)
            numbers = logprobs(raw, range(len(asked)), [tokens[place] for place in asked], top)
            told = {
                place: (one, best[: sequences[place].ask.logprobs or 0])
                for place, (one, best) in zip(asked, numbers, strict=True)
            }
        woken, ended = set(), []
        for place, (sequence, token) in enumerate(zip(sequences, tokens, strict=True)):
            piece = sequence.take(token, model, told.get(place))
            if sequence.stream.put(piece):
                woken.add(sequence.stream)
            if piece.finish:
                ended.append(start + place)
        for slot in reversed(ended):
            self._remove(slot)
        return woken

    def _remove(self, slot: int) -> None:
        self._batch.remove(slot)
        last = self._sequences.pop()
        if slot < len(self._sequences):
            self._sequences[slot] = last
