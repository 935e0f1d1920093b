"""What the tests of the pictures share."""

from pathlib import Path

from PIL import Image, ImageChops

from components.card.pictures.predictions import draw
from components.card.preview import Person, Preview
from mynah.drawing.style import BACKGROUND
from mynah.drawing.text_layout import Setting

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
PRIDE, HEART, HEART_ON_FIRE = "\U0001f3f3\ufe0f\u200d\U0001f308", "\u2764\ufe0f", "\u2764\ufe0f\u200d\U0001f525"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
WREN = (Person("wren_groundling", "Wren Groundling"),)
ROOT = Path(__file__).parents[2]


def picture(tmp_path: Path, sample: str, authors: tuple[Person, ...] = WREN, prompt: str = "My dream is") -> Image.Image:
    draw(Preview("wren", authors, prompt, sample), tmp_path / "predictions.png")
    with Image.open(tmp_path / "predictions.png") as image:
        return image.convert("RGB")


def ink(image: Image.Image, box: tuple[int, int, int, int]) -> tuple[int, int, int, int] | None:
    """What of `box` is not background."""
    part_of_it = image.crop(box)
    return ImageChops.difference(part_of_it, Image.new("RGB", part_of_it.size, BACKGROUND)).getbbox()


def seen(setting: Setting, line: tuple[int, int]) -> str:
    runs = setting.runs(*line)
    return "".join(run.text[::-1] if run.backwards and run.cell is None else run.text for run in runs)


def square(path: Path, colour: str) -> Path:
    Image.new("RGB", (400, 400), colour).save(path)
    return path
