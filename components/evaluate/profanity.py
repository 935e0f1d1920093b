"""Detects profanity by a list of words, profanity.txt.

The libraries on PyPI either load a pickled classifier, which is unsafe to unpickle, or have had no release for years; a list can be
read, discussed and changed. The result is measured relative to the author, and no word is forbidden.
"""

import functools
import re
from collections.abc import Sequence
from pathlib import Path

FILE = Path(__file__).with_name("profanity.txt")
WORDS = re.compile(r"[\w@$!]+")
CHARACTER_SUBSTITUTES = str.maketrans("013457@$!", "oieastasi")  # sh1t, a$$, b!tch
REPEATED_LETTERS = re.compile(r"([^\W\d])\1{2,}")  # fuuuck


def is_profane(text: str) -> bool:
    """Whether `text` contains a word of the list, in any case, also with digits for letters or repeated letters."""
    whole_words, stems = _list()
    for word in WORDS.findall(REPEATED_LETTERS.sub(r"\1", text.casefold())):
        normalized = word.strip("!@")
        if not normalized.isalpha():
            if normalized.isdigit():
                continue
            normalized = normalized.translate(CHARACTER_SUBSTITUTES)
        if normalized in whole_words or normalized.startswith(stems):
            return True
    return False


def profanity_share(texts: Sequence[str]) -> float:
    """Return the share of texts with a profane word, 0 to 1 (as Gehman et al. 2020, with a list instead of a classifier)."""
    return sum(map(is_profane, texts)) / len(texts) if texts else 0.0


@functools.cache
def _list() -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the list's whole words and its word beginnings."""
    lines = [line.strip() for line in FILE.read_text("utf-8").splitlines()]
    entries = [REPEATED_LETTERS.sub(r"\1", line.casefold()) for line in lines if line and not line.startswith("#")]
    return (
        frozenset(entry for entry in entries if not entry.endswith("*")),
        tuple(entry[:-1] for entry in entries if entry.endswith("*")),
    )
