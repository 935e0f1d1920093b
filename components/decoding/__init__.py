"""Decoding: a bot's weights in memory, and the loop that writes with them. What evaluation, `mynah generate` and the server share."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.errors import InputError
from components.generation import Sampling
from components.names import is_unicode

if TYPE_CHECKING:
    from components.decoding.decoder import Batch
    from components.decoding.model import Model
    from components.decoding.sampler import Draw
    from components.decoding.text import Transcript

SIDE_BY_SIDE = 64  # sequences; on two cores more of them write no faster


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote: the answers to each prompt, in order, and the tokens that it drew for all of them."""

    texts: list[list[str]]
    tokens: int


@dataclass(eq=False, slots=True)
class _Sequence:
    prompt: int
    sample: int
    most: int  # tokens that it may write
    draw: "Draw"
    transcript: "Transcript"
    text: str = ""
    token: int = 0  # the last one drawn

    def take(self, token: int) -> bool:
        """Write `token`. Returns whether it was the last."""
        self.token = token
        self.draw.written += 1
        is_end = token == self.draw.end
        if not is_end:
            self.text += self.transcript.add(token)
        if over := is_end or self.draw.written >= self.most:
            self.text += self.transcript.end()
        return over


def generate(model: "Model", prompts: Sequence[str], sampling: Sampling) -> Written:
    """Continue each of `prompts` `sampling.n` times; an answer is the prompt and its continuation, up to the end of the post.

    The same texts as the server gives for these prompts and this seed where it is allowed to repeat posts: nothing keeps the model from
    that here. Raises InputError for a prompt that is not Unicode text, or leaves no room for `min_tokens` in the model's context.
    """
    import torch

    from components.decoding.decoder import Batch
    from components.decoding.sampler import draw

    waiting = deque(_begin(model, prompts, sampling))
    ids = [_encode(model, prompt, sampling) for prompt in prompts]
    texts = [[""] * sampling.n for _ in prompts]
    batch, running, tokens = Batch(model), list[_Sequence](), 0
    with torch.inference_mode():
        while waiting or running:
            if waiting and len(running) <= SIDE_BY_SIDE // 2:
                joining = [waiting.popleft() for _ in range(min(len(waiting), SIDE_BY_SIDE - len(running)))]
                beginnings = [ids[each.prompt] for each in joining]
                states = batch.add(beginnings, [1] * len(joining))
                ends = torch.tensor([len(each) for each in beginnings], device=model.device).cumsum(0) - 1
                hidden, writing = states[ends], joining
                running += joining
            else:
                hidden, writing = batch.step([each.token for each in running]), running
            drawn = draw(batch.logits(hidden), [each.draw for each in writing])
            tokens += len(drawn)
            over = [each for each, token in zip(list(writing), drawn, strict=True) if each.take(token)]
            for each in over:
                texts[each.prompt][each.sample] = f"{prompts[each.prompt]}{each.text}".strip()
                _remove(batch, running, running.index(each))
    return Written(texts, tokens)


def _begin(model: "Model", prompts: Sequence[str], sampling: Sampling) -> list[_Sequence]:
    from components.decoding.sampler import Draw, own_random
    from components.decoding.text import Transcript

    found = []
    for number, prompt in enumerate(prompts):
        most = min(sampling.max_tokens, model.context - len(_encode(model, prompt, sampling)))
        turn = prompts[:number].count(prompt)  # prompts that are alike get texts that are not
        for sample in range(sampling.n):
            drawing = Draw(sampling, own_random(sampling.seed, turn * sampling.n + sample), model.end)
            found.append(_Sequence(number, sample, most, drawing, Transcript(model.tokenizer, ())))
    return found


def _encode(model: "Model", prompt: str, sampling: Sampling) -> list[int]:
    """END_OF_TEXT and the prompt: so every post began in training."""
    if not is_unicode(prompt):
        raise InputError(f"the prompt {prompt[:80]!r} is not Unicode text", "Write it in UTF-8.")
    ids = [model.end, *model.encode(prompt)]
    if model.context - len(ids) < max(1, sampling.min_tokens):
        raise InputError(
            f"the prompt has {len(ids) - 1} tokens, and the model's context of {model.context} leaves no room for an answer",
            "Shorten the prompt.",
        )
    return ids


def _remove(batch: "Batch", running: list[_Sequence], slot: int) -> None:
    """End the sequence in `slot`; the last one takes its place, as it does in the cache."""
    batch.remove(slot)
    last = running.pop()
    if slot < len(running):
        running[slot] = last
