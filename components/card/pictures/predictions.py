"""Draw predictions.png: one sample of what the bot writes, 1200 x 630 pixels, the size that link previews show.

Only functions import Pillow, which is of the extra `card`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from components.card.pictures.portraits import portraits
from components.card.preview import Person, Preview
from mynah.core.files import storage_errors
from mynah.drawing.style import BACKGROUND, FAINT, HEIGHT, INK, MARGIN, SOFT, WIDTH, Colour, colour_of, font
from mynah.drawing.text_drawing import draw_line, draw_runs
from mynah.drawing.text_layout import LINE_HEIGHT, Passage, Setting, fit, single_line

if TYPE_CHECKING:
    from PIL.Image import Image

HEAD = 54  # the portraits' top
NAME_SIZES, PEOPLE_SIZE = range(46, 29, -2), 27
TEXT_TOP, TEXT_BOTTOM = 222, 548
TEXT_SIZES = range(60, 25, -2)  # the largest that fits is used
MAX_TEXT_PIECES = 1200  # more never fits at the smallest size
FOOTER = "Written by a language model, not by a person"


def draw(preview: Preview, path: Path) -> None:
    """Draw a preview to `path`, an RGB PNG of 1200 x 630 pixels; the same preview gives the same bytes with the same Pillow.

    An avatar that cannot be read is replaced by a drawn one. Raises PlatformError when `path` cannot be written.
    """
    from PIL import Image, ImageDraw

    accent = colour_of(preview.authors[0].handle if preview.authors else preview.name)
    image = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    ImageDraw.Draw(image).rectangle((0, 0, WIDTH, 12), fill=accent)
    _draw_head(image, preview, accent)
    _draw_sample(image, preview, accent)
    _draw_foot(image)
    with storage_errors(path):
        image.save(path, format="PNG", optimize=True)


def _draw_head(image: "Image", preview: Preview, accent: Colour) -> None:
    """Draw the bot's name and its authors' names, next to their portraits."""
    left = MARGIN
    if preview.authors:
        portraits_image = portraits(preview.authors)
        image.paste(portraits_image, (MARGIN, HEAD), portraits_image)
        left += portraits_image.width + 30
    width = WIDTH - MARGIN - left
    draw_line(image, Passage.of(preview.name, len(preview.name)), (left, 92), NAME_SIZES, width, accent)
    if preview.authors:
        draw_line(image, _people(preview.authors, width), (left, 146), range(PEOPLE_SIZE, PEOPLE_SIZE - 1, -1), width, SOFT)


def _people(authors: tuple[Person, ...], width: float) -> Passage:
    """Return the line with the authors: names if they fit, otherwise handles."""
    full = Passage.of(f"writes like {', '.join(person.shown for person in authors)}")
    if len(authors) == 1 or Setting(full, PEOPLE_SIZE).width(0, len(full.pieces)) <= width:
        return full
    return Passage.of(f"writes like {', '.join('@' + single_line(person.handle)[:64] for person in authors)}")


def _draw_sample(image: "Image", preview: Preview, accent: Colour) -> None:
    """Draw the sample, its prompt in bold, centred between the head and the foot."""
    from PIL import ImageDraw

    prompt, text = single_line(preview.prompt), single_line(preview.sample)
    if not text:
        middle = (TEXT_TOP + TEXT_BOTTOM) / 2
        ImageDraw.Draw(image).text((MARGIN, middle), "(empty sample)", fill=SOFT, font=font(44), anchor="lm")
        return
    passage = Passage.of(text, len(prompt) if text.startswith(prompt) else 0, MAX_TEXT_PIECES)
    setting, lines = fit(passage, TEXT_SIZES, WIDTH - 2 * MARGIN, TEXT_BOTTOM - TEXT_TOP)
    step = setting.size * LINE_HEIGHT
    y = (TEXT_TOP + TEXT_BOTTOM - step * (len(lines) - 1)) / 2
    for start, end in lines:
        left = WIDTH - MARGIN - setting.width(start, end) if passage.backwards else MARGIN
        draw_runs(image, setting, start, end, (left, y), INK, accent)
        y += step


def _draw_foot(image: "Image") -> None:
    """Draw the note that a language model wrote the text, and Mynah's name."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    pen.line((MARGIN, 566, WIDTH - MARGIN, 566), fill=FAINT, width=2)
    pen.text((MARGIN, 594), FOOTER, fill=SOFT, font=font(20), anchor="lm")
    pen.text((WIDTH - MARGIN, 594), "made with Mynah", fill=SOFT, font=font(20, bold=True), anchor="rm")
