"""Metrics on samples: formulas that need no model."""

from collections.abc import Iterable, Iterator, Sequence

from components.verbatim import VERBATIM_CHARACTERS, VERBATIM_WORDS, ngrams, words


def distinct(texts: Sequence[str], n: int) -> float:
    """Distinct n-grams of words over all n-grams of words, 0 to 1 (Li et al. 2016, distinct-n); 0 when there are none."""
    grams = [gram for text in texts for gram in ngrams(words(text), n)]
    return len(set(grams)) / len(grams) if grams else 0.0


class Memory:
    """The training posts, to find verbatim runs of them in samples."""

    def __init__(self, posts: Iterable[str]) -> None:
        self._grams = {gram for post in posts for gram in ngrams(words(post), VERBATIM_WORDS)}

    def longest_run(self, text: str) -> list[str]:
        """The longest run of words in `text` whose every 8-gram stands in a training post; [] when there is none."""
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
