"""The posts that a model knows from those it was continued from: what it is measured on must not be among them.

As digests of 64 bits, in the model's folder: what was trained on long ago may be recorded nowhere else.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from components.errors import InputError
from components.files import storage_errors, write_text

FILE = "seen.txt"
FEWEST_POSTS = 20  # new to both, by which two models are compared: with fewer, chance decides


def key(text: str) -> str:
    """A post's digest, the same for texts that the split keeps on one side."""
    return hashlib.sha256(text.casefold().encode("utf-8", "surrogatepass")).hexdigest()[:16]


def write_seen(model: Path, keys: Iterable[str]) -> None:
    """Write the digests into a model folder. Raises PlatformError when the disk refuses."""
    write_text(model / FILE, "".join(f"{each}\n" for each in sorted(keys)))


def read_seen(model: Path) -> frozenset[str]:
    """The digests in a model folder; none where it was not continued. Raises InputError for a file that is not ours."""
    path = model / FILE
    if not path.is_file():
        return frozenset()
    try:
        with storage_errors(path):
            found = frozenset(path.read_text("ascii").split())
        if all(len(each) == 16 and int(each, 16) >= 0 for each in found):
            return found
    except ValueError:
        pass
    raise InputError(f"{path} is no list of digests", "Fetch or train the model again.")


def unseen(texts: Sequence[str], seen: frozenset[str]) -> list[str]:
    """Those of `texts` that are not among the `seen`."""
    return [text for text in texts if key(text) not in seen]
