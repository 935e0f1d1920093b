"""The files of a card's folder that show the chosen sample."""

from pathlib import Path

from components.card.addresses import PAGE, PICTURE
from components.card.pictures import draw
from components.card.preview import FILE, Chosen, write_preview
from components.card.share import share_page
from components.files import write_text

OF_THE_SAMPLE = (PICTURE, PAGE, FILE)


def write_sample(folder: Path, chosen: Chosen) -> None:
    """Write predictions.png, predictions.html and card.json into a card's folder, which has its avatars already.

    Raises InputError when the card's url is no address, PlatformError when the folder can't be written.
    """
    draw(chosen.preview, folder / PICTURE)
    write_text(folder / PAGE, share_page(chosen, (folder / PICTURE).read_bytes()))
    write_preview(folder, chosen)
