"""Passages drawn upon a picture."""

from typing import TYPE_CHECKING

from components.card.pictures import emoji
from components.card.pictures.passage import EMOJI_SIDE, EMOJI_WIDTH, Passage, Setting, fit, visual, way
from components.card.pictures.style import Colour, font

if TYPE_CHECKING:
    from PIL.Image import Image


def draw_line(image: "Image", passage: Passage, at: tuple[float, float], sizes: range, room: float, ink: Colour) -> None:
    """Draw a passage on one line `room` wide, as large as it fits, from `at`: its left end at half its height."""
    setting, lines = fit(passage, sizes, room, 1)
    for start, end in lines:
        draw_runs(image, setting, start, end, at, ink, ink)


def draw_runs(image: "Image", setting: Setting, start: int, end: int, at: tuple[float, float], ink: Colour, bold: Colour) -> None:
    """Draw the pieces from `start` to `end` on one line from `at`, bold ones in the colour `bold`."""
    from PIL import ImageDraw

    pen, (x, y) = ImageDraw.Draw(image), at
    for run in setting.runs(start, end):
        if run.cell is not None:
            draw_emoji(image, run.cell, (x + (EMOJI_WIDTH - EMOJI_SIDE) / 2 * setting.size, y), round(setting.size * EMOJI_SIDE))
        else:
            text, colour = visual(run.text, run.backwards), bold if run.bold else ink
            pen.text((x, y), text, fill=colour, font=font(setting.size, run.bold), anchor="lm", direction=way(run.backwards))
        x += setting.length(run)


def draw_emoji(image: "Image", cell: int, at: tuple[float, float], side: int) -> None:
    """Draw the emoji of a cell, `side` pixels wide, from `at`: its left end at half its height."""
    drawing = emoji.picture(cell, side)
    image.paste(drawing, (round(at[0]), round(at[1] - side / 2)), drawing)
