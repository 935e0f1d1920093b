"""pipeline.png: the way from posts to a served bot, with the numbers of the run that made it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.card.facts import Facts
from components.card.pictures import emoji
from components.card.pictures.ink import draw_emoji, draw_line
from components.card.pictures.passage import Passage
from components.card.pictures.style import BACKGROUND, FAINT, INK, SOFT, WHITE, Colour, colour_of
from components.files import storage_errors

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH, HEIGHT = 1200, 428
MARGIN, GAP = 36, 42  # around all boxes; between two of them
COLUMNS = 4
BOX_WIDTH, BOX_HEIGHT = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) // COLUMNS, 150
INSET = 20
GREEN, RED, LINE = (26, 127, 72), (190, 42, 42), (150, 152, 160)


@dataclass(frozen=True, slots=True)
class Step:
    """A box: what is done, and what came of it."""

    icon: str
    title: str
    number: str
    more: str
    colour: Colour = INK  # of the number
    reached: bool = True


def draw_pipeline(facts: Facts, path: Path) -> None:
    """Draw the pipeline to `path`, a PNG of 1200 x 428 pixels: a light sheet with transparent corners, for any background.

    Raises PlatformError when `path` can't be written.
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGBA", (WIDTH, HEIGHT), (*BACKGROUND, 0))
    ImageDraw.Draw(image).rounded_rectangle((0, 0, WIDTH - 1, HEIGHT - 1), 24, fill=BACKGROUND, outline=FAINT, width=2)
    accent = colour_of(facts.authors[0].handle if facts.authors else facts.name)
    boxes = steps(facts)
    for number, box in enumerate(boxes):
        _draw_arrow(image, number, boxes)
        _draw_box(image, box, _corner(number), accent)
    with storage_errors(path):
        image.save(path, format="PNG", optimize=True)


def steps(facts: Facts) -> list[Step]:
    """The boxes, in their order."""
    table = dict(facts.funnel)
    downloaded, kept = sum(table.get("Tweets downloaded", [])), sum(table.get("Tweets kept", []))
    authors = [f"@{author.handle}" for author in facts.authors]
    failed = sum(not check.passed for check in facts.checks)
    judged = (
        f"checks: {len(facts.checks)} of {len(facts.checks)}"
        if facts.passed
        else f"checks failed: {failed} of {len(facts.checks)}"
    )
    return [
        Step("📥", "Fetch", f"{downloaded:,} posts", f"of {authors[0] if len(authors) == 1 else f'{len(authors)} authors'}"),
        Step("🧹", "Filter", f"{kept:,} kept", f"of {downloaded:,} posts"),
        Step("🎓", "Fine-tune", _losses(facts), f"held-out loss, {_base(facts)}"),
        Step("⚖️", "Evaluate", "passed" if facts.passed else "did not pass", judged, GREEN if facts.passed else RED),
        Step("🪪", "Card", "README.md", "and pictures"),
        Step("📦", "Register", "a new version", "in MLflow"),
        Step("🏆", "Promote", "champion" if facts.passed else "refused", "if it beats the last" if facts.passed else "by the gate",
             reached=facts.passed),
        Step("📡", "Serve", "KServe" if facts.passed else "not served", "v1, v2, gRPC, OpenAI" if facts.passed else "",
             reached=facts.passed),
    ]  # fmt: skip


def _losses(facts: Facts) -> str:
    before, after = facts.metrics.get("base_held_out_loss"), facts.metrics.get("held_out_loss")
    return " → ".join("n/a" if value is None else f"{value:.2f}" for value in (before, after))


def _base(facts: Facts) -> str:
    """The base model by its own name: where it lies on the machine that made the bot is nobody's business."""
    return Path(facts.training.base).name


def _corner(number: int) -> tuple[int, int]:
    row, column = divmod(number, COLUMNS)
    return MARGIN + column * (BOX_WIDTH + GAP), MARGIN + row * (BOX_HEIGHT + HEIGHT - 2 * MARGIN - 2 * BOX_HEIGHT)


def _draw_box(image: "Image", box: Step, corner: tuple[int, int], accent: Colour) -> None:
    """Draw a box from its upper left corner."""
    from PIL import ImageDraw

    left, top = corner
    ground, edge = (WHITE, FAINT) if box.reached else (BACKGROUND, FAINT)
    ImageDraw.Draw(image).rounded_rectangle(
        (left, top, left + BOX_WIDTH, top + BOX_HEIGHT), 16, fill=ground, outline=edge, width=2
    )
    room = BOX_WIDTH - 2 * INSET
    if icon := emoji.find(box.icon, 0):
        draw_emoji(image, icon.cell, (left + INSET, top + 36), 34)
    title = Passage.of(box.title, len(box.title))
    draw_line(image, title, (left + INSET + 46, top + 36), range(27, 17, -1), room - 46, accent if box.reached else SOFT)
    draw_line(image, Passage.of(box.number, len(box.number)), (left + INSET, top + 80), range(26, 15, -1), room,
              box.colour if box.reached else SOFT)  # fmt: skip
    draw_line(image, Passage.of(box.more), (left + INSET, top + 118), range(20, 14, -1), room, SOFT)


def _draw_arrow(image: "Image", number: int, boxes: list[Step]) -> None:
    """Draw the arrow that leads to a box: from the left, or from the end of the row above."""
    from PIL import ImageDraw

    if not number:
        return
    pen, (left, top) = ImageDraw.Draw(image), _corner(number)
    colour = LINE if boxes[number].reached else FAINT
    if number % COLUMNS:
        y = top + BOX_HEIGHT // 2
        pen.line((left - GAP + 6, y, left - 12, y), fill=colour, width=4)
        pen.polygon((left - 16, y - 9, left - 5, y, left - 16, y + 9), fill=colour)
        return
    _, above = _corner(number - 1)
    x, start, end = left + BOX_WIDTH // 2, WIDTH - MARGIN - BOX_WIDTH // 2, above + BOX_HEIGHT
    middle = (end + top) // 2
    pen.line((start, end + 6, start, middle, x, middle, x, top - 12), fill=colour, width=4, joint="curve")
    pen.polygon((x - 9, top - 16, x, top - 5, x + 9, top - 16), fill=colour)
