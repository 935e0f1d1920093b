"""Find near duplicates: candidates by MinHash with bands, confirmed by the exact Jaccard index of their word pairs.

Broder 1997, "On the resemblance and containment of documents"; Leskovec et al., Mining of Massive Datasets, 3.4.

Measured on 11,617 posts of one author and 100,000 made from their words: at 0.7 all pairs found are the same post repeated; at 0.6 a
third are different posts of a similar form ("Happy 2nd birthday" and "Happy 3rd birthday"). With 24 bands of four values, two texts
exactly at the threshold are missed once in 730 times, at 0.8 once in 300,000. The sketches are by rensa (Rust, 1 MB): datasketch needs
numpy and scipy, 216 MB in an image that may have 500, and was eight times slower. Only the function that uses rensa imports it, since it
is of the extra `filter`.
"""

import functools
import itertools
import re
import struct
import unicodedata
from array import array

THRESHOLD = 0.7  # Jaccard index of the word pairs
BANDS, VALUES = 24, 4
KEYS = struct.Struct(f"{4 * VALUES}s" * BANDS)  # the part of each band in a sketch
SEED = 42
# Scripts without spaces between words: each of their characters counts as a word.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Vowels of Hindi, Arabic, Hebrew … that are written as marks belong to their words, though Python's \w excludes them.
MARKS = "".join(char for char in map(chr, range(0x300, 0xE00)) if unicodedata.category(char).startswith("M"))
ASCII_WORD = re.compile("[a-z0-9]+")  # the same where a text has no other letters
WORD = re.compile(rf"[{UNSPACED}]|(?:[^\W_{UNSPACED}][{MARKS}]*)+")


def word_pairs(text: str) -> frozenset[str]:
    """Return the pairs of consecutive words, ignoring case and punctuation; the text itself where it has fewer than two words."""
    words = (ASCII_WORD if text.isascii() else WORD).findall(text.casefold())
    if len(words) < 2:
        return frozenset(words or text.encode("utf-8", "replace").decode().split())  # half a surrogate pair cannot be encoded
    return frozenset(map(" ".join, itertools.pairwise(words)))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Return the Jaccard index: the size of the intersection over that of the union."""
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared) if shared else 0.0


class NearDuplicateIndex:
    """Texts by number, in the order in which they were added, with a lookup of similar earlier ones."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._stands_for: list[int] = []  # its own number, or that of the similar text that was kept instead
        self._firsts: list[dict[bytes, int]] = [{} for _ in range(BANDS)]  # of each bucket the first text, and the second
        self._seconds: list[dict[bytes, int]] = [{} for _ in range(BANDS)]
        self._pairs = functools.lru_cache(maxsize=4096)(lambda number: word_pairs(self._texts[number]))

    def add(self, text: str, keep: bool = False) -> list[int]:
        """Add the next text.

        Args:
            text: The text.
            keep: Keep it even if it is similar to an earlier one.

        Returns:
            The numbers of the earlier texts that it is similar to.
        """
        number, pairs = len(self._texts), word_pairs(text)
        candidates = {self._stands_for[other] for other in self._candidates(number, pairs)}
        similar = [other for other in sorted(candidates) if jaccard(pairs, self._pairs(other)) >= THRESHOLD]
        is_kept = keep or not similar
        self._texts.append(text if is_kept else "")
        self._stands_for.append(number if is_kept else similar[0])
        return similar

    def _candidates(self, number: int, pairs: frozenset[str]) -> set[int]:
        """Put a text into its bucket of each band, and return earlier texts of the same buckets.

        Only the first two texts of each bucket are returned: a hundred thousand posts of one form would otherwise all be compared with all.
        """
        keys = KEYS.unpack(_sketch(pairs))
        firsts = [bucket.setdefault(key, number) for bucket, key in zip(self._firsts, keys, strict=True)]
        if firsts.count(number) == BANDS:  # like no earlier text, as most are
            return set()
        shared = [place for place, first in enumerate(firsts) if first != number]
        seconds = [self._seconds[place].setdefault(keys[place], number) for place in shared]
        return {*firsts, *seconds} - {number}


def _sketch(pairs: frozenset[str]) -> bytes:
    """Return the MinHash of the pairs: the minimum of each hash function as 4 bytes, BANDS * VALUES of them."""
    import rensa

    sketch = rensa.RMinHash(num_perm=BANDS * VALUES, seed=SEED)
    sketch.update(pairs)
    return array("I", sketch.digest()).tobytes()
