"""Text layout for all scripts with emoji: splits text into unbreakable pieces and wraps it into lines."""

import functools
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mynah.data.markdown import INVISIBLE
from mynah.drawing import bidi, emoji
from mynah.drawing.style import font

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

LINE_HEIGHT = 1.36
EMOJI_SIDE, EMOJI_WIDTH = 1.16, 1.24  # an emoji's side and advance width, as shares of the font size
MAX_LINE_PIECES = 400
MAX_MARKS = 6  # characters drawn as one: Hindi and Hebrew need five
HALF_FLAGS = {0x1F1E6 + position: 0x41 + position for position in range(26)}
NO_LINE_START = re.compile("[^\\w\\s([{«\u2039“\u2018]")  # closing punctuation never starts a line


@dataclass(frozen=True, slots=True)
class TextPiece:
    """An unbreakable piece: a letter with its marks, or an emoji with all its characters."""

    text: str
    cell: int | None  # in the emoji sheet; None for text
    bold: bool


@dataclass(frozen=True, slots=True)
class TextRun:
    """Neighbouring pieces of a line that are drawn together."""

    text: str
    cell: int | None
    bold: bool
    backwards: bool


@dataclass(frozen=True, slots=True)
class Passage:
    """Pieces in reading order, with the direction of each."""

    pieces: tuple[TextPiece, ...]
    levels: tuple[int, ...]  # embedding levels of the pieces; odd ones run right to left
    backwards: bool  # whether the paragraph runs right to left

    @classmethod
    def of(cls, text: str, bold: int = 0, limit: int = 0) -> "Passage":
        """Create a passage.

        Args:
            text: the text; line breaks become spaces.
            bold: the number of characters at the start that are bold.
            limit: the number of pieces after which the text is cut with `…`; 0 is no limit.
        """
        pieces = _pieces(single_line(text), bold)
        if limit and len(pieces) > limit:
            pieces = [*pieces[: limit - 1], TextPiece("…", None, False)]
        return cls.set(pieces)

    @classmethod
    def set(cls, pieces: list[TextPiece]) -> "Passage":
        """Create a passage of pieces, whose directions are computed."""
        classes = ["ON" if piece.cell is not None else bidi.direction(piece.text) for piece in pieces]
        backwards = bidi.is_right_to_left(classes)
        levels = bidi.levels(classes, [piece.text for piece in pieces], backwards)
        return cls(tuple(pieces), tuple(levels), backwards)

    @property
    def text(self) -> str:
        """The whole text, in reading order."""
        return "".join(piece.text for piece in self.pieces)

    def cut(self, end: int) -> "Passage":
        """Return the passage of the pieces before `end`, followed by `…`."""
        pieces = list(self.pieces[:end])
        while pieces and pieces[-1].text == " ":
            pieces.pop()
        return Passage.set([*pieces, TextPiece("…", None, bool(pieces) and pieces[-1].bold)])

    def can_break_before(self, position: int) -> bool:
        """Whether a line may end before the piece at `position` without a space: beside emoji, and within Chinese and Japanese."""
        left, right = self.pieces[position - 1], self.pieces[position]
        return not NO_LINE_START.match(right.text if right.cell is None else "a") and (
            _breaks_around(left) or _breaks_around(right)
        )


def single_line(text: str) -> str:
    """Return text on one line without the characters that `mynah.data.markdown.clean` removes, except invisible ones of flags."""
    return " ".join(_unseen().sub(lambda result: result["flag"] or "", re.sub(r"\s+", " ", text)).split())


@functools.cache
def _unseen() -> re.Pattern[str]:
    return re.compile(f"(?P<flag>{'|'.join(emoji.flags())})|{INVISIBLE.pattern}")


def _pieces(text: str, bold: int) -> list[TextPiece]:
    result: list[TextPiece] = []
    position = 0
    while position < len(text):
        if match := emoji.find(text, position):
            result.append(TextPiece(text[position : match.end], match.cell, position < bold))
            position = match.end
            continue
        end = position + 1
        while end < len(text) and _joins(text, end) and not emoji.find(text, end):
            end += 1
        result.append(TextPiece(_limit_marks(text[position:end]), None, position < bold))
        position = end
    return [piece for piece in result if piece.text]


def _joins(text: str, position: int) -> bool:
    """Whether the characters before and at `position` are drawn as one."""
    return (
        unicodedata.category(text[position]).startswith("M") or text[position] in "\u200c\u200d" or text[position - 1] == "\u200d"
    )


def _limit_marks(text: str) -> str:
    """Limit the marks of a letter, which could stack beyond its line, and drop variation selectors.

    Half a flag becomes its letter, and a joiner that joins nothing is dropped: the fonts have neither.
    """
    return text.translate(HALF_FLAGS).replace(emoji.AS_TEXT, "").replace(emoji.AS_EMOJI, "").lstrip(emoji.JOINER)[:MAX_MARKS]


