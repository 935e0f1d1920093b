"""Generates the samples of an evaluation, reproducible by a seed: half without a prompt, half from fixed prompts."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.core.progress import Advance
from mynah.models.evaluation_record import PromptSamples, SamplingMachine
from mynah.models.sampling import Sampling

if TYPE_CHECKING:
    from mynah.decoding.model import Model

PROMPTS = ("My dream is", "I like", "My favourite thing is")
MIN_SAMPLES, MAX_SAMPLES = 5, 200  # of all prompts together
MAX_TOKENS = Sampling().max_tokens  # of a sample: the server's default
MAX_POSTS_FOR_LENGTH = 2000  # posts that suffice to estimate how long an author's posts are


@dataclass(frozen=True, slots=True)
class Samples:
    """Texts by prompt, their number of tokens and the seconds that generating them took."""

    groups: dict[str, list[str]]
    tokens: int
    seconds: float
    machine: SamplingMachine | None = None  # the machine that generated them
    invalid: int = 0  # characters left out of the texts, since no bytes form them

    @property
    def texts(self) -> list[str]:
        """All texts."""
        return [text for group in self.groups.values() for text in group]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of a prompt and a text."""
        return [(prompt, text) for prompt, group in self.groups.items() for text in group]

    @property
    def by_prompt(self) -> tuple[PromptSamples, ...]:
        """The records for samples.json."""
        return tuple(PromptSamples(prompt, tuple(texts)) for prompt, texts in self.groups.items())


def generate_samples(folder: Path, posts: Sequence[str], count: int, seed: int, advance: Advance) -> Samples:
    """Generate the samples of an evaluation.

    Without a prompt, the model begins and ends posts by itself; lengths and style are measured on these. With a prompt, it generates
    as the server does.

    Args:
        folder: the model's checkpoint.
        posts: the author's posts, from which the longest length of a sample is derived.
        count: the number of samples.
        seed: of the sampling.
        advance: called after the samples without a prompt and after those with one.

    Returns:
        The samples.
    """
    from mynah.decoding.generate import generate
    from mynah.decoding.model import load_model

    model = load_model(folder)
    limit = max_sample_tokens(model, posts)
    groups: dict[str, list[str]] = {}
    started, tokens, invalid = time.monotonic(), 0, 0
    for prompts, min_tokens in (([""], 1), (PROMPTS, Sampling().min_tokens)):
        numbers = [counts_by_prompt(count)[prompt] for prompt in prompts]
        room = model.context - 1 - max(len(model.encode(prompt)) for prompt in prompts)
        generated = generate(
            model,
            prompts,
            Sampling(max(numbers), min_tokens=min(min_tokens, limit, room), max_tokens=min(limit, room), seed=seed),
            any_script=True,  # the model is judged, not what keeps its answers readable
        )
        groups |= {prompt: texts[:number] for prompt, texts, number in zip(prompts, generated.texts, numbers, strict=True)}
        tokens += generated.tokens
        invalid += generated.invalid
        advance(1, "samples")
    kept = {prompt: texts for prompt, texts in groups.items() if texts}
    return Samples(kept, tokens, time.monotonic() - started, _machine(model), invalid)


def _machine(model: "Model") -> SamplingMachine:
    from mynah.decoding.kernels import record

    computed_by = record(model.kernels)
    return SamplingMachine(
        kernels=str(computed_by["kernels"]),
        weights=str(computed_by["weights"]),
        processor=str(computed_by["processor"]),
        threads=int(computed_by["threads"]),
    )


def counts_by_prompt(count: int) -> dict[str, int]:
    """Return the number of samples of each prompt: half of `count` without a prompt, the others spread evenly over the prompts."""
    rest = count // 2
    return {"": count - rest, **{prompt: (rest + 2 - number) // len(PROMPTS) for number, prompt in enumerate(PROMPTS)}}


def max_sample_tokens(model: "Model", posts: Sequence[str]) -> int:
    """Return the number of tokens that a sample may have, which 99 % of the author's posts with their end token do not exceed.

    Args:
        model: the model, whose context is a limit too.
        posts: the author's posts.
    """
    some = posts[:: math.ceil(len(posts) / MAX_POSTS_FOR_LENGTH)]
    lengths = sorted(len(model.encode(post)) + 1 for post in some)
    return min(lengths[math.ceil(0.99 * len(lengths)) - 1], MAX_TOKENS, model.context - 1)
