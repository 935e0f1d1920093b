"""The authors' pictures in circles, side by side: their own, or a mynah in the author's colour."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.avatars import opened
from components.card.pictures.style import BACKGROUND, FAINT, SOFT, WHITE, Colour, colour_of, font
from components.card.preview import Person

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 120  # pixels
STEP, RING = 78, 5  # from one circle to the next, which lies under it and a ring of the background
MOST = 3
SMOOTH = 4  # how much larger circles are drawn, to be made smaller with smooth edges


def portraits(people: Sequence[Person]) -> "Image":
    """Up to MOST people, and how many more there are, SIDE pixels high, on a transparent ground."""
    from PIL import Image

    few, more = people[:MOST], len(people) - MOST
    faces = [_circle(portrait(person)) for person in few]
    if more > 0:
        faces.append(_circle(_count(more)))
    whole = Image.new("RGBA", (width(people), SIDE), (*BACKGROUND, 0))
    ring = _circle(Image.new("RGB", (SIDE, SIDE), BACKGROUND))
    ring = ring.resize((SIDE + 2 * RING, SIDE + 2 * RING), Image.Resampling.LANCZOS)
    for number, face in reversed(list(enumerate(faces))):  # the first author's on top: they look to the right
        whole.alpha_composite(ring.crop((0 if number else RING, RING, *ring.size)), (max(0, number * STEP - RING), 0))
        whole.alpha_composite(face, (number * STEP, 0))
    return whole


def width(people: Sequence[Person]) -> int:
    """How wide `portraits` of them is, in pixels."""
    return SIDE + STEP * (min(len(people), MOST + 1) - 1)


def portrait(person: Person) -> "Image":
    """A person's own picture where it can be read, or else a mynah; a square of SIDE pixels in RGB."""
    from PIL import Image

    own = opened(person.avatar) if person.avatar else None
    return own.resize((SIDE, SIDE), Image.Resampling.LANCZOS) if own else mynah(colour_of(person.handle))


def mynah(colour: Colour) -> "Image":
    """A mynah on a ground of `colour`, drawn large and made smaller for smooth edges."""
    from PIL import Image, ImageDraw

    scale, black, yellow = 8, (30, 32, 38), (246, 190, 44)
    side = SIDE * scale
    ground = Image.new("RGB", (side, side), colour)
    pen = ImageDraw.Draw(ground)

    def at(*points: float) -> list[float]:
        return [point * side / 100 for point in points]

    pen.ellipse(at(-4, 66, 84, 160), fill=black)  # the body
    pen.polygon(at(10, 76, 23, 44, 68, 44, 72, 80), fill=black)  # the neck
    pen.ellipse(at(22, 18, 70, 66), fill=black)  # the head
    pen.polygon(at(62, 34, 92, 45, 64, 54), fill=yellow)  # the beak
    pen.line(at(64, 45, 86, 45.5), fill=(196, 138, 20), width=scale)
    pen.polygon(at(34, 44, 60, 34, 62, 47, 50, 56), fill=yellow)  # the bare skin behind the eye that tells a mynah
    pen.ellipse(at(46, 32, 60, 46), fill=WHITE)
    pen.ellipse(at(50, 35, 58, 43), fill=black)
    return ground.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _count(more: int) -> "Image":
    from PIL import Image, ImageDraw

    ground = Image.new("RGB", (SIDE, SIDE), FAINT)
    seen = (2 * SIDE - STEP) / 2  # the middle of what the circle before leaves to be seen
    ImageDraw.Draw(ground).text((seen, SIDE / 2), f"+{more}", fill=SOFT, font=font(30, bold=True), anchor="mm")
    return ground


def _circle(face: "Image") -> "Image":
    from PIL import Image, ImageDraw

    large = Image.new("L", (SIDE * SMOOTH, SIDE * SMOOTH), 0)
    ImageDraw.Draw(large).ellipse((0, 0, SIDE * SMOOTH - 1, SIDE * SMOOTH - 1), fill=255)
    cut = face.convert("RGBA")
    cut.putalpha(large.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return cut
