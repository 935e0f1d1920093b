"""Digests of the posts that a model was trained on through its ancestors: it must not be evaluated on them.

Stored as 64-bit digests in the model's folder, since older training data may be recorded nowhere else.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.files import storage_errors, write_text

FILE = "seen.txt"
MIN_POSTS_TO_COMPARE = 20  # posts new to both models for a comparison: with fewer, chance decides


def key(text: str) -> str:
    """Return a post's digest, which ignores case as the train/test split does."""
    return hashlib.sha256(text.casefold().encode("utf-8", "surrogatepass")).hexdigest()[:16]


def write_seen(model: Path, keys: Iterable[str]) -> None:
    """Write the digests into a model folder. Raises PlatformError when the disk refuses."""
    write_text(model / FILE, "".join(f"{digest}\n" for digest in sorted(keys)))


def read_seen(model: Path) -> frozenset[str]:
    """Read the digests in a model folder; none where it was not continued. Raises InputError for an invalid file."""
    path = model / FILE
    if not path.is_file():
        return frozenset()
    try:
        with storage_errors(path):
            digests = frozenset(path.read_text("ascii").split())
        if all(len(digest) == 16 and int(digest, 16) >= 0 for digest in digests):
            return digests
    except ValueError:
        pass
    raise InputError(f"{path} is not a list of digests", "Fetch or train the model again.")


def unseen(texts: Sequence[str], seen: frozenset[str]) -> list[str]:
    """Return those of `texts` that are not among the `seen`."""
    return [text for text in texts if key(text) not in seen]
