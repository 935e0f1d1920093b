"""predictions.png: one sample of what the bot writes, 1200 x 630 pixels, the size that link previews show."""

import colorsys
import hashlib
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.card.escape import clean
from components.card.facts import Facts

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Colour = tuple[int, int, int]

SIZE = WIDTH, HEIGHT = 1200, 630
MARGIN = 72
AVATAR = 120
TEXT_TOP, TEXT_BOTTOM = 222, 548
TEXT_SIZES = range(60, 25, -2)  # the largest that fits is taken
LEADING = 1.36
LONGEST_TEXT = 1200  # characters; more never fits at the smallest size
BACKGROUND, INK, SOFT, FAINT = (252, 250, 246), (36, 40, 48), (104, 110, 122), (226, 222, 214)
FONTS = Path(__file__).parent / "fonts"
FOOTER = "Written by a language model, not by a person"


def draw(facts: Facts, path: Path) -> None:
    """Draw the first sample to `path`, a PNG; the same facts give the same bytes on the same Pillow."""
    from PIL import Image, ImageDraw

    accent = colour_of(facts.authors[0].handle)
    image = Image.new("RGB", SIZE, BACKGROUND)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, WIDTH, 12), fill=accent)
    image.paste(avatar(accent), (MARGIN, 54))
    _draw_head(pen, facts, accent)
    _draw_text(pen, Passage.of(facts), accent)
    _draw_foot(pen)
    image.save(path, format="PNG", optimize=True)


def colour_of(author: str) -> Colour:
    """A colour that stays with an author: dark enough to read on the background."""
    hue = hashlib.sha256(author.encode("utf-8", "replace")).digest()[0] / 256
    red, green, blue = colorsys.hls_to_rgb(hue, 0.34, 0.62)
    return round(red * 255), round(green * 255), round(blue * 255)


def avatar(accent: Colour) -> "Image":
    """A mynah in a circle of the author's colour, AVATAR pixels wide, drawn large and made smaller for smooth edges."""
    from PIL import Image, ImageDraw

    scale, black, yellow = 8, (30, 32, 38), (246, 190, 44)
    side = AVATAR * scale
    disc = Image.new("RGB", (side, side), accent)
    pen = ImageDraw.Draw(disc)

    def at(*points: float) -> list[float]:
        return [point * side / 100 for point in points]

    pen.ellipse(at(-4, 66, 84, 160), fill=black)  # the body
    pen.polygon(at(10, 76, 23, 44, 68, 44, 72, 80), fill=black)  # the neck
    pen.ellipse(at(22, 18, 70, 66), fill=black)  # the head
    pen.polygon(at(62, 34, 92, 45, 64, 54), fill=yellow)  # the beak
    pen.line(at(64, 45, 86, 45.5), fill=(196, 138, 20), width=scale)
    pen.polygon(at(34, 44, 60, 34, 62, 47, 50, 56), fill=yellow)  # the bare skin behind the eye that tells a mynah
    pen.ellipse(at(46, 32, 60, 46), fill=(255, 255, 255))
    pen.ellipse(at(50, 35, 58, 43), fill=black)
    circle = Image.new("L", (side, side), 0)
    ImageDraw.Draw(circle).ellipse((0, 0, side - 1, side - 1), fill=255)
    whole = Image.composite(disc, Image.new("RGB", (side, side), BACKGROUND), circle)
    return whole.resize((AVATAR, AVATAR), Image.Resampling.LANCZOS)


@dataclass(frozen=True, slots=True)
class Passage:
    """Text on one line whose first `prompt` characters are the prompt."""

    text: str
    prompt: int

    @classmethod
    def of(cls, facts: Facts) -> "Passage":
        """The first sample that says something."""
        text = next(filter(None, (clean(sample, LONGEST_TEXT) for sample in facts.samples)), "")
        prompt = clean(facts.prompt)
        return cls(text, len(prompt) if text.startswith(prompt) else 0)

    @property
    def right_to_left(self) -> bool:
        """Whether the first letter with a direction runs right to left (rule P2 of the bidirectional algorithm, UAX 9)."""
        directions = (unicodedata.bidirectional(char) for char in self.text)
        return next((direction in ("R", "AL") for direction in directions if direction in ("L", "R", "AL")), False)


class Type:
    """The two fonts at one size, and text set in them: the prompt bold, the continuation plain."""

    def __init__(self, passage: Passage, size: int) -> None:
        self.passage, self.size = passage, size
        self.bold, self.plain = font("DejaVuSans-Bold.ttf", size), font("DejaVuSans.ttf", size)

    def runs(self, start: int, end: int) -> "list[tuple[str, FreeTypeFont]]":
        """The characters from `start` to `end`, each part with its font."""
        text, middle = self.passage.text, min(max(self.passage.prompt, start), end)
        return [(part, face) for part, face in ((text[start:middle], self.bold), (text[middle:end], self.plain)) if part]

    def width(self, start: int, end: int) -> float:
        """The width of the characters from `start` to `end`, in pixels."""
        return sum(face.getlength(part) for part, face in self.runs(start, end))

    def lines(self, width: float, most: int) -> list[tuple[int, int]]:
        """Start and end of each line, `most + 1` lines at most; a word that is wider than a line is broken."""
        text, found, start = self.passage.text, list[tuple[int, int]](), 0
        while start < len(text) and len(found) <= most:
            end = self._fitting(start, width)
            if end < len(text) and (space := text.rfind(" ", start + 1, end + 1)) > start:
                end = space
            found.append((start, end))
            start = end + (text[end : end + 1] == " ")
        return found

    def _fitting(self, start: int, width: float) -> int:
        """How far a line from `start` can go, never between a letter and the marks upon it; one character at least."""
        low, high = start + 1, min(len(self.passage.text), start + 400)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.width(start, middle) <= width else (low, middle - 1)
        whole = low
        while whole > start + 1 and whole < len(self.passage.text) and _joins(self.passage.text, whole):
            whole -= 1
        return whole if whole > start + 1 else low


