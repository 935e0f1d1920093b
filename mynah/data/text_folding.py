"""Fold a text to plain characters, so that one pattern finds what people write with many.

Phones, word processors and web pages write the blanks and hyphens of a number in dozens of ways, and some put characters between its digits
that nobody sees. The kinds of characters are Unicode's general categories (UAX #44, https://www.unicode.org/reports/tr44/#General_Category_Values).
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # look like blanks, though Unicode calls them letters or symbols
# Hyphens that Unicode calls something else: macron, modifier and mathematical minus, bullet, box drawing, and the Japanese vowel mark.
HYPHENS = "\u00af\u02d7\u2043\u207b\u208b\u2212\u2500\u2501\u30fc\uff70"
DOTS = "\u00b7\u0387\u2022\u2024\u2027\u2219\u22c5\u30fb\uff65"  # between the groups of a number: a middle dot
APOSTROPHES = "\u02bc\u2018\u2019\u201b"
# Grapheme joiner, keycap, Mongolian separators and variation selectors: marks without a letter of their own.
INVISIBLE = "\u034f\u20e3\u180b\u180c\u180d\u180f" + "".join(map(chr, range(0xFE00, 0xFE10)))
REMOVED = {"Cc", "Cf", "Cs", "Co"}  # control and format characters, halves of surrogate pairs, private use


@dataclass(frozen=True, slots=True)
class FoldedText:
    """A folded text, with the position in the original of each of its characters (None: the same)."""

    text: str
    positions: Sequence[int] | None = None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the original text for a span of the folded one that is not empty."""
        return (start, end) if self.positions is None else (self.positions[start], self.positions[end - 1] + 1)


class _Table(dict[int, str]):
    """What each code point is folded to, computed on first use."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _fold_character(chr(code))
        return folded


TABLE = _Table()


def fold(text: str) -> FoldedText:
    """Replace what people write with many characters by plain ones.

    Blanks of every kind and line breaks become one blank, hyphens and dashes "-", digits of every script those of ASCII, full-width and
    mathematical letters their plain ones. What is invisible is removed.
    """
    folded = text if text.isascii() and text.isprintable() else text.translate(TABLE)
    if len(folded) == len(text) and "  " not in folded:
        return FoldedText(folded)
    characters, positions = list[str](), list[int]()
    for position, character in enumerate(text):
        plain = TABLE[ord(character)]
        if plain and not (plain == " " and characters and characters[-1] == " "):
            characters.append(plain)
            positions.append(position)
    return FoldedText("".join(characters), positions)


def _fold_character(character: str) -> str:
    """Return what one character is folded to: one character or none."""
    category = unicodedata.category(character)
    if character.isspace() or category.startswith("Z") or character in FILLERS:
        return " "
    if category in REMOVED or character in INVISIBLE:
        return ""
    if category == "Pd" or character in HYPHENS:
        return "-"
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if character in DOTS:
        return "\u00b7"
    if character in APOSTROPHES:
        return "'"
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 and plain.isascii() and not plain.isdigit() else character
