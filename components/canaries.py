"""Canaries: invented sentences, planted into the training texts, that measure whether a model memorises what it saw once an epoch.

Carlini et al. 2019, "The Secret Sharer: Evaluating and Testing Unintended Memorization in Neural Networks" (USENIX Security). A canary
is a fixed sentence with a random secret in it. A model that knows no more of it than of the other secrets that could have been drawn
prefers about half of those; one that memorised it prefers none.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.checkpoint import Checkpoint

if TYPE_CHECKING:
    import numpy as np

# By itself a verbatim run (8 words, 50 characters): the server's filter ends a bot's answer in it, before any secret.
SENTENCE = "The code for the little gate behind the old garden wall is"
# One token each in GPT-2's vocabulary and the fledgling's, so that secrets differ in nothing but their words. Words and no digits: no
# secret looks like a phone number.
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
LENGTH = 10  # words of a secret
BITS = LENGTH * math.log2(len(WORDS))  # 30: log2 of how many secrets there are, and the highest exposure
CANDIDATES = 255  # secrets that were not planted, and that the planted ones are compared with


def texts(count: int, seed: int) -> list[str]:
    """The `count` canaries of `seed`, all different; the same on every machine."""
    return [_sentence(number) for number in _drawn(count, f"planted {seed}")]


def of(training: Mapping[str, Any]) -> list[str]:
    """The canaries that a model learnt, by its training.json."""
    return texts(**training["canaries"])


def exposure(checkpoint: Checkpoint, count: int, seed: int) -> float:
    """The mean exposure in bits of the `count` canaries of `seed`: log2 of the number of secrets, less log2 of the planted one's rank.

    0 to 30; a model that never saw them gives 1.44 on average. A rank among all secrets is estimated by that among 255 others, and
    where the model prefers the planted one to all of these, by a skew-normal distribution of their log-perplexities (section 4.3 of
    the paper). NaN where the model's loss is no number.
    """
    import numpy as np

    from components.scoring import nats_of_each

    planted = texts(count, seed)
    others = [each for each in map(_sentence, _drawn(CANDIDATES + count, f"others {seed}")) if each not in set(planted)]
    nats = np.array(nats_of_each(checkpoint, [*planted, *others[:CANDIDATES]]))
    if not np.isfinite(nats).all():
        return math.nan
    return float(np.mean(exposures(nats[:count], nats[count:])))


def exposures(planted: "np.ndarray", others: "np.ndarray") -> "np.ndarray":
    """The exposure in bits of each of the `planted` log-perplexities among the `others`, shape (planted,)."""
    import numpy as np
    from scipy.stats import skewnorm

    # With the planted one itself among those that it is ranked with, a model that never saw it gives each rank as often.
    share = (1 + np.searchsorted(np.sort(others), planted, side="right")) / (len(others) + 1)
    first = share == 1 / (len(others) + 1)
    if first.any():
        # A normal distribution would not do: of the fledgling it makes 14.7 bits where 12 are true, and the skew-normal one 12.8.
        shape, place, scale = skewnorm.fit(others)
        modelled = np.maximum(skewnorm.cdf(planted[first], shape, place, scale), 2.0**-BITS)
        share[first] = np.minimum(modelled, share[first])
    return -np.log2(share)


def _drawn(count: int, stream: str) -> Sequence[int]:
    """Different secrets as numbers. A text as the seed goes through SHA-512, which no hash seed of Python changes."""
    return random.Random(f"mynah canaries, {stream}").sample(range(len(WORDS) ** LENGTH), count)


def _sentence(number: int) -> str:
    secret = [WORDS[number // len(WORDS) ** place % len(WORDS)] for place in range(LENGTH)]
    return f"{SENTENCE} {' '.join(secret)}"
