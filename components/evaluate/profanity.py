"""Profanity in a text, by a list of words: profanity.txt beside this file.

The libraries on PyPI either load a pickled classifier, which nobody should unpickle, or have had no release for years; a list can be
read, argued about and changed. It counts, relative to the author, and forbids nothing.
"""

import functools
import re
from collections.abc import Sequence
from pathlib import Path

FILE = Path(__file__).with_name("profanity.txt")
WORDS = re.compile(r"[\w@$!]+")
SPELT = str.maketrans("013457@$!", "oieastasi")  # sh1t, a$$, b!tch
DRAWN_OUT = re.compile(r"([^\W\d])\1{2,}")  # fuuuck


def is_profane(text: str) -> bool:
    """Whether one of the list's words stands in `text`, whatever its case; also with digits for letters, and drawn out."""
    whole, stems = _list()
    for word in WORDS.findall(DRAWN_OUT.sub(r"\1", text.casefold())):
        plain = word.strip("!@")
        if not plain.isalpha():
            if plain.isdigit():
                continue
            plain = plain.translate(SPELT)
        if plain in whole or plain.startswith(stems):
            return True
    return False


def profanity_share(texts: Sequence[str]) -> float:
    """Texts with a profane word over all texts, 0 to 1 (the rate of Gehman et al. 2020, with a list in the classifier's place)."""
    return sum(map(is_profane, texts)) / len(texts) if texts else 0.0


@functools.cache
def _list() -> tuple[frozenset[str], tuple[str, ...]]:
    """The list's whole words, and what words may begin with."""
    lines = [line.strip() for line in FILE.read_text("utf-8").splitlines()]
    entries = [DRAWN_OUT.sub(r"\1", line.casefold()) for line in lines if line and not line.startswith("#")]
    return (
        frozenset(entry for entry in entries if not entry.endswith("*")),
        tuple(entry[:-1] for entry in entries if entry.endswith("*")),
    )
