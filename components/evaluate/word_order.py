"""How much the order of words matters to the base model, in samples and in the author's posts: word salad has no order to lose."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from mynah.models.checkpoint import Checkpoint
from mynah.models.scoring import nats_per_text

TEXTS = 24  # of each side: the standard error is about 0.3 nats per word, of the 3 to 4 that the order of posts is worth
MIN_TEXTS = 8
MIN_WORDS = 4  # shorter texts have hardly any order
NO_ORDER = "the base model sees no order of words in these posts: too few have four words, or it does not know the language"
MIN_AUTHOR_GAIN = 1.0  # nats per word: below this the base model does not know the language, or the author writes no sentences


@dataclass(frozen=True, slots=True)
class WordOrder:
    """What the order of words is worth in samples and in an author's posts, in nats per word."""

    gain: float
    author_gain: float
    samples: Sequence[str]  # the samples in which it is worth the least come first

    @property
    def share(self) -> float:
        """The samples' part of the author's: 1 for sentences like the author's, 0 for words in random order."""
        return self.gain / self.author_gain


def word_order(base: Checkpoint, samples: Sequence[str], held_out: Sequence[str], seed: int) -> WordOrder | None:
    """Measure how much more the base model is surprised by texts whose words stand in random order.

    The base model judges, which has not read the author: the fine-tuned one may have learned that anything follows anything.

    Args:
        base: the base model.
        samples: the generated samples.
        held_out: the author's held-out posts.
        seed: chooses the texts and the orders.

    Returns:
        What order is worth; None where it cannot be told: either side has fewer than 8 texts of four words, as in scripts without
        blanks, or the base model sees hardly any order in the author's posts.
    """
    rng = random.Random(seed)
    ours, theirs = (_choose(texts, rng) for texts in (samples, held_out))
    if min(len(ours), len(theirs)) < MIN_TEXTS:
        return None
    author_gain = _mean(_gains(base, theirs, rng), theirs)
    if author_gain < MIN_AUTHOR_GAIN:
        return None
    gains = _gains(base, ours, rng)
    ranked = sorted(zip(gains, ours, strict=True), key=lambda pair: pair[0] / len(pair[1].split()))
    return WordOrder(_mean(gains, ours), author_gain, [text for _, text in ranked])


def _choose(texts: Sequence[str], rng: random.Random) -> list[str]:
    long = [" ".join(text.split()) for text in texts if len(text.split()) >= MIN_WORDS]
    return rng.sample(long, min(TEXTS, len(long)))


def _gains(base: Checkpoint, texts: Sequence[str], rng: random.Random) -> list[float]:
    """Return for each text its nats with its words in random order less those of the text as it is."""
    shuffled = [" ".join(rng.sample(words, len(words))) for words in map(str.split, texts)]
    pairs = zip(nats_per_text(base, shuffled), nats_per_text(base, texts), strict=True)
    return [in_random_order - as_it_is for in_random_order, as_it_is in pairs]


def _mean(gains: Sequence[float], texts: Sequence[str]) -> float:
    return sum(gains) / sum(len(text.split()) for text in texts)
