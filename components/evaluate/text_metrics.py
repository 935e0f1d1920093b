"""Metrics of texts that need no model and no library. Their labels are in mynah.models.metric_definitions."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from mynah.data.verbatim_filter import VERBATIM_CHARACTERS, VERBATIM_WORDS, ngrams, words

REPETITION_WORDS = 4  # Salkar et al. 2022
SampleText = tuple[str, str]  # a prompt, and the text that begins with it


def distinct(texts: Sequence[str], n: int) -> float:
    """Return the number of distinct word n-grams divided by that of all word n-grams, 0 to 1; 0 when there are none.

    This is distinct-n (Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models").

    Args:
        texts: the texts, whose n-grams are counted together.
        n: the number of words of an n-gram.
    """
    grams = [gram for text in texts for gram in ngrams(words(text), n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repeated_samples(samples: Sequence[SampleText]) -> list[str]:
    """Return the samples whose continuation shares a 4-gram of words with that of another sample, the most repeated first.

    Their share of all samples, 0 to 1, is self-repetition (Salkar et al. 2022, "Self-Repetition in Abstractive Neural Summarizers").
    The prompt's own words do not count, because all samples of a prompt have them.
    """
    grams = [set(ngrams(words(text[len(prompt) :]), REPETITION_WORDS)) for prompt, text in samples]
    counts = Counter(gram for sample_grams in grams for gram in sample_grams)
    repeated = [
        (max((counts[gram] for gram in sample_grams), default=0), text)
        for sample_grams, (_, text) in zip(grams, samples, strict=True)
    ]
    return [text for count, text in sorted(repeated, key=lambda item: -item[0]) if count > 1]


def length_ks(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """Return the two-sample Kolmogorov-Smirnov statistic of the texts' lengths in characters, 0 (same) to 1 (no overlap).

    It is the maximum over x of |share of `ours` with at most x characters - share of `theirs` with at most x| (Massey 1951).

    Args:
        ours: the samples.
        theirs: the author's posts.
    """
    our_counts, their_counts = Counter(map(len, ours)), Counter(map(len, theirs))
    gap, largest = 0.0, 0.0
    for length in sorted(our_counts | their_counts):
        gap += our_counts[length] / len(ours) - their_counts[length] / len(theirs)
        largest = max(largest, abs(gap))
    return min(largest, 1.0)


class Memory:
    """The word n-grams of the training posts, to find verbatim repetitions of them in samples."""

    def __init__(self, posts: Iterable[str]) -> None:
        self._grams = {gram for post in posts for gram in ngrams(words(post), VERBATIM_WORDS)}

    def longest_run(self, text: str) -> list[str]:
        """Return the longest run of words in `text` whose 8-grams all occur in training posts; [] when there is none.

        Lee et al. 2022 ("Deduplicating Training Data Makes Language Models Better") search runs of 50 tokens; posts are shorter.
        """
        return max(self._runs(text), key=len, default=[])

    def memorised(self, text: str) -> bool:
        """Whether `text` repeats at least 8 words and 50 characters of training posts verbatim."""
        return any(len(" ".join(run)) >= VERBATIM_CHARACTERS for run in self._runs(text))

    def _runs(self, text: str) -> Iterator[list[str]]:
        tokens = words(text)
        start = None
        for position, gram in enumerate([*ngrams(tokens, VERBATIM_WORDS), ()]):
            if gram in self._grams:
                start = position if start is None else start
            elif start is not None:
                yield tokens[start : position - 1 + VERBATIM_WORDS]
                start = None
