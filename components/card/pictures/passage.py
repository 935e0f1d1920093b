"""A text of any script with emoji in it, taken apart into what must stay whole, and wrapped to lines of a width."""

import functools
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.card.escape import UNSEEN
from components.card.pictures import bidi, emoji
from components.card.pictures.style import font

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

LEADING = 1.36
EMOJI_SIDE, EMOJI_WIDTH = 1.16, 1.24  # of the text's size: how large an emoji is, and the room that it takes
LONGEST_LINE = 400  # pieces
MOST_MARKS = 6  # characters drawn as one: Hindi and Hebrew need five
HALF_FLAGS = {0x1F1E6 + place: 0x41 + place for place in range(26)}
STICKS = re.compile("[^\\w\\s([{«\u2039“\u2018]")  # no line begins with what ends a sentence or a quotation


@dataclass(frozen=True, slots=True)
class Piece:
    """What is never broken: a letter with its marks, or an emoji with all its characters."""

    text: str
    cell: int | None  # of the emoji's sheet; None for text
    bold: bool


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbours on a line that are drawn in one go."""

    text: str
    cell: int | None
    bold: bool
    backwards: bool


@dataclass(frozen=True, slots=True)
class Passage:
    """Pieces in the order in which they are read, with the direction of each."""

    pieces: tuple[Piece, ...]
    levels: tuple[int, ...]
    backwards: bool

    @classmethod
    def of(cls, text: str, bold: int = 0, limit: int = 0) -> "Passage":
        """`text` on one line, its first `bold` characters bold; more than `limit` pieces (0: any number) are cut with `…`."""
        pieces = _pieces(shown(text), bold)
        if limit and len(pieces) > limit:
            pieces = [*pieces[: limit - 1], Piece("…", None, False)]
        return cls.set(pieces)

    @classmethod
    def set(cls, pieces: list[Piece]) -> "Passage":
        """The pieces with their directions."""
        classes = ["ON" if piece.cell is not None else bidi.direction(piece.text) for piece in pieces]
        backwards = bidi.is_right_to_left(classes)
        levels = bidi.levels(classes, [piece.text for piece in pieces], backwards)
        return cls(tuple(pieces), tuple(levels), backwards)

    @property
    def text(self) -> str:
        """All of it, in the order in which it is read."""
        return "".join(piece.text for piece in self.pieces)

    def cut(self, end: int) -> "Passage":
        """The pieces before `end`, and `…`."""
        pieces = list(self.pieces[:end])
        while pieces and pieces[-1].text == " ":
            pieces.pop()
        return Passage.set([*pieces, Piece("…", None, bool(pieces) and pieces[-1].bold)])

    def breaks(self, place: int) -> bool:
        """Whether a line may end before the piece at `place` without a space: beside emoji, and within Chinese and Japanese."""
        left, right = self.pieces[place - 1], self.pieces[place]
        return not STICKS.match(right.text if right.cell is None else "a") and (_stands_alone(left) or _stands_alone(right))


def shown(text: str) -> str:
    """`text` on one line without what `components.card.escape.clean` takes out, but for the invisible characters of flags."""
    return " ".join(_unseen().sub(lambda found: found["flag"] or "", re.sub(r"\s+", " ", text)).split())


@functools.cache
def _unseen() -> re.Pattern[str]:
    return re.compile(f"(?P<flag>{'|'.join(emoji.flags())})|{UNSEEN.pattern}")


def _pieces(text: str, bold: int) -> list[Piece]:
    found: list[Piece] = []
    place = 0
    while place < len(text):
        if emoji_here := emoji.find(text, place):
            found.append(Piece(text[place : emoji_here.end], emoji_here.cell, place < bold))
            place = emoji_here.end
            continue
        end = place + 1
        while end < len(text) and _joins(text, end) and not emoji.find(text, end):
            end += 1
        found.append(Piece(_tamed(text[place:end]), None, place < bold))
        place = end
    return [piece for piece in found if piece.text]


def _joins(text: str, place: int) -> bool:
    """Whether the characters before and at `place` are drawn as one."""
    return unicodedata.category(text[place]).startswith("M") or text[place] in "\u200c\u200d" or text[place - 1] == "\u200d"


def _tamed(text: str) -> str:
    """A letter with its marks, without those that would stack up beyond its line, and without what chooses a presentation.

    Half a flag becomes its letter, and a joiner that joins nothing goes: the fonts have neither."""
    return text.translate(HALF_FLAGS).replace(emoji.AS_TEXT, "").replace(emoji.AS_EMOJI, "").lstrip(emoji.JOINER)[:MOST_MARKS]


def _stands_alone(piece: Piece) -> bool:
    return piece.cell is not None or (unicodedata.east_asian_width(piece.text[0]) in "WF" and piece.text[0].isalpha())


class Setting:
    """A passage set at one size, in pixels."""

    def __init__(self, passage: Passage, size: int) -> None:
        self.passage, self.size = passage, size

    def runs(self, start: int, end: int) -> list[Run]:
        """What is drawn of the pieces from `start` to `end`, from left to right."""
        while end > start and self.passage.pieces[end - 1].text == " ":  # rule L1: a line's last space would stand at its start
            end -= 1
        found: list[tuple[Piece, int, list[str]]] = []
        for offset in bidi.order(self.passage.levels[start:end]):
            piece, level = self.passage.pieces[start + offset], self.passage.levels[start + offset]
            last = found[-1] if found else None
            if last and piece.cell is None and last[0].cell is None and (last[0].bold, last[1]) == (piece.bold, level):
                last[2].append(piece.text)
            else:
                found.append((piece, level, [piece.text]))
        return [
            Run("".join(texts[:: -1 if level % 2 else 1]), piece.cell, piece.bold, level % 2 == 1)
            for piece, level, texts in found
        ]

    def width(self, start: int, end: int) -> float:
        """The width of the pieces from `start` to `end`."""
        return sum(self.length(run) for run in self.runs(start, end))

    def length(self, run: Run) -> float:
        """The width of a run."""
        return self.size * EMOJI_WIDTH if run.cell is not None else length(run.text, font(self.size, run.bold), run.backwards)

    def lines(self, width: float, most: int) -> list[tuple[int, int]]:
        """Start and end of each line, `most + 1` lines at most; a word that is wider than a line is broken between pieces."""
        pieces, found, start = self.passage.pieces, list[tuple[int, int]](), 0
        while start < len(pieces) and len(found) <= most:
            end = self._fitting(start, width)
            if end < len(pieces) and pieces[end].text != " ":
                chances = range(end, start, -1)
                end = next((place for place in chances if pieces[place - 1].text == " " or self.passage.breaks(place)), end)
            found.append((start, end))
            start = end
            while start < len(pieces) and pieces[start].text == " ":
                start += 1
        return found

    def _fitting(self, start: int, width: float) -> int:
        """How far a line from `start` can go; one piece at least."""
        low, high = start + 1, min(len(self.passage.pieces), start + LONGEST_LINE)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.width(start, middle) <= width else (low, middle - 1)
        return low


def length(text: str, face: "FreeTypeFont", backwards: bool) -> float:
    """The width of text of one direction, in pixels."""
    return face.getlength(visual(text, backwards), direction=way(backwards))


def way(backwards: bool) -> str | None:
    """A run's direction for Pillow; without libraqm it knows none, and asking for one is an error."""
    return ("rtl" if backwards else "ltr") if _shapes() else None


def visual(text: str, backwards: bool) -> str:
    """`text` as Pillow draws it: without libraqm from left to right, so that the other direction is turned here."""
    if not backwards or _shapes():
        return text
    return "".join(bidi.MIRRORED.get(piece.text, piece.text) for piece in reversed(_pieces(text, 0)))


@functools.cache
def _shapes() -> bool:
    from PIL import features

    return bool(features.check("raqm"))


def fit(passage: Passage, sizes: range, width: float, height: float) -> tuple[Setting, list[tuple[int, int]]]:
    """The largest setting of `sizes` that fits the box; at the smallest the rest is cut with `…`."""
    for size in sizes:
        most = max(1, int(height / (size * LEADING)))
        setting = Setting(passage, size)
        lines = setting.lines(width, most)
        if len(lines) <= most:
            return setting, lines
    start, end = lines[most - 1]
    cut = passage.cut(end)
    while end > start and Setting(cut, size).width(start, len(cut.pieces)) > width:
        end -= 1
        cut = passage.cut(end)
    return Setting(cut, size), [*lines[: most - 1], (start, len(cut.pieces))]
