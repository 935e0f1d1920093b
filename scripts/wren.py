"""Draw the profile picture of the sample's fictitious account: a wren, 400 x 400 pixels, JPEG."""

import io

from PIL import Image, ImageDraw

SIDE, SMOOTH = 400, 4
SKY, BROWN, DARK, PALE, BEAK, STAGE = (120, 186, 186), (150, 98, 58), (94, 58, 34), (238, 216, 182), (70, 54, 44), (122, 30, 44)


def picture() -> bytes:
    """Return the file's bytes; the same version of Pillow gives the same bytes."""
    image = Image.new("RGB", (SIDE * SMOOTH, SIDE * SMOOTH), SKY)
    pen = ImageDraw.Draw(image)

    def at(*points: float) -> list[float]:
        return [point * SIDE * SMOOTH / 100 for point in points]

    pen.rectangle(at(0, 82, 100, 100), fill=STAGE)
    pen.line(at(42, 72, 40, 84), fill=BEAK, width=22)
    pen.line(at(54, 72, 55, 84), fill=BEAK, width=22)
    pen.polygon(at(24, 52, 12, 16, 20, 14, 38, 44), fill=DARK)  # the tail, cocked as only a wren's is
    pen.ellipse(at(20, 34, 72, 78), fill=BROWN)
    pen.ellipse(at(40, 46, 74, 78), fill=PALE)  # the breast
    pen.ellipse(at(46, 20, 80, 54), fill=BROWN)  # the head
    pen.polygon(at(78, 34, 95, 32, 78, 40), fill=BEAK)
    pen.line(at(56, 31, 77, 30), fill=PALE, width=30)  # the brow
    pen.ellipse(at(64, 32, 71, 39), fill=BEAK)
    pen.ellipse(at(67, 33, 69, 35), fill=(255, 255, 255))
    pen.pieslice(at(22, 40, 58, 72), 20, 190, fill=DARK)  # the wing
    for step in range(4):
        pen.arc(at(24 + 2 * step, 44 - step, 54 - 4 * step, 66 - 4 * step), 30, 170, fill=BROWN, width=12)
    small, file = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), io.BytesIO()
    small.save(file, "JPEG", quality=75)
    return file.getvalue()
