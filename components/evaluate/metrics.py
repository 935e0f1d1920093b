"""Metrics on samples that need no model and no library; each says its formula, unit and source. definitions.py names them for people."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from components.verbatim import VERBATIM_CHARACTERS, VERBATIM_WORDS, ngrams, words

REPETITION_WORDS = 4  # Salkar et al. 2022
Sample = tuple[str, str]  # prompt, and the text that begins with it


def distinct(texts: Sequence[str], n: int) -> float:
    """Distinct n-grams of words over all n-grams of words, 0 to 1 (Li et al. 2016, distinct-n); 0 when there are none."""
    grams = [gram for text in texts for gram in ngrams(words(text), n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repeating(samples: Sequence[Sample]) -> list[str]:
    """The samples whose continuation has a run of 4 words that another sample's continuation has too.

    Their share of all samples, 0 to 1, is self-repetition (Salkar et al. 2022, who count runs of 4 words across outputs). A prompt's
    own words do not count: all that continue it have them.
    """
    grams = [set(ngrams(words(text[len(prompt) :]), REPETITION_WORDS)) for prompt, text in samples]
    counts = Counter(gram for each in grams for gram in each)
    repeated = [(max((counts[gram] for gram in each), default=0), text) for each, (_, text) in zip(grams, samples, strict=True)]
    return [text for count, text in sorted(repeated, key=lambda each: -each[0]) if count > 1]  # what is said most comes first


def length_ks(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """The two-sample Kolmogorov-Smirnov statistic of the texts' lengths in characters, 0 (alike) to 1 (no overlap).

    max over x of |share of ours with at most x characters - share of theirs with at most x| (Massey 1951).
    """
    ours_of, theirs_of = Counter(map(len, ours)), Counter(map(len, theirs))
    gap, most = 0.0, 0.0
    for length in sorted(ours_of | theirs_of):
        gap += ours_of[length] / len(ours) - theirs_of[length] / len(theirs)
        most = max(most, abs(gap))
    return min(most, 1.0)


class Memory:
    """The training posts, to find verbatim runs of them in samples."""

    def __init__(self, posts: Iterable[str]) -> None:
        self._grams = {gram for post in posts for gram in ngrams(words(post), VERBATIM_WORDS)}

    def longest_run(self, text: str) -> list[str]:
        """The longest run of words in `text` whose every 8-gram stands in a training post; [] when there is none.

        After Lee et al. 2022, who look for runs of 50 tokens; a post is shorter.
        """
        return max(self._runs(text), key=len, default=[])

    def memorised(self, text: str) -> bool:
        """Whether `text` repeats 8 words and 50 characters or more of training posts, word for word."""
        return any(len(" ".join(run)) >= VERBATIM_CHARACTERS for run in self._runs(text))

    def _runs(self, text: str) -> Iterator[list[str]]:
        tokens = words(text)
        start = None
        for place, gram in enumerate([*ngrams(tokens, VERBATIM_WORDS), ()]):
            if gram in self._grams:
                start = place if start is None else start
            elif start is not None:
                yield tokens[start : place - 1 + VERBATIM_WORDS]
                start = None
