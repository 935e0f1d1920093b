"""The sample that a card shows before anybody chooses one."""

import re
from collections.abc import Collection, Sequence

from components.card.escape import clean
from components.verbatim import VERBATIM_WORDS, Bloom, words

# What looks like an address or a number of somebody, or names an account: true or made up, a preview is not the place for it.
PERSONAL = re.compile(r"@\w|\d(?:[ ().\-/]?\d){6}")


def first_sound(prompt: str, samples: Sequence[str], offending: Collection[str] = (), posts: Bloom | None = None) -> int:
    """The number, counted from 1, of the first sample that says more than its prompt, offends by no check, and copies no post.

    `offending` are the samples that the verdict names, `posts` the training posts' runs. Where none is sound, the first that
    neither offends nor copies; else the first that says something; else 1.
    """
    says = [clean(sample) for sample in samples]
    innocent = [text not in offending and not _copies(text, posts) and not PERSONAL.search(text) for text in samples]
    wishes = (
        [good and bool(said.removeprefix(clean(prompt)).strip()) for said, good in zip(says, innocent, strict=True)],
        [good and bool(said) for said, good in zip(says, innocent, strict=True)],
        [bool(said) for said in says],
    )
    return next((number for wish in wishes for number, holds in enumerate(wish, 1) if holds), 1)


def _copies(text: str, posts: Bloom | None) -> bool:
    """Whether a run in `text` is one that evaluation calls memorised."""
    said = words(text)
    return posts is not None and any(posts.repeats(said[:end]) for end in range(VERBATIM_WORDS, len(said) + 1))