def font(name: str, size: int) -> "FreeTypeFont":
    """One of the fonts that ship with Mynah."""
    from PIL import ImageFont

    return ImageFont.truetype(str(FONTS / name), size)


def fit(passage: Passage, width: float, height: float) -> tuple[Type, list[tuple[int, int]]]:
    """The largest setting of `passage` that fits the box; at the smallest size the rest is cut with `…`."""
    for size in TEXT_SIZES:
        most = int(height / (size * LEADING))
        setting = Type(passage, size)
        lines = setting.lines(width, most)
        if len(lines) <= most:
            return setting, lines
    start, end = lines[most - 1]
    while end > start and Type(Passage(f"{passage.text[:end].rstrip()}…", passage.prompt), size).width(start, end + 1) > width:
        end -= 1
    cut = Passage(f"{passage.text[:end].rstrip()}…", passage.prompt)
    return Type(cut, size), [*lines[: most - 1], (start, len(cut.text))]


def _joins(text: str, place: int) -> bool:
    """Whether the characters before and at `place` are drawn as one."""
    return unicodedata.combining(text[place]) > 0 or text[place] in "\u200c\u200d\ufe0f" or text[place - 1] == "\u200d"


def _draw_text(pen: "ImageDraw", passage: Passage, accent: Colour) -> None:
    """Draw the sample, centred between the head and the foot."""
    if not passage.text:
        pen.text(
            (MARGIN, (TEXT_TOP + TEXT_BOTTOM) / 2), "(it said nothing)", fill=SOFT, font=font("DejaVuSans.ttf", 44), anchor="lm"
        )
        return
    setting, lines = fit(passage, WIDTH - 2 * MARGIN, TEXT_BOTTOM - TEXT_TOP)
    step = setting.size * LEADING
    y = (TEXT_TOP + TEXT_BOTTOM - step * (len(lines) - 1)) / 2
    backwards = passage.right_to_left
    for start, end in lines:
        x: float = WIDTH - MARGIN if backwards else MARGIN
        for part, face in setting.runs(start, end):
            colour = accent if face is setting.bold else INK
            length = face.getlength(part)
            x -= length if backwards else 0
            pen.text((x, y), part, fill=colour, font=face, anchor="lm", direction=_direction(backwards))
            x += 0 if backwards else length
        y += step


def _direction(backwards: bool) -> str | None:
    """The base direction of a line, for Pillow; without libraqm it knows none, and asking for one is an error."""
    from PIL import features

    return ("rtl" if backwards else "ltr") if features.check("raqm") else None


def _draw_head(pen: "ImageDraw", facts: Facts, accent: Colour) -> None:
    """Draw the bot's name and whom it writes like, beside the avatar."""
    left, width = MARGIN + AVATAR + 30, WIDTH - 2 * MARGIN - AVATAR - 30
    name = _shrunk(facts.name, "DejaVuSans-Bold.ttf", range(46, 29, -2), width)
    pen.text((left, 92), facts.name, fill=accent, font=name, anchor="lm")
    people = clean("writes like " + ", ".join(author.shown for author in facts.authors), 200)
    small = font("DejaVuSans.ttf", 27)
    pen.text((left, 146), _cut(people, small, width), fill=SOFT, font=small, anchor="lm", direction=_direction(False))


def _draw_foot(pen: "ImageDraw") -> None:
    """Draw the line that tells nobody said this, and who made the picture."""
    small = font("DejaVuSans.ttf", 20)
    pen.line((MARGIN, 566, WIDTH - MARGIN, 566), fill=FAINT, width=2)
    pen.text((MARGIN, 594), FOOTER, fill=SOFT, font=small, anchor="lm")
    pen.text((WIDTH - MARGIN, 594), "made with Mynah", fill=SOFT, font=font("DejaVuSans-Bold.ttf", 20), anchor="rm")


def _shrunk(text: str, name: str, sizes: range, width: float) -> "FreeTypeFont":
    """The largest font of `sizes` in which `text` fits `width`; the smallest where none does."""
    return next((face for size in sizes if (face := font(name, size)).getlength(text) <= width), font(name, sizes[-1]))


def _cut(text: str, face: "FreeTypeFont", width: float) -> str:
    """`text`, cut with `…` where it is wider than `width`."""
    if face.getlength(text) <= width:
        return text
    end = next(end for end in range(len(text), -1, -1) if face.getlength(f"{text[:end].rstrip()}…") <= width)
    return f"{text[:end].rstrip()}…"
