"""Sizes in pixels, colours and fonts shared by the pictures."""

import colorsys
import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Colour = tuple[int, int, int]

WIDTH, HEIGHT = 1200, 630  # of predictions.png: the size of link previews (https://ogp.me)
MARGIN = 72
BACKGROUND, INK, SOFT, FAINT, WHITE = (252, 250, 246), (36, 40, 48), (104, 110, 122), (226, 222, 214), (255, 255, 255)
FONTS = Path(__file__).parent / "fonts"


@functools.lru_cache(maxsize=64)
def font(size: int, bold: bool = False) -> "FreeTypeFont":
    """Return Mynah's font, DejaVu Sans.

    Args:
        size: the font size in pixels.
        bold: whether the font is bold.
    """
    from PIL import ImageFont

    return ImageFont.truetype(str(FONTS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size)


def colour_of(author: str) -> Colour:
    """Return an author's colour (red, green, blue; 0 to 255), always the same and dark enough to read on the background."""
    hue = hashlib.sha256(author.encode("utf-8", "replace")).digest()[0] / 256
    red, green, blue = colorsys.hls_to_rgb(hue, 0.34, 0.62)
    return round(red * 255), round(green * 255), round(blue * 255)
