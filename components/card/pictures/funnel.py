"""funnel.png: the funnel as a waterfall, from the posts downloaded to the posts kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.card.pictures.ink import draw_line
from components.card.pictures.passage import Passage, Setting
from components.card.pictures.style import BACKGROUND, FAINT, INK, SOFT, Colour, colour_of, font
from components.files import storage_errors

if TYPE_CHECKING:
    from PIL import ImageDraw

WIDTH, MARGIN = 1200, 48
TITLE, ROW, BAR = 96, 46, 28  # heights
LABELS, NUMBERS = 330, 210  # widths to the left and right of the bars
DROPPED = (201, 126, 74)
LARGEST, SMALLEST = 30, 18  # sizes of the title
LONGEST_TITLE = 160  # characters; there is room for a hundred


def draw_funnel(rows: Sequence[tuple[str, Sequence[int]]], authors: Sequence[str], path: Path) -> None:
    """Draw the funnel's `rows` over all `authors` (handles) to `path`, a PNG 1200 pixels wide and as high as the rows need.

    What is dropped hangs where what is left ends, so that the bars add up to the eye. Raises PlatformError when `path` can't be written.
    """
    from PIL import Image, ImageDraw

    table = [(label, sum(numbers)) for label, numbers in rows]
    height = TITLE + ROW * len(table) + MARGIN
    image = Image.new("RGB", (WIDTH, height), BACKGROUND)
    pen = ImageDraw.Draw(image)
    accent = colour_of(authors[0] if authors else "")
    draw_line(image, _title(authors), (MARGIN, TITLE // 2 + 4), range(LARGEST, SMALLEST - 1, -1), WIDTH - 2 * MARGIN, INK)
    for number, (bar, colour) in enumerate(zip(bars(table), [accent, *[DROPPED] * (len(table) - 2), accent], strict=True)):
        label, count, start, end = bar
        y = TITLE + ROW * number + ROW // 2
        left, room = MARGIN + LABELS, WIDTH - 2 * MARGIN - LABELS - NUMBERS
        strong = number in (0, len(table) - 1)
        pen.text((left - 18, y), label, fill=INK if strong else SOFT, font=font(20, strong), anchor="rm")
        pen.line((left, y + ROW // 2, left + room, y + ROW // 2), fill=FAINT)
        if count:
            _bar(pen, (left + room * start, y), room * (end - start), colour)
        told = f"{count:,}  ({_share(count, table[0][1])})" if number else f"{count:,}"
        pen.text((WIDTH - MARGIN, y), told, fill=INK if strong else SOFT, font=font(20, strong), anchor="rm")
    with storage_errors(path):
        image.save(path, format="PNG", optimize=True)


def bars(table: Sequence[tuple[str, int]]) -> list[tuple[str, int, float, float]]:
    """Of each row its label, number, and where its bar starts and ends, as shares of the first row's."""
    whole, left = max(1, table[0][1]), table[0][1]
    placed = [(*table[0], 0.0, table[0][1] / whole)]
    for label, count in table[1:-1]:
        placed.append((label, count, (left - count) / whole, left / whole))
        left -= count
    return [*placed, (*table[-1], 0.0, table[-1][1] / whole)]


def _bar(pen: "ImageDraw.ImageDraw", at: tuple[float, float], width: float, colour: Colour) -> None:
    left, y = round(at[0]), round(at[1])
    pen.rectangle((left, y - BAR // 2, left + max(2, round(width)), y + BAR // 2), fill=colour)


def _share(count: int, whole: int) -> str:
    return "<0.1%" if 0 < count < 0.0005 * whole else f"{count / max(1, whole):.1%}"


def _title(authors: Sequence[str]) -> Passage:
    """The title; of a handle as much as there is room for. Left to be wrapped, a long one would go as a whole, being one word."""
    begin = "What became of the posts of "
    if len(authors) != 1:
        return Passage.of(f"{begin}{len(authors)} authors")
    whole = Passage.of(f"{begin}@{authors[0]}", limit=LONGEST_TITLE)
    for end in range(len(whole.pieces), len(begin), -1):
        title = whole if end == len(whole.pieces) else whole.cut(end)
        if Setting(title, SMALLEST).width(0, len(title.pieces)) <= WIDTH - 2 * MARGIN:
            return title
    return Passage.of(begin)
