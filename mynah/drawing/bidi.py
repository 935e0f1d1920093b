"""The order in which characters of mixed directions are seen: the bidirectional algorithm (Unicode Standard Annex 9).

Text here has no explicit directions (`components.card.escape.clean` removes them) and is one isolating run.
"""

import itertools
import unicodedata
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
BRACKETS = {"(": ")", "[": "]", "{": "}"}
MIRRORED = dict(
    zip("()[]{}<>«»\u2039\u203a", ")(][}{><»«\u203a\u2039", strict=True)
)  # for fonts that are drawn without a shaping engine


def direction(text: str) -> str:
    """The bidirectional class of a piece of text: its first character's, and of what is unassigned, L."""
    return unicodedata.bidirectional(text[:1]) or "L"


def is_right_to_left(classes: Sequence[str]) -> bool:
    """Whether the first letter with a direction runs right to left (rules P2 and P3)."""
    return next((each != "L" for each in classes if each in ("L", "R", "AL")), False)


def levels(classes: Sequence[str], texts: Sequence[str], backwards: bool) -> list[int]:
    """The embedding level of each piece, by its class and its text; odd ones run right to left."""
    base = "R" if backwards else "L"
    kinds = _neutrals(_brackets(_weak(list(classes), base), texts, base), base)
    return [_level(kind, backwards) for kind in kinds]


def order(levels: Sequence[int]) -> list[int]:
    """The places of a line's pieces from left to right (rule L2)."""
    places = list(range(len(levels)))
    for level in range(max(levels, default=0), 0, -1):
        turned: list[int] = []
        for high, start, end in _runs([levels[place] >= level for place in places]):
            turned += reversed(places[start:end]) if high else places[start:end]
        places = turned
    return places


def _weak(kinds: list[str], base: str) -> list[str]:
    """Rules W1 to W7: numbers and what belongs to them."""
    strong, before = base, base
    for place, kind in enumerate(kinds):
        if kind in ("NSM", "BN"):
            kinds[place] = kind = before
        if kind in ("L", "R", "AL"):
            strong = kind
        elif kind == "EN" and strong == "AL":
            kinds[place] = kind = "AN"
        before = kind
    kinds = ["R" if kind == "AL" else kind for kind in kinds]
    for place in range(1, len(kinds) - 1):
        left, right = kinds[place - 1], kinds[place + 1]
        if left == right and ((kinds[place] == "CS" and left in ("EN", "AN")) or (kinds[place] == "ES" and left == "EN")):
            kinds[place] = left
    for kind, start, end in _runs(kinds):
        if kind == "ET" and "EN" in (*kinds[max(start - 1, 0) : start], *kinds[end : end + 1]):
            kinds[start:end] = ["EN"] * (end - start)
    strong = base
    for place, kind in enumerate(kinds):
        strong = kind if kind in ("L", "R") else strong
        if kind == "EN" and strong == "L":
            kinds[place] = "L"
        elif kind not in ("L", "R", "EN", "AN"):
            kinds[place] = "ON"
    return kinds


def _brackets(kinds: list[str], texts: Sequence[str], base: str) -> list[str]:
    """Rule N0: a pair of brackets takes the direction of what is in it, where that is the base, or what came before goes that way."""
    pairs = _pairs(kinds, texts)
    for start, end in sorted(pairs):
        inside = {_strength(kind) for kind in kinds[start + 1 : end]} & {"L", "R"}
        if base in inside:
            kinds[start] = kinds[end] = base
        elif inside:
            before = next((_strength(kind) for kind in reversed(kinds[:start]) if _strength(kind) in ("L", "R")), base)
            kinds[start] = kinds[end] = before
    return kinds


def _pairs(kinds: Sequence[str], texts: Sequence[str]) -> list[tuple[int, int]]:
    """The places of brackets that belong together."""
    pairs: list[tuple[int, int]] = []
    opened: list[tuple[str, int]] = []
    for place, text in enumerate(texts):
        if kinds[place] != "ON":
            continue
        if text in BRACKETS:
            opened.append((BRACKETS[text], place))
        elif any(text == closing for closing, _ in opened):
            while opened[-1][0] != text:
                opened.pop()
            pairs.append((opened.pop()[1], place))
    return pairs


def _neutrals(kinds: list[str], base: str) -> list[str]:
    """Rules N1 and N2: what has no direction takes that of both its sides, or else the base."""
    for kind, start, end in _runs(kinds):
        if kind == "ON":
            left = _strength(kinds[start - 1]) if start else base
            right = _strength(kinds[end]) if end < len(kinds) else base
            kinds[start:end] = [left if left == right else base] * (end - start)
    return kinds


def _strength(kind: str) -> str:
    return "R" if kind in ("EN", "AN") else kind


def _level(kind: str, backwards: bool) -> int:
    """Rules I1 and I2."""
    if backwards:
        return 1 if kind == "R" else 2
    return {"L": 0, "R": 1}.get(kind, 2)


def _runs(kinds: Sequence[T]) -> list[tuple[T, int, int]]:
    """Neighbours of one kind: the kind, its first place, and the place after its last."""
    found, start = [], 0
    for kind, run in itertools.groupby(list(kinds)):
        end = start + len(list(run))
        found.append((kind, start, end))
        start = end
    return found
