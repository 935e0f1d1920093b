"""Verbatim runs, and a Bloom filter of the training posts' runs with which the server keeps a bot from repeating them.

The filter is in the model folder, beside the weights that could recite the posts. Bloom 1970, "Space/time trade-offs in hash coding with
allowable errors"; two hashes generate all others (Kirsch and Mitzenmacher 2006). It holds no text. Its "no" is always right, its "yes"
wrong once in 10,000 times.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.files import storage_errors

VERBATIM_WORDS = 8
VERBATIM_CHARACTERS = 50
FILE = "verbatim.bloom"
MAGIC = b"mynah-bloom-1\n"
FALSE_POSITIVE_RATE = 1e-4  # share of runs outside the posts that the filter reports
MAX_BYTES = 256 << 20


def words(text: str) -> list[str]:
    """Return lower-case words and numbers, without punctuation."""
    return re.findall(r"[\w'\u2019]+", text.casefold())


def ngrams(tokens: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """Yield runs of `n` tokens in order."""
    return (tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))


@dataclass(frozen=True, slots=True, eq=False)
class Bloom:
    """The runs of words in the training posts."""

    bits: bytes
    hashes: int

    def __contains__(self, run: Sequence[str]) -> bool:
        size = 8 * len(self.bits)
        return all(self.bits[bit >> 3] >> (bit & 7) & 1 for bit in _bit_positions(run, size, self.hashes))

    def repeats(self, generated: Sequence[str]) -> bool:
        """Return whether the words `generated` end with a run that the evaluation counts as memorised.

        That is a run of at least 50 characters, every 8 words of which are in a post.
        """
        start = len(generated) - VERBATIM_WORDS
        if start < 0 or generated[start:] not in self:
            return False
        while (
            start > 0
            and len(" ".join(generated[start:])) < VERBATIM_CHARACTERS
            and generated[start - 1 : start - 1 + VERBATIM_WORDS] in self
        ):
            start -= 1
        return len(" ".join(generated[start:])) >= VERBATIM_CHARACTERS


def write_bloom(folder: Path, posts: Iterable[str]) -> None:
    """Write the filter of `posts` into a model folder. Raises PlatformError when the disk refuses."""
    runs = {run for post in posts for run in ngrams(words(post), VERBATIM_WORDS)}
    size = max(64, 8 * math.ceil(-len(runs) * math.log(FALSE_POSITIVE_RATE) / math.log(2) ** 2 / 8))
    hashes = max(1, round(size / max(1, len(runs)) * math.log(2))) if runs else 1
    bits = bytearray(size // 8)
    for run in runs:
        for bit in _bit_positions(run, size, hashes):
            bits[bit >> 3] |= 1 << (bit & 7)
    header = json.dumps({"words": VERBATIM_WORDS, "runs": len(runs), "hashes": hashes, "bytes": len(bits)})
    with storage_errors(folder):
        (folder / FILE).write_bytes(MAGIC + header.encode() + b"\n" + bits)


def read_bloom(folder: Path) -> Bloom | None:
    """Read the filter in a model folder; None where there is none. Raises InputError when it is damaged."""
    path = folder / FILE
    if not path.is_file():
        return None
    with storage_errors(path):
        content = path.read_bytes()
    try:
        magic, header, bits = content[: len(MAGIC)], *content[len(MAGIC) :].split(b"\n", 1)
        metadata = json.loads(header)
        hashes = metadata["hashes"]
        fits = metadata["words"] == VERBATIM_WORDS and metadata["bytes"] == len(bits) <= MAX_BYTES
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path) from error
    if magic != MAGIC or not fits or not bits or not isinstance(hashes, int) or not 1 <= hashes <= 64:
        raise _damaged(path)
    return Bloom(bits, hashes)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is a damaged filter of training posts, or something else", "Fetch or train the bot again.")


def _bit_positions(run: Sequence[str], size: int, hashes: int) -> Iterable[int]:
    digest = blake2b(" ".join(run).encode("utf-8", "surrogatepass"), digest_size=16).digest()
    first, second = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little") | 1
    return ((first + number * second) % size for number in range(hashes))
