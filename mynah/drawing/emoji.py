"""Emoji found in text, whole sequences of them, and drawn in colour from Twemoji's sheet (scripts/emoji.py made it).

A sequence is written in several ways: with U+FE0F after each character that is otherwise text, or without. Both are found, the
longest first, so that a family, a flag or a keycap is one emoji. A single character that is text unless U+FE0F follows, such as
U+2764, stays text (Unicode Technical Standard 51, sections 2.8 and 4). A skin tone or a tail that no known emoji has is left out.
"""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SHEET = Path(__file__).parents[1] / "emoji"
COLUMN, PITCH, SIDE = 62, 66, 64  # cells to a column of the sheet; pixels from cell to cell; pixels of a drawing
JOINER, AS_EMOJI, AS_TEXT, KEYCAP = "\u200d", "\ufe0f", "\ufe0e", "\u20e3"
TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
TAIL = re.compile(
    f"(?:[{AS_EMOJI}{AS_TEXT}{KEYCAP}{''.join(sorted(TONES))}]|{JOINER}(?={JOINER}|[^\\w\\s])|[\U000e0020-\U000e007f])+"
)


@dataclass(frozen=True, slots=True)
class Known:
    """The emoji of the sheet, by their sequences without U+FE0F."""

    cells: dict[str, int]
    beginnings: frozenset[str]  # of all sequences, these included
    text: frozenset[str]  # characters that are emoji only before U+FE0F


@functools.cache
def known() -> Known:
    """What the sheet holds."""
    listed = (SHEET / "sequences.txt").read_text("utf-8").splitlines()
    cells = {sequence.replace(AS_EMOJI, ""): cell for cell, sequence in enumerate(listed) if sequence != "-"}
    beginnings = frozenset(sequence[:end] for sequence in cells for end in range(1, len(sequence) + 1))
    text = frozenset(sequence[0] for sequence in listed if len(sequence) == 2 and sequence[1] == AS_EMOJI)
    return Known(cells, beginnings, text)


@dataclass(frozen=True, slots=True)
class Found:
    """An emoji in a text: where the characters that it stands for end, and its cell of the sheet."""

    end: int
    cell: int


def find(text: str, start: int) -> Found | None:
    """The longest emoji that begins at `start`; None where there is text."""
    emoji, best, end, sequence = known(), None, start, ""
    while end < len(text) and (text[end] == AS_EMOJI or sequence + text[end] in emoji.beginnings):
        if text[end] != AS_EMOJI:
            sequence += text[end]
        elif not sequence:
            return None
        end += 1
        if sequence in emoji.cells and text[end : end + 1] != AS_TEXT and (len(sequence) > 1 or _is_emoji(text, end, sequence)):
            best = Found(end, emoji.cells[sequence])
    if not best:
        return None
    tail = TAIL.match(text, best.end)
    return Found(tail.end(), best.cell) if tail else best


def _is_emoji(text: str, end: int, char: str) -> bool:
    return char not in known().text or text[end - 1] == AS_EMOJI or text[end : end + 1] in TONES


def flags() -> list[str]:
    """The flags that are spelt with tags, which are invisible elsewhere: England, Scotland, Wales."""
    return [sequence for sequence in known().cells if "\U000e007f" in sequence]


@functools.cache
def _sheet() -> "Image":
    from PIL import Image

    with Image.open(SHEET / "sheet.png") as sheet:
        sheet.load()
        return sheet


@functools.lru_cache(maxsize=512)
def picture(cell: int, side: int) -> "Image":
    """The emoji of a cell, `side` pixels wide and high, on a transparent ground."""
    from PIL import Image

    left, top = cell // COLUMN * PITCH + 1, cell % COLUMN * PITCH + 1
    drawing = _sheet().crop((left, top, left + SIDE, top + SIDE)).convert("RGBA")
    return drawing.resize((side, side), Image.Resampling.LANCZOS)
