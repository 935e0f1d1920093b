"""The Unicode bidirectional algorithm (Unicode Standard Annex 9, https://www.unicode.org/reports/tr9/).

Text here has no explicit directional formatting (`mynah.data.markdown.clean` removes it) and is one isolating run.
"""

import itertools
import unicodedata
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
BRACKETS = {"(": ")", "[": "]", "{": "}"}
# Mirrored characters (rule L4), for drawing without a shaping engine.
MIRRORED = dict(zip("()[]{}<>«»\u2039\u203a", ")(][}{><»«\u203a\u2039", strict=True))


def direction(text: str) -> str:
    """Return the bidirectional class of a text's first character; L when it is unassigned."""
    return unicodedata.bidirectional(text[:1]) or "L"


def is_right_to_left(classes: Sequence[str]) -> bool:
    """Whether the first character with a strong direction runs right to left (rules P2 and P3)."""
    return next((kind != "L" for kind in classes if kind in ("L", "R", "AL")), False)


def levels(classes: Sequence[str], texts: Sequence[str], backwards: bool) -> list[int]:
    """Return the embedding level of each piece; odd levels run right to left.

    Args:
        classes: the bidirectional class of each piece.
        texts: the text of each piece.
        backwards: whether the paragraph runs right to left.
    """
    base = "R" if backwards else "L"
    kinds = _neutrals(_brackets(_weak(list(classes), base), texts, base), base)
    return [_level(kind, backwards) for kind in kinds]


def order(levels: Sequence[int]) -> list[int]:
    """Return the indices of a line's pieces from left to right (rule L2)."""
    positions = list(range(len(levels)))
    for level in range(max(levels, default=0), 0, -1):
        reordered: list[int] = []
        for high, start, end in _runs([levels[position] >= level for position in positions]):
            reordered += reversed(positions[start:end]) if high else positions[start:end]
        positions = reordered
    return positions


def _weak(kinds: list[str], base: str) -> list[str]:
    """Apply rules W1 to W7: numbers, their separators and terminators."""
    strong, previous = base, base
    for position, kind in enumerate(kinds):
        if kind in ("NSM", "BN"):
            kinds[position] = kind = previous
        if kind in ("L", "R", "AL"):
            strong = kind
        elif kind == "EN" and strong == "AL":
            kinds[position] = kind = "AN"
        previous = kind
    kinds = ["R" if kind == "AL" else kind for kind in kinds]
    for position in range(1, len(kinds) - 1):
        left, right = kinds[position - 1], kinds[position + 1]
        if left == right and ((kinds[position] == "CS" and left in ("EN", "AN")) or (kinds[position] == "ES" and left == "EN")):
            kinds[position] = left
    for kind, start, end in _runs(kinds):
        if kind == "ET" and "EN" in (*kinds[max(start - 1, 0) : start], *kinds[end : end + 1]):
            kinds[start:end] = ["EN"] * (end - start)
    strong = base
    for position, kind in enumerate(kinds):
        strong = kind if kind in ("L", "R") else strong
        if kind == "EN" and strong == "L":
            kinds[position] = "L"
        elif kind not in ("L", "R", "EN", "AN"):
            kinds[position] = "ON"
    return kinds


def _brackets(kinds: list[str], texts: Sequence[str], base: str) -> list[str]:
    """Apply rule N0: a pair of brackets takes the base direction if it contains it, otherwise that of the text before it."""
    pairs = _pairs(kinds, texts)
    for start, end in sorted(pairs):
        inside = {_strength(kind) for kind in kinds[start + 1 : end]} & {"L", "R"}
        if base in inside:
            kinds[start] = kinds[end] = base
        elif inside:
            previous = next((_strength(kind) for kind in reversed(kinds[:start]) if _strength(kind) in ("L", "R")), base)
            kinds[start] = kinds[end] = previous
    return kinds


def _pairs(kinds: Sequence[str], texts: Sequence[str]) -> list[tuple[int, int]]:
    """Return the positions of paired brackets (BD16)."""
    pairs: list[tuple[int, int]] = []
    open_brackets: list[tuple[str, int]] = []
    for position, text in enumerate(texts):
        if kinds[position] != "ON":
            continue
        if text in BRACKETS:
            open_brackets.append((BRACKETS[text], position))
        elif any(text == closing for closing, _ in open_brackets):
            while open_brackets[-1][0] != text:
                open_brackets.pop()
            pairs.append((open_brackets.pop()[1], position))
    return pairs


def _neutrals(kinds: list[str], base: str) -> list[str]:
    """Apply rules N1 and N2: neutrals take the direction of both sides where these agree, otherwise the base direction."""
    for kind, start, end in _runs(kinds):
        if kind == "ON":
            left = _strength(kinds[start - 1]) if start else base
            right = _strength(kinds[end]) if end < len(kinds) else base
            kinds[start:end] = [left if left == right else base] * (end - start)
    return kinds


def _strength(kind: str) -> str:
    return "R" if kind in ("EN", "AN") else kind


def _level(kind: str, backwards: bool) -> int:
    """Return the embedding level of a class (rules I1 and I2)."""
    if backwards:
        return 1 if kind == "R" else 2
    return {"L": 0, "R": 1}.get(kind, 2)


def _runs(kinds: Sequence[T]) -> list[tuple[T, int, int]]:
    """Return runs of equal neighbours: the value, its first position, and the position after its last."""
    runs, start = [], 0
    for kind, run in itertools.groupby(list(kinds)):
        end = start + len(list(run))
        runs.append((kind, start, end))
        start = end
    return runs
