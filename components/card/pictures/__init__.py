"""predictions.png: one sample of what the bot writes, 1200 x 630 pixels, the size that link previews show."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.card.pictures.ink import draw_line, draw_runs
from components.card.pictures.passage import LEADING, Passage, Setting, fit, shown
from components.card.pictures.portraits import portraits
from components.card.pictures.style import BACKGROUND, FAINT, HEIGHT, INK, MARGIN, SOFT, WIDTH, Colour, colour_of, font
from components.card.preview import Person, Preview
from components.files import storage_errors

if TYPE_CHECKING:
    from PIL.Image import Image

HEAD = 54  # where the portraits begin
NAME_SIZES, PEOPLE_SIZE = range(46, 29, -2), 27
TEXT_TOP, TEXT_BOTTOM = 222, 548
TEXT_SIZES = range(60, 25, -2)  # the largest that fits is taken
LONGEST_TEXT = 1200  # pieces; more never fits at the smallest size
FOOTER = "Written by a language model, not by a person"


def draw(preview: Preview, path: Path) -> None:
    """Draw a preview to `path`, a PNG; the same preview gives the same bytes on the same Pillow.

    An avatar that cannot be read is replaced by a drawn one. Raises PlatformError when `path` can't be written.
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
    """Draw the bot's name and whom it writes like, beside their portraits."""
    left = MARGIN
    if preview.authors:
        faces = portraits(preview.authors)
        image.paste(faces, (MARGIN, HEAD), faces)
        left += faces.width + 30
    room = WIDTH - MARGIN - left
    draw_line(image, Passage.of(preview.name, len(preview.name)), (left, 92), NAME_SIZES, room, accent)
    if preview.authors:
        draw_line(image, _people(preview.authors, room), (left, 146), range(PEOPLE_SIZE, PEOPLE_SIZE - 1, -1), room, SOFT)


def _people(authors: tuple[Person, ...], room: float) -> Passage:
    """Whom it writes like: names where there is room for them, or else handles."""
    full = Passage.of(f"writes like {', '.join(person.shown for person in authors)}")
    if len(authors) == 1 or Setting(full, PEOPLE_SIZE).width(0, len(full.pieces)) <= room:
        return full
    return Passage.of(f"writes like {', '.join('@' + shown(person.handle)[:64] for person in authors)}")


def _draw_sample(image: "Image", preview: Preview, accent: Colour) -> None:
    """Draw the sample, its prompt in bold, centred between the head and the foot."""
    from PIL import ImageDraw

    prompt, text = shown(preview.prompt), shown(preview.sample)
    if not text:
        middle = (TEXT_TOP + TEXT_BOTTOM) / 2
        ImageDraw.Draw(image).text((MARGIN, middle), "(it said nothing)", fill=SOFT, font=font(44), anchor="lm")
        return
    passage = Passage.of(text, len(prompt) if text.startswith(prompt) else 0, LONGEST_TEXT)
    setting, lines = fit(passage, TEXT_SIZES, WIDTH - 2 * MARGIN, TEXT_BOTTOM - TEXT_TOP)
    step = setting.size * LEADING
    y = (TEXT_TOP + TEXT_BOTTOM - step * (len(lines) - 1)) / 2
    for start, end in lines:
        left = WIDTH - MARGIN - setting.width(start, end) if passage.backwards else MARGIN
        draw_runs(image, setting, start, end, (left, y), INK, accent)
        y += step


def _draw_foot(image: "Image") -> None:
    """Draw the line that tells nobody said this, and who made the picture."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    pen.line((MARGIN, 566, WIDTH - MARGIN, 566), fill=FAINT, width=2)
    pen.text((MARGIN, 594), FOOTER, fill=SOFT, font=font(20), anchor="lm")
    pen.text((WIDTH - MARGIN, 594), "made with Mynah", fill=SOFT, font=font(20, bold=True), anchor="rm")
