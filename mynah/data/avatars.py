"""Profile pictures: small PNGs named `avatar-N.png`, re-encoded from untrusted files.

They are beside sources.json in the folders of fetch and filter, and beside card.json in a card's. Each record of sources.json names its
own under "avatar", or "" for none. They are read with Pillow, which only functions import: it is of the extras
`card` and `filter`, and without it there are no pictures.
"""

import importlib.util
import io
import re
import shutil
import struct
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.core.files import storage_errors
from mynah.core.progress import notify

if TYPE_CHECKING:
    from PIL.Image import Image

AVATAR = re.compile(r"avatar-[1-9][0-9]{0,3}\.png")
SIDE = 400  # pixels, as on X
MAX_BYTES = 5_000_000  # X itself accepts 2 MB
MAX_PIXELS = 4096 * 4096  # 64 MB decoded; a decompression bomb declares billions
FORMATS = ("JPEG", "PNG", "GIF", "WEBP")


def open_avatar(source: Path | bytes) -> "Image | None":
    """Decode a picture: its first frame, upright, cropped to a square of SIDE pixels in RGB without metadata.

    Returns None, with a warning, where it is too large, of another format or damaged: a bad picture never fails a step.
    """
    from PIL import Image

    damage = (OSError, ValueError, TypeError, LookupError, SyntaxError, ArithmeticError, RuntimeError, EOFError, AttributeError,
              MemoryError, struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning)  # fmt: skip
    try:
        data = _read(source)
        if len(data) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
        return _square(data)
    except damage as error:  # Pillow's errors for damaged input have no common base class
        notify(f"skipping a profile picture: {_reason(error)}", "warning")
        return None


def write_avatar(folder: Path, number: int, data: bytes) -> str:
    """Write a profile picture as a PNG.

    Args:
        folder: Where to write it.
        number: Its number, counted from 1.
        data: The original file, untrusted; empty for none.

    Returns:
        The name of the PNG; "" where there is no picture that can be read.

    Raises:
        PlatformError: The disk is full or not writable.
    """
    if not data or not importlib.util.find_spec("PIL"):
        return ""
    picture = open_avatar(data)
    if not picture:
        return ""
    name = f"avatar-{number}.png"
    with storage_errors(folder):
        picture.save(folder / name, format="PNG", optimize=True)
    return name


def avatar_file(folder: Path, name: str) -> Path | None:
    """Return the path of the profile picture `name` in `folder`; None for "", another kind of name or a missing file."""
    path = folder / name
    return path if AVATAR.fullmatch(name) and path.is_file() else None


def copy_avatars(names: Iterable[str], source: Path, target: Path) -> None:
    """Copy profile pictures unchanged.

    Args:
        names: Their names; missing files are skipped.
        source: The folder to copy from.
        target: The folder to copy to.
    """
    for name in names:
        path = avatar_file(source, name)
        if path and path.stat().st_size <= MAX_BYTES:
            shutil.copyfile(path, target / name)


def _read(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    with source.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _square(data: bytes) -> "Image":
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd but harmless metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data), formats=FORMATS) as file:
            if file.width * file.height > MAX_PIXELS:
                raise ValueError(f"it has {file.width} x {file.height} pixels")
            file.draft("RGB", (SIDE, SIDE))  # decode a JPEG no larger than needed
            upright = ImageOps.exif_transpose(file).convert("RGBA")
        white = Image.new("RGBA", upright.size, (255, 255, 255, 255))
        return ImageOps.fit(Image.alpha_composite(white, upright).convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"it is not a {', '.join(FORMATS)} picture" if "cannot identify" in text or not text else text[:200]
