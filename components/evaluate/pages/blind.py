"""The blind sheet: posts that a person wrote among texts that the bot generated, and what a score on it means."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import comb

from components.evaluate.metrics import Memory
from components.evaluate.pages.facts import Facts
from components.verbatim import words

EACH = 10  # posts, and as many samples
UNLIKELY = 0.05


@dataclass(frozen=True, slots=True)
class Text:
    """A text of the sheet, and whether the author wrote it."""

    text: str
    real: bool


@dataclass(frozen=True, slots=True)
class Chance:
    """How likely `right` or more right answers are for one who tosses a coin for each text; in words."""

    right: int
    likely: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """The texts in the order in which they are shown, and how likely each score is by chance; `telling` is the first unlikely one."""

    texts: tuple[Text, ...]
    chances: tuple[Chance, ...]
    telling: Chance | None


def sheet(facts: Facts) -> Sheet:
    """Ten held-out posts and ten samples from nothing, or as many of each as there are, in an order that the data decide.

    A sample that repeats a training post is left out, for a copy reads as its author wrote it: there would be nothing to tell.
    """
    lot = random.Random(
        int(sha256("\0".join((facts.training.data_digest, *facts.held_out)).encode(errors="replace")).hexdigest(), 16)
    )
    posts, samples = _different(facts.held_out), _own_words(facts)
    count = min(EACH, len(posts), len(samples))
    texts = [Text(text, True) for text in lot.sample(posts, count)] + [Text(text, False) for text in lot.sample(samples, count)]
    lot.shuffle(texts)
    odds = [(right, at_least(right, 2 * count)) for right in range(count + 1, 2 * count + 1)]
    telling = next((Chance(right, how_often(chance)) for right, chance in odds if chance <= UNLIKELY), None)
    return Sheet(tuple(texts), tuple(Chance(right, how_often(chance)) for right, chance in odds), telling)


def at_least(right: int, texts: int) -> float:
    """The probability of `right` or more of `texts` by tossing a coin for each: the binomial tail, exactly."""
    return sum(comb(texts, hits) for hits in range(right, texts + 1)) / (1 << texts)


def how_often(chance: float) -> str:
    """How often something comes that has this probability: `in 2 % of tries`, `in 0.6 % of tries`, `once in 50,000 tries`."""
    if chance < 0.001:
        return f"once in {float(f'{1 / chance:.2g}'):,.0f} tries"
    return f"in {100 * chance:.{0 if chance >= 0.01 else 1}f} % of tries"


def _different(texts: Sequence[str]) -> list[str]:
    """Each text once, none without a word."""
    return list({tuple(words(text)): text for text in texts if words(text)}.values())


def _own_words(facts: Facts) -> list[str]:
    """The samples from nothing that are no copies of the author's posts, as a whole or in a long run."""
    memory, known = Memory(facts.train), {tuple(words(text)) for text in (*facts.train, *facts.held_out)}
    return [text for text in _different(facts.from_nothing) if tuple(words(text)) not in known and not memory.memorised(text)]
