"""Profile pictures: small PNGs named `avatar-N.png`, made anew from whatever a stranger's file holds.

They lie beside sources.json in the folders of fetch and filter, and beside card.json in a card's. Each record of sources.json names
its own under "avatar", or "" for none. Pillow reads them; where it is not installed, there are none.
"""

import importlib.util
import io
import re
import shutil
import struct
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.events import say
from components.files import storage_errors

if TYPE_CHECKING:
    from PIL.Image import Image

AVATAR = re.compile(r"avatar-[1-9][0-9]{0,3}\.png")
SIDE = 400  # pixels, as on X
MOST_BYTES = 5_000_000  # X itself takes 2 MB
MOST_PIXELS = 4096 * 4096  # unpacked to 64 MB; a bomb claims thousands of millions
FORMATS = ("JPEG", "PNG", "GIF", "WEBP")


def opened(source: Path | bytes) -> "Image | None":
    """The picture in a file or in bytes, its first frame, upright, cut to a square of SIDE pixels in RGB without metadata.

    None, with a warning, where it is too large, of another format or damaged: a picture is never worth failing for.
    """
    from PIL import Image

    damage = (OSError, ValueError, TypeError, LookupError, SyntaxError, ArithmeticError, RuntimeError, EOFError, AttributeError,
              MemoryError, struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning)  # fmt: skip
    try:
        data = _read(source)
        if len(data) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        return _square(data)
    except damage as error:  # Pillow has no common base for what it raises on damaged input
        say(f"a profile picture is left out: {_reason(error)}", "warning")
        return None


def write_avatar(folder: Path, number: int, data: bytes) -> str:
    """Make avatar number `number` of `folder` from `data`; returns its name, or "" where there is none."""
    if not data or not importlib.util.find_spec("PIL"):
        return ""
    picture = opened(data)
    if not picture:
        return ""
    name = f"avatar-{number}.png"
    with storage_errors(folder):
        picture.save(folder / name, format="PNG", optimize=True)
    return name


def avatar_of(folder: Path, record: Mapping[str, Any]) -> Path | None:
    """The file that a record of `folder`'s sources.json names; None where it names none, or it is not there."""
    path = next((folder / name for name in avatar_names([dict(record)])), None)
    return path if path and path.is_file() else None


def avatar_names(records: object) -> list[str]:
    """The files that the records of a sources.json name, whatever else is in it."""
    found = [record.get("avatar") for record in records if isinstance(record, dict)] if isinstance(records, list) else []
    return [name for name in found if isinstance(name, str) and AVATAR.fullmatch(name)]


def copy_avatars(records: object, source: Path, target: Path) -> None:
    """Copy the files that the records of a sources.json name from folder to folder, as they are."""
    for name in avatar_names(records):
        if (source / name).is_file() and (source / name).stat().st_size <= MOST_BYTES:
            shutil.copyfile(source / name, target / name)


def _read(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    with source.open("rb") as file:
        return file.read(MOST_BYTES + 1)


def _square(data: bytes) -> "Image":
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd but harmless metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data), formats=FORMATS) as file:
            if file.width * file.height > MOST_PIXELS:
                raise ValueError(f"it has {file.width} x {file.height} pixels")
            file.draft("RGB", (SIDE, SIDE))  # a JPEG is unpacked no larger than it must be
            upright = ImageOps.exif_transpose(file).convert("RGBA")
        white = Image.new("RGBA", upright.size, (255, 255, 255, 255))
        return ImageOps.fit(Image.alpha_composite(white, upright).convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"it is no {', '.join(FORMATS)} picture" if "cannot identify" in text or not text else text[:200]
