"""Select the sample that a card shows until somebody chooses another."""

import re
from collections.abc import Collection, Sequence

from mynah.data.markdown import clean
from mynah.data.verbatim_filter import VERBATIM_WORDS, Bloom, words

# Text that looks like a person's address or number, or names an account; real or invented, it does not belong in a preview.
PERSONAL = re.compile(r"@\w|\d(?:[ ().\-/]?\d){6}")


def first_acceptable(prompt: str, samples: Sequence[str], offending: Collection[str] = (), posts: Bloom | None = None) -> int:
    """Return the number of the first sample with text beyond its prompt that fails no check, copies no post and has no personal data.

    Without such a sample, it is the first that is acceptable otherwise, then the first that is not empty, then 1.

    Args:
        prompt: The prompt of all samples.
        samples: The samples.
        offending: The samples that count against a check.
        posts: The index of the training posts' word runs.

    Returns:
        The number, counted from 1.
    """
    cleaned = [clean(sample) for sample in samples]
    acceptable = [text not in offending and not _copies(text, posts) and not PERSONAL.search(text) for text in samples]
    preferences = (
        [
            good and bool(sample_text.removeprefix(clean(prompt)).strip())
            for sample_text, good in zip(cleaned, acceptable, strict=True)
        ],
        [good and bool(sample_text) for sample_text, good in zip(cleaned, acceptable, strict=True)],
        [bool(sample_text) for sample_text in cleaned],
    )
    return next((number for preference in preferences for number, holds in enumerate(preference, 1) if holds), 1)


def _copies(text: str, posts: Bloom | None) -> bool:
    """Return whether `text` contains a run of words that evaluation counts as memorised."""
    text_words = words(text)
    return posts is not None and any(posts.repeats(text_words[:end]) for end in range(VERBATIM_WORDS, len(text_words) + 1))
