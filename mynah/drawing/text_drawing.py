"""Draws passages and emoji on a picture."""

from typing import TYPE_CHECKING

from mynah.drawing import emoji
from mynah.drawing.style import Colour, font
from mynah.drawing.text_layout import EMOJI_SIDE, EMOJI_WIDTH, Passage, Setting, fit, pillow_direction, visual_order

if TYPE_CHECKING:
    from PIL.Image import Image


def draw_line(image: "Image", passage: Passage, at: tuple[float, float], sizes: range, width: float, colour: Colour) -> None:
    """Draw a passage on one line, in the largest size that fits.

    Args:
        image: the RGB picture to draw on.
        passage: the text.
        at: the line's left end at half its height, (x, y) in pixels.
        sizes: font sizes in pixels, the largest first.
        width: of the line, in pixels.
        colour: of the text.
    """
    setting, lines = fit(passage, sizes, width, 1)
    for start, end in lines:
        draw_runs(image, setting, start, end, at, colour, colour)


def draw_runs(
    image: "Image", setting: Setting, start: int, end: int, at: tuple[float, float], colour: Colour, bold_colour: Colour
) -> None:
    """Draw a range of a passage's pieces on one line.

    Args:
        image: the RGB picture to draw on.
        setting: the passage in its size.
        start: the first piece.
        end: the piece after the last one.
        at: the line's left end at half its height, (x, y) in pixels.
        colour: of the text.
        bold_colour: of bold text.
    """
    from PIL import ImageDraw

    canvas, (x, y) = ImageDraw.Draw(image), at
    for run in setting.runs(start, end):
        if run.cell is not None:
            draw_emoji(image, run.cell, (x + (EMOJI_WIDTH - EMOJI_SIDE) / 2 * setting.size, y), round(setting.size * EMOJI_SIDE))
        else:
            text, fill = visual_order(run.text, run.backwards), bold_colour if run.bold else colour
            direction = pillow_direction(run.backwards)
            canvas.text((x, y), text, fill=fill, font=font(setting.size, run.bold), anchor="lm", direction=direction)
        x += setting.length(run)


def draw_emoji(image: "Image", cell: int, at: tuple[float, float], side: int) -> None:
    """Draw the emoji of a cell.

    Args:
        image: the RGB picture to draw on.
        cell: the cell in the sheet.
        at: the emoji's left end at half its height, (x, y) in pixels.
        side: the emoji's width and height in pixels.
    """
    picture = emoji.picture(cell, side)
    image.paste(picture, (round(at[0]), round(at[1] - side / 2)), picture)
