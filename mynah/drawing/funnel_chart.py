"""Draws funnel.png: the filter funnel as a waterfall chart, from downloaded to kept posts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.core.files import storage_errors
from mynah.drawing.style import BACKGROUND, FAINT, INK, SOFT, Colour, colour_of, font
from mynah.drawing.text_drawing import draw_line
from mynah.drawing.text_layout import Passage, Setting

if TYPE_CHECKING:
    from PIL import ImageDraw

WIDTH, MARGIN = 1200, 48
TITLE, ROW, BAR = 96, 46, 28  # heights
LABELS, NUMBERS = 330, 210  # widths to the left and right of the bars
DROPPED_COLOUR = (201, 126, 74)
MAX_TITLE_SIZE, MIN_TITLE_SIZE = 30, 18  # sizes of the title
MAX_TITLE_LENGTH = 160  # characters; there is room for a hundred


def draw_funnel(rows: Sequence[tuple[str, Sequence[int]]], authors: Sequence[str], path: Path) -> None:
    """Draw the funnel of all authors as a waterfall chart, an RGB PNG 1200 pixels wide.

    Args:
        rows: label and number of posts per author, from the downloaded to the kept ones; the rows between are dropped posts.
        authors: the authors' handles.
        path: the file to write.

    Raises:
        PlatformError: `path` cannot be written.
    """
    from PIL import Image, ImageDraw

    table = [(label, sum(numbers)) for label, numbers in rows]
    height = TITLE + ROW * len(table) + MARGIN
    image = Image.new("RGB", (WIDTH, height), BACKGROUND)
    pen = ImageDraw.Draw(image)
    accent = colour_of(authors[0] if authors else "")
    draw_line(
        image, _title(authors), (MARGIN, TITLE // 2 + 4), range(MAX_TITLE_SIZE, MIN_TITLE_SIZE - 1, -1), WIDTH - 2 * MARGIN, INK
    )
    for number, (bar, colour) in enumerate(zip(bars(table), [accent, *[DROPPED_COLOUR] * (len(table) - 2), accent], strict=True)):
        label, count, start, end = bar
        y = TITLE + ROW * number + ROW // 2
        left, room = MARGIN + LABELS, WIDTH - 2 * MARGIN - LABELS - NUMBERS
        is_total = number in (0, len(table) - 1)
        pen.text((left - 18, y), label, fill=INK if is_total else SOFT, font=font(20, is_total), anchor="rm")
        pen.line((left, y + ROW // 2, left + room, y + ROW // 2), fill=FAINT)
        if count:
            _bar(pen, (left + room * start, y), room * (end - start), colour)
        number_text = f"{count:,}  ({_share(count, table[0][1])})" if number else f"{count:,}"
        pen.text((WIDTH - MARGIN, y), number_text, fill=INK if is_total else SOFT, font=font(20, is_total), anchor="rm")
    with storage_errors(path):
        image.save(path, format="PNG", optimize=True)


def bars(table: Sequence[tuple[str, int]]) -> list[tuple[str, int, float, float]]:
    """Return label, number, start and end of each row's bar; start and end are shares of the first row's number, 0 to 1."""
    total, remaining = max(1, table[0][1]), table[0][1]
    positioned = [(*table[0], 0.0, table[0][1] / total)]
    for label, count in table[1:-1]:
        positioned.append((label, count, (remaining - count) / total, remaining / total))
        remaining -= count
    return [*positioned, (*table[-1], 0.0, table[-1][1] / total)]


def _bar(pen: "ImageDraw.ImageDraw", at: tuple[float, float], width: float, colour: Colour) -> None:
    left, y = round(at[0]), round(at[1])
    pen.rectangle((left, y - BAR // 2, left + max(2, round(width)), y + BAR // 2), fill=colour)


def _share(count: int, total: int) -> str:
    return "<0.1%" if 0 < count < 0.0005 * total else f"{count / max(1, total):.1%}"


def _title(authors: Sequence[str]) -> Passage:
    """Return the title, with as much of a handle as fits. Wrapping would drop a long handle entirely, since it is one word."""
    prefix = "What became of the posts of "
    if len(authors) != 1:
        return Passage.of(f"{prefix}{len(authors)} authors")
    title_passage = Passage.of(f"{prefix}@{authors[0]}", limit=MAX_TITLE_LENGTH)
    for end in range(len(title_passage.pieces), len(prefix), -1):
        title = title_passage if end == len(title_passage.pieces) else title_passage.cut(end)
        if Setting(title, MIN_TITLE_SIZE).width(0, len(title.pieces)) <= WIDTH - 2 * MARGIN:
            return title
    return Passage.of(prefix)
