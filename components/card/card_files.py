"""Write the files of a card that show the chosen sample."""

from pathlib import Path

from components.card.pictures.predictions import draw
from components.card.preview import ChosenSample, write_preview
from components.card.share_page import share_page
from mynah.core.files import write_text
from mynah.registry.card_files import PAGE_FILE, PICTURE_FILE, PREVIEW_FILE

SAMPLE_FILES = (PICTURE_FILE, PAGE_FILE, PREVIEW_FILE)


def write_sample(folder: Path, chosen: ChosenSample) -> None:
    """Write predictions.png, predictions.html and card.json into a card's folder, which already contains its avatars.

    Raises InputError when the card's URL is invalid, PlatformError when the folder cannot be written.
    """
    draw(chosen.preview, folder / PICTURE_FILE)
    write_text(folder / PAGE_FILE, share_page(chosen, (folder / PICTURE_FILE).read_bytes()))
    write_preview(folder, chosen)