def _breaks_around(piece: TextPiece) -> bool:
    return piece.cell is not None or (unicodedata.east_asian_width(piece.text[0]) in "WF" and piece.text[0].isalpha())


class Setting:
    """A passage in one font size; all widths are in pixels."""

    def __init__(self, passage: Passage, size: int) -> None:
        self.passage, self.size = passage, size

    def runs(self, start: int, end: int) -> list[TextRun]:
        """Return the runs of the pieces from `start` to before `end`, from left to right."""
        # Rule L1: reordering would move a trailing space to the front.
        while end > start and self.passage.pieces[end - 1].text == " ":
            end -= 1
        result: list[tuple[TextPiece, int, list[str]]] = []
        for offset in bidi.order(self.passage.levels[start:end]):
            piece, level = self.passage.pieces[start + offset], self.passage.levels[start + offset]
            last = result[-1] if result else None
            if last and piece.cell is None and last[0].cell is None and (last[0].bold, last[1]) == (piece.bold, level):
                last[2].append(piece.text)
            else:
                result.append((piece, level, [piece.text]))
        return [
            TextRun("".join(texts[:: -1 if level % 2 else 1]), piece.cell, piece.bold, level % 2 == 1)
            for piece, level, texts in result
        ]

    def width(self, start: int, end: int) -> float:
        """Return the width of the pieces from `start` to before `end`, in pixels."""
        return sum(self.length(run) for run in self.runs(start, end))

    def length(self, run: TextRun) -> float:
        """Return the width of a run in pixels."""
        return self.size * EMOJI_WIDTH if run.cell is not None else length(run.text, font(self.size, run.bold), run.backwards)

    def lines(self, width: float, max_lines: int) -> list[tuple[int, int]]:
        """Break the passage into lines; a word wider than a line is broken between pieces.

        Args:
            width: the width of a line in pixels.
            max_lines: the number of lines that fit.

        Returns:
            The first piece of each line and the piece after its last, of at most `max_lines + 1` lines.
        """
        pieces, result, start = self.passage.pieces, list[tuple[int, int]](), 0
        while start < len(pieces) and len(result) <= max_lines:
            end = self._fit_line(start, width)
            if end < len(pieces) and pieces[end].text != " ":
                candidates = range(end, start, -1)
                end = next(
                    (
                        position
                        for position in candidates
                        if pieces[position - 1].text == " " or self.passage.can_break_before(position)
                    ),
                    end,
                )
            result.append((start, end))
            start = end
            while start < len(pieces) and pieces[start].text == " ":
                start += 1
        return result

    def _fit_line(self, start: int, width: float) -> int:
        """Return the end of the longest line from `start`; it has at least one piece."""
        low, high = start + 1, min(len(self.passage.pieces), start + MAX_LINE_PIECES)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.width(start, middle) <= width else (low, middle - 1)
        return low


def length(text: str, face: "FreeTypeFont", backwards: bool) -> float:
    """Return the width in pixels of text in one direction.

    Args:
        text: the text.
        face: the font.
        backwards: whether the text runs right to left.
    """
    return face.getlength(visual_order(text, backwards), direction=pillow_direction(backwards))


def pillow_direction(backwards: bool) -> str | None:
    """Return a run's direction for Pillow; None without libraqm, where Pillow accepts no direction."""
    return ("rtl" if backwards else "ltr") if _has_raqm() else None


def visual_order(text: str, backwards: bool) -> str:
    """Return text in the order in which Pillow draws it. Without libraqm, right-to-left text is reversed.

    Args:
        text: the text.
        backwards: whether the text runs right to left.
    """
    if not backwards or _has_raqm():
        return text
    return "".join(bidi.MIRRORED.get(piece.text, piece.text) for piece in reversed(_pieces(text, 0)))


@functools.cache
def _has_raqm() -> bool:
    from PIL import features

    return bool(features.check("raqm"))


def fit(passage: Passage, sizes: range, width: float, height: float) -> tuple[Setting, list[tuple[int, int]]]:
    """Set a passage in the largest size that fits a box; at the smallest size the rest is cut with `…`.

    Args:
        passage: the text.
        sizes: font sizes in pixels, the largest first.
        width: of the box, in pixels.
        height: of the box, in pixels.

    Returns:
        The setting, and the first and the end piece of each line.
    """
    for size in sizes:
        max_lines = max(1, int(height / (size * LINE_HEIGHT)))
        setting = Setting(passage, size)
        lines = setting.lines(width, max_lines)
        if len(lines) <= max_lines:
            return setting, lines
    start, end = lines[max_lines - 1]
    cut = passage.cut(end)
    while end > start and Setting(cut, size).width(start, len(cut.pieces)) > width:
        end -= 1
        cut = passage.cut(end)
    return Setting(cut, size), [*lines[: max_lines - 1], (start, len(cut.pieces))]
