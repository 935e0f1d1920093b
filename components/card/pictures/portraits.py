"""Draw the authors' portraits in circles: their own pictures, or a mynah in the author's colour.

Only functions import Pillow, which is of the extra `card`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.card.preview import Person
from mynah.data.avatars import open_avatar
from mynah.drawing.style import BACKGROUND, FAINT, SOFT, WHITE, Colour, colour_of, font

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 120  # pixels
STEP, RING = 78, 5  # distance between circles, and the width of the background ring around each
MAX_PORTRAITS = 3
OVERSAMPLING = 4  # circles are drawn larger by this factor and scaled down, for smooth edges


def portraits(people: Sequence[Person]) -> "Image":
    """Return the portraits of up to MAX_PORTRAITS people and the number of further ones, RGBA, SIDE pixels high."""
    from PIL import Image

    shown, more = people[:MAX_PORTRAITS], len(people) - MAX_PORTRAITS
    faces = [_circle(portrait(person)) for person in shown]
    if more > 0:
        faces.append(_circle(_count(more)))
    picture = Image.new("RGBA", (width(people), SIDE), (*BACKGROUND, 0))
    ring = _circle(Image.new("RGB", (SIDE, SIDE), BACKGROUND))
    ring = ring.resize((SIDE + 2 * RING, SIDE + 2 * RING), Image.Resampling.LANCZOS)
    for number, face in reversed(list(enumerate(faces))):  # the first author is on top, since mynahs look to the right
        picture.alpha_composite(ring.crop((0 if number else RING, RING, *ring.size)), (max(0, number * STEP - RING), 0))
        picture.alpha_composite(face, (number * STEP, 0))
    return picture


def width(people: Sequence[Person]) -> int:
    """Return the width of `portraits` in pixels."""
    return SIDE + STEP * (min(len(people), MAX_PORTRAITS + 1) - 1)


def portrait(person: Person) -> "Image":
    """Return a person's own picture, or a mynah when there is none: RGB, a square of SIDE pixels."""
    from PIL import Image

    own_picture = open_avatar(person.avatar) if person.avatar else None
    return own_picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS) if own_picture else mynah(colour_of(person.handle))


def mynah(colour: Colour) -> "Image":
    """Return a drawn mynah on a background of `colour`: RGB, a square of SIDE pixels."""
    from PIL import Image, ImageDraw

    scale, black, yellow = 8, (30, 32, 38), (246, 190, 44)
    side = SIDE * scale
    background = Image.new("RGB", (side, side), colour)
    pen = ImageDraw.Draw(background)

    def scaled(*points: float) -> list[float]:
        return [point * side / 100 for point in points]

    pen.ellipse(scaled(-4, 66, 84, 160), fill=black)  # the body
    pen.polygon(scaled(10, 76, 23, 44, 68, 44, 72, 80), fill=black)  # the neck
    pen.ellipse(scaled(22, 18, 70, 66), fill=black)  # the head
    pen.polygon(scaled(62, 34, 92, 45, 64, 54), fill=yellow)  # the beak
    pen.line(scaled(64, 45, 86, 45.5), fill=(196, 138, 20), width=scale)
    pen.polygon(scaled(34, 44, 60, 34, 62, 47, 50, 56), fill=yellow)  # the bare skin behind the eye, typical of mynahs
    pen.ellipse(scaled(46, 32, 60, 46), fill=WHITE)
    pen.ellipse(scaled(50, 35, 58, 43), fill=black)
    return background.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _count(more: int) -> "Image":
    from PIL import Image, ImageDraw

    background = Image.new("RGB", (SIDE, SIDE), FAINT)
    visible_middle = (2 * SIDE - STEP) / 2  # the middle of the part that the previous circle leaves visible
    ImageDraw.Draw(background).text((visible_middle, SIDE / 2), f"+{more}", fill=SOFT, font=font(30, bold=True), anchor="mm")
    return background


def _circle(face: "Image") -> "Image":
    from PIL import Image, ImageDraw

    large = Image.new("L", (SIDE * OVERSAMPLING, SIDE * OVERSAMPLING), 0)
    ImageDraw.Draw(large).ellipse((0, 0, SIDE * OVERSAMPLING - 1, SIDE * OVERSAMPLING - 1), fill=255)
    cut = face.convert("RGBA")
    cut.putalpha(large.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return cut
