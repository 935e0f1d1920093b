"""A blind test: real posts mixed with generated texts, and the probability of each score by guessing."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import comb

from components.evaluate.report_html.inputs import ReportInputs
from components.evaluate.text_metrics import Memory
from mynah.data.verbatim_filter import words

MAX_PAIRS = 10  # posts, and as many samples
SIGNIFICANCE = 0.05  # a score with a lower probability by guessing is reported as unlikely to be chance


@dataclass(frozen=True, slots=True)
class ShownText:
    """A text of the test, and whether the author wrote it."""

    text: str
    real: bool


@dataclass(frozen=True, slots=True)
class Chance:
    """The probability of `right` or more correct answers by guessing, formatted by `how_often`."""

    right: int
    likely: str


@dataclass(frozen=True, slots=True)
class BlindTest:
    """The texts in their displayed order, the probability of each score, and the lowest score that is unlikely by guessing."""

    texts: tuple[ShownText, ...]
    chances: tuple[Chance, ...]
    significant: Chance | None


def blind_test(inputs: ReportInputs) -> BlindTest:
    """Return MAX_PAIRS held-out posts and as many samples without a prompt, or fewer of both, shuffled by a seed from the data.

    Samples that repeat posts are left out: nobody could distinguish them from the author's.
    """
    rng = random.Random(
        int(sha256("\0".join((inputs.training.data_digest, *inputs.held_out)).encode(errors="replace")).hexdigest(), 16)
    )
    posts, samples = _distinct(inputs.held_out), _original_samples(inputs)
    count = min(MAX_PAIRS, len(posts), len(samples))
    texts = [ShownText(text, True) for text in rng.sample(posts, count)]
    texts += [ShownText(text, False) for text in rng.sample(samples, count)]
    rng.shuffle(texts)
    odds = [(right, at_least(right, 2 * count)) for right in range(count + 1, 2 * count + 1)]
    significant = next((Chance(right, how_often(chance)) for right, chance in odds if chance <= SIGNIFICANCE), None)
    return BlindTest(tuple(texts), tuple(Chance(right, how_often(chance)) for right, chance in odds), significant)


def at_least(right: int, texts: int) -> float:
    """Return the exact probability, 0 to 1, of at least `right` correct answers out of `texts` by guessing (the binomial tail)."""
    return sum(comb(texts, hits) for hits in range(right, texts + 1)) / (1 << texts)


def how_often(chance: float) -> str:
    """Format a probability as a frequency: `in 2 % of tries`, `in 0.6 % of tries`, `once in 50,000 tries`."""
    if chance < 0.001:
        return f"once in {float(f'{1 / chance:.2g}'):,.0f} tries"
    return f"in {100 * chance:.{0 if chance >= 0.01 else 1}f} % of tries"


def _distinct(texts: Sequence[str]) -> list[str]:
    """Return texts with different words, without those that have none."""
    return list({tuple(words(text)): text for text in texts if words(text)}.values())


def _original_samples(inputs: ReportInputs) -> list[str]:
    """Return the samples without a prompt that repeat neither a whole post nor a long part of one."""
    memory, known = Memory(inputs.train), {tuple(words(text)) for text in (*inputs.train, *inputs.held_out)}
    return [text for text in _distinct(inputs.unprompted) if tuple(words(text)) not in known and not memory.memorised(text)]
