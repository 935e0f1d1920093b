"""The samples that a model is judged by: by the seed, half from nothing, half from fixed prompts."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.events import Advance
from components.generation import Sampling

if TYPE_CHECKING:
    from components.decoding.model import Model

PROMPTS = ("My dream is", "I like", "My favourite thing is")
FEWEST, MOST = 5, 200  # samples
MOST_TOKENS = Sampling().max_tokens  # of a sample; as the server, which answers no longer unless asked
ENOUGH_POSTS = 2000  # to know how long an author's posts are


@dataclass(frozen=True, slots=True)
class Samples:
    """Texts by prompt, and how long they took."""

    groups: dict[str, list[str]]
    tokens: int
    seconds: float

    @property
    def texts(self) -> list[str]:
        """All texts."""
        return [text for group in self.groups.values() for text in group]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each text with its prompt before it."""
        return [(prompt, text) for prompt, group in self.groups.items() for text in group]

    def to_record(self) -> list[dict[str, Any]]:
        """As samples.json holds them."""
        return [{"prompt": prompt, "texts": texts} for prompt, texts in self.groups.items()]


def draw(folder: Path, posts: Sequence[str], count: int, seed: int, advance: Advance) -> Samples:
    """Sample `count` texts of the model in `folder`; `posts` are the author's, `advance` is told of each part.

    From nothing as the model itself begins and ends posts: what lengths and style are judged by. From a prompt as the server answers.
    """
    from components.decoding import generate
    from components.decoding.model import load_model

    model = load_model(folder)
    most = longest(model, posts)
    groups: dict[str, list[str]] = {}
    began, tokens = time.monotonic(), 0
    for prompts, fewest in (([""], 1), (PROMPTS, Sampling().min_tokens)):
        numbers = [shares(count)[prompt] for prompt in prompts]
        room = model.context - 1 - max(len(model.encode(prompt)) for prompt in prompts)
        written = generate(
            model, prompts, Sampling(max(numbers), min_tokens=min(fewest, most, room), max_tokens=min(most, room), seed=seed)
        )
        groups |= {prompt: texts[:number] for prompt, texts, number in zip(prompts, written.texts, numbers, strict=True)}
        tokens += written.tokens
        advance(1, "samples")
    return Samples({prompt: texts for prompt, texts in groups.items() if texts}, tokens, time.monotonic() - began)


def shares(count: int) -> dict[str, int]:
    """How many of `count` samples each prompt begins: half of them none, the others alike."""
    rest = count // 2
    return {"": count - rest, **{prompt: (rest + 2 - place) // len(PROMPTS) for place, prompt in enumerate(PROMPTS)}}


def longest(model: "Model", posts: Sequence[str]) -> int:
    """Tokens that a sample may have: enough for 99 of 100 of the author's posts with their end, so that lengths are not cut."""
    some = posts[:: math.ceil(len(posts) / ENOUGH_POSTS)]
    lengths = sorted(len(model.encode(post)) + 1 for post in some)
    return min(lengths[math.ceil(0.99 * len(lengths)) - 1], MOST_TOKENS, model.context - 1)
