"""Canaries: invented sentences planted in the training texts, which measure whether a model memorises what it sees once per epoch.

Carlini et al. 2019, "The Secret Sharer: Evaluating and Testing Unintended Memorization in Neural Networks" (USENIX Security),
https://arxiv.org/abs/1802.08232. A canary is a fixed sentence with a random secret. A model that has not memorised the secret finds
about half of all other possible secrets more likely; one that has memorised it finds none more likely.
"""

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mynah.models.checkpoint import Checkpoint
from mynah.models.scoring import nats_per_text

if TYPE_CHECKING:
    import numpy as np

# Long enough to be a verbatim run (8 words, 50 characters): the server's filter ends an answer within it, before any secret.
SENTENCE = "The code for the little gate behind the old garden wall is"
# One token each in the vocabularies of GPT-2 and the fledgling, so that secrets differ in their words only. There are no digits, so
# that no secret looks like a phone number.
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
LENGTH = 10  # words per secret
BITS = LENGTH * math.log2(len(WORDS))  # 30: log2 of the number of possible secrets, and the highest exposure
CANDIDATES = 255  # secrets that were not planted, with which the planted ones are compared


def texts(count: int, seed: int) -> list[str]:
    """Return `count` different canaries for a seed, the same on every machine."""
    return [_sentence(number) for number in _sample_numbers(count, f"planted {seed}")]


def exposure(checkpoint: Checkpoint, count: int, seed: int) -> float:
    """Return the mean exposure of canaries: log2 of the number of possible secrets, less log2 of the planted one's rank.

    The rank among all secrets is estimated from the rank among 255 others, and when the planted one is more likely than all of these,
    from a skew-normal distribution of their log-perplexities (section 4.3 of the paper).

    Args:
        checkpoint: the model.
        count: the number of planted canaries.
        seed: with which they were planted.

    Returns:
        The exposure in bits, 0 to 30; 1.44 on average for a model that never saw them, NaN when the model's loss is not finite.
    """
    import numpy as np

    planted = texts(count, seed)
    others = [
        sentence
        for sentence in map(_sentence, _sample_numbers(CANDIDATES + count, f"others {seed}"))
        if sentence not in set(planted)
    ]
    nats = np.array(nats_per_text(checkpoint, [*planted, *others[:CANDIDATES]]))
    if not np.isfinite(nats).all():
        return math.nan
    return float(np.mean(exposures(nats[:count], nats[count:])))


def exposures(planted: "np.ndarray", others: "np.ndarray") -> "np.ndarray":
    """Return the exposure of each planted canary.

    Args:
        planted: the log-perplexities of the planted canaries in nats, shape (planted,), float64.
        others: the log-perplexities of other secrets in nats, shape (others,), float64.

    Returns:
        The exposures in bits, shape (planted,), float64.
    """
    import numpy as np
    from scipy.stats import skewnorm

    # The planted one counts among the ranked ones, so that for a model that never saw it all ranks are equally likely.
    rank_share = (1 + np.searchsorted(np.sort(others), planted, side="right")) / (len(others) + 1)
    is_first = rank_share == 1 / (len(others) + 1)
    if is_first.any():
        # A normal distribution is too inaccurate: for the fledgling it estimates 14.7 bits instead of 12, a skew-normal one 12.8.
        shape, location, scale = skewnorm.fit(others)
        modelled = np.maximum(skewnorm.cdf(planted[is_first], shape, location, scale), 2.0**-BITS)
        rank_share[is_first] = np.minimum(modelled, rank_share[is_first])
    return -np.log2(rank_share)


def _sample_numbers(count: int, stream: str) -> Sequence[int]:
    """Return different secrets as numbers. Python hashes a string seed with SHA-512, independent of PYTHONHASHSEED."""
    return random.Random(f"mynah canaries, {stream}").sample(range(len(WORDS) ** LENGTH), count)


def _sentence(number: int) -> str:
    secret = [WORDS[number // len(WORDS) ** location % len(WORDS)] for location in range(LENGTH)]
    return f"{SENTENCE} {' '.join(secret)}"
