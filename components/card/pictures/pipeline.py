"""Draw pipeline.png: the steps from posts to a served bot, with the numbers of the run.

Only functions import Pillow, which is of the extra `card`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.card.inputs import CardInputs
from mynah.core.files import storage_errors
from mynah.drawing import emoji
from mynah.drawing.style import BACKGROUND, FAINT, INK, SOFT, WHITE, Colour, colour_of
from mynah.drawing.text_drawing import draw_emoji, draw_line
from mynah.drawing.text_layout import Passage

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH, HEIGHT = 1200, 428
MARGIN, GAP = 36, 42  # around all boxes; between two boxes
COLUMNS = 4
BOX_WIDTH, BOX_HEIGHT = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) // COLUMNS, 150
INSET = 20
GREEN, RED, LINE = (26, 127, 72), (190, 42, 42), (150, 152, 160)


@dataclass(frozen=True, slots=True)
class PipelineStep:
    """A box of the picture: a step and its result."""

    icon: str
    title: str
    number: str
    more: str
    colour: Colour = INK  # of the number
    reached: bool = True


def draw_pipeline(inputs: CardInputs, path: Path) -> None:
    """Draw the pipeline to `path`, an RGBA PNG of 1200 x 428 pixels with transparent corners, for any background.

    Raises PlatformError when `path` cannot be written.
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGBA", (WIDTH, HEIGHT), (*BACKGROUND, 0))
    ImageDraw.Draw(image).rounded_rectangle((0, 0, WIDTH - 1, HEIGHT - 1), 24, fill=BACKGROUND, outline=FAINT, width=2)
    accent = colour_of(inputs.authors[0].handle if inputs.authors else inputs.name)
    boxes = steps(inputs)
    for number, box in enumerate(boxes):
        _draw_arrow(image, number, boxes)
        _draw_box(image, box, _corner(number), accent)
    with storage_errors(path):
        image.save(path, format="PNG", optimize=True)


def steps(inputs: CardInputs) -> list[PipelineStep]:
    """Return the boxes in order."""
    funnel, verdict = inputs.funnel.counts(), inputs.verdict
    downloaded, kept = funnel["downloaded"], funnel["kept"]
    authors = [f"@{author.handle}" for author in inputs.authors]
    judged = (
        f"checks: {len(verdict.checks)} of {len(verdict.checks)}"
        if verdict.passed
        else f"checks failed: {len(verdict.failures)} of {len(verdict.checks)}"
    )
    return [
        PipelineStep("📥", "Fetch", f"{downloaded:,} posts", f"of {authors[0] if len(authors) == 1 else f'{len(authors)} authors'}"),
        PipelineStep("🧹", "Filter", f"{kept:,} kept", f"of {downloaded:,} posts"),
        PipelineStep("🎓", "Fine-tune", _losses(inputs), f"held-out loss, {_base(inputs)}"),
        PipelineStep("⚖️", "Evaluate", "passed" if verdict.passed else "did not pass", judged, GREEN if verdict.passed else RED),
        PipelineStep("🪪", "Card", "README.md", "and pictures"),
        PipelineStep("📦", "Register", "a new version", "in MLflow"),
        PipelineStep("🏆", "Promote", "champion" if verdict.passed else "refused", "if it beats the last" if verdict.passed else "by the gate",
             reached=verdict.passed),
        PipelineStep("📡", "Serve", "KServe" if verdict.passed else "not served", "v1, v2, gRPC, OpenAI" if verdict.passed else "",
             reached=verdict.passed),
    ]  # fmt: skip


def _losses(inputs: CardInputs) -> str:
    before, after = inputs.metrics.get("base_held_out_loss"), inputs.metrics.get("held_out_loss")
    return " → ".join("n/a" if value is None else f"{value:.2f}" for value in (before, after))


def _base(inputs: CardInputs) -> str:
    """Return the base model's name without its folder, which is private."""
    return Path(inputs.training.base_model.name).name


def _corner(number: int) -> tuple[int, int]:
    row, column = divmod(number, COLUMNS)
    return MARGIN + column * (BOX_WIDTH + GAP), MARGIN + row * (BOX_HEIGHT + HEIGHT - 2 * MARGIN - 2 * BOX_HEIGHT)


def _draw_box(image: "Image", box: PipelineStep, corner: tuple[int, int], accent: Colour) -> None:
    """Draw a box.

    Args:
        image: The picture.
        box: The step and its result.
        corner: Its upper left corner (x, y), in pixels.
        accent: The colour of its title.
    """
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


def _draw_arrow(image: "Image", number: int, boxes: list[PipelineStep]) -> None:
    """Draw the arrow to a box, from the left or from the end of the row above."""
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
