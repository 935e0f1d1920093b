"""Finds emoji sequences in text, and returns their pictures from Twemoji's sheet (created by scripts/emoji.py).

A sequence occurs in several spellings: with U+FE0F after each character that is text by default, or without. Both are found, the
longest first, so that a family, a flag or a keycap is one emoji. A single character that is text unless U+FE0F follows, such as
U+2764, stays text (Unicode Technical Standard 51, sections 2.8 and 4, https://www.unicode.org/reports/tr51/). A skin tone or tail
that no known emoji has is dropped.
"""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SHEET = Path(__file__).parent / "emoji_images"
COLUMN, PITCH, SIDE = 62, 66, 64  # cells per column of the sheet; pixels between cells; pixels per side of an emoji
JOINER, AS_EMOJI, AS_TEXT, KEYCAP = "\u200d", "\ufe0f", "\ufe0e", "\u20e3"
TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
TAIL = re.compile(
    f"(?:[{AS_EMOJI}{AS_TEXT}{KEYCAP}{''.join(sorted(TONES))}]|{JOINER}(?={JOINER}|[^\\w\\s])|[\U000e0020-\U000e007f])+"
)


@dataclass(frozen=True, slots=True)
class EmojiSheet:
    """The emoji of the sheet, by their sequences without U+FE0F."""

    cells: dict[str, int]
    prefixes: frozenset[str]  # of all sequences, the sequences included
    text: frozenset[str]  # characters that are emoji only before U+FE0F


@functools.cache
def emoji_sheet() -> EmojiSheet:
    """Return the emoji of the sheet."""
    sequences = (SHEET / "sequences.txt").read_text("utf-8").splitlines()
    cells = {sequence.replace(AS_EMOJI, ""): cell for cell, sequence in enumerate(sequences) if sequence != "-"}
    prefixes = frozenset(sequence[:end] for sequence in cells for end in range(1, len(sequence) + 1))
    text = frozenset(sequence[0] for sequence in sequences if len(sequence) == 2 and sequence[1] == AS_EMOJI)
    return EmojiSheet(cells, prefixes, text)


@dataclass(frozen=True, slots=True)
class EmojiMatch:
    """An emoji in a text: the end of its characters and its cell in the sheet."""

    end: int
    cell: int


def find(text: str, start: int) -> EmojiMatch | None:
    """Find an emoji.

    Args:
        text: the text.
        start: the index at which the emoji starts.

    Returns:
        The longest emoji that starts there, or None.
    """
    emoji, best, end, sequence = emoji_sheet(), None, start, ""
    while end < len(text) and (text[end] == AS_EMOJI or sequence + text[end] in emoji.prefixes):
        if text[end] != AS_EMOJI:
            sequence += text[end]
        elif not sequence:
            return None
        end += 1
        if sequence in emoji.cells and text[end : end + 1] != AS_TEXT and (len(sequence) > 1 or _is_emoji(text, end, sequence)):
            best = EmojiMatch(end, emoji.cells[sequence])
    if not best:
        return None
    tail = TAIL.match(text, best.end)
    return EmojiMatch(tail.end(), best.cell) if tail else best


def _is_emoji(text: str, end: int, char: str) -> bool:
    return char not in emoji_sheet().text or text[end - 1] == AS_EMOJI or text[end : end + 1] in TONES


def flags() -> list[str]:
    """Return the flags spelt with tag characters, which are otherwise invisible: England, Scotland, Wales."""
    return [sequence for sequence in emoji_sheet().cells if "\U000e007f" in sequence]


@functools.cache
def _sheet() -> "Image":
    from PIL import Image

    with Image.open(SHEET / "sheet.png") as sheet:
        sheet.load()
        return sheet


@functools.lru_cache(maxsize=512)
def picture(cell: int, side: int) -> "Image":
    """Return the emoji of a cell.

    Args:
        cell: the cell in the sheet.
        side: the width and height in pixels.

    Returns:
        An RGBA picture of `side` x `side` pixels, 8 bits per channel, with a transparent background.
    """
    from PIL import Image

    left, top = cell // COLUMN * PITCH + 1, cell % COLUMN * PITCH + 1
    picture_image = _sheet().crop((left, top, left + SIDE, top + SIDE)).convert("RGBA")
    return picture_image.resize((side, side), Image.Resampling.LANCZOS)
