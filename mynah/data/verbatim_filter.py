"""Verbatim runs: what counts as one, and a Bloom filter of the training posts' runs by which the server keeps a bot from repeating them.

The filter lies in the model folder, beside the weights that could recite the posts.
Bloom 1970, "Space/time trade-offs in hash coding with allowable errors"; two hashes make all the others (Kirsch and Mitzenmacher
2006). It holds no text, and answers "no" truly and "yes" wrongly once in 10,000 times.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from components.errors import InputError
from components.files import storage_errors

VERBATIM_WORDS = 8
VERBATIM_CHARACTERS = 50
FILE = "verbatim.bloom"
MAGIC = b"mynah-bloom-1\n"
WRONGLY = 1e-4  # share of runs that no post has, and that the filter takes for one of a post
MOST_BYTES = 256 << 20


def words(text: str) -> list[str]:
    """Lower-case words and numbers, without punctuation."""
    return re.findall(r"[\w'\u2019]+", text.casefold())


def ngrams(tokens: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """Runs of `n` tokens in order."""
    return (tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))


@dataclass(frozen=True, slots=True, eq=False)
class Bloom:
    """Which runs of words stand in the training posts."""

    bits: bytes
    hashes: int

    def __contains__(self, run: Sequence[str]) -> bool:
        size = 8 * len(self.bits)
        return all(self.bits[place >> 3] >> (place & 7) & 1 for place in _places(run, size, self.hashes))

    def repeats(self, said: Sequence[str]) -> bool:
        """Whether the words `said` end with a run that evaluation's metric calls memorised: every 8 words of it stand in a post,
        and it has 50 characters or more.
        """
        begin = len(said) - VERBATIM_WORDS
        if begin < 0 or said[begin:] not in self:
            return False
        while (
            begin > 0
            and len(" ".join(said[begin:])) < VERBATIM_CHARACTERS
            and said[begin - 1 : begin - 1 + VERBATIM_WORDS] in self
        ):
            begin -= 1
        return len(" ".join(said[begin:])) >= VERBATIM_CHARACTERS


def write_bloom(folder: Path, posts: Iterable[str]) -> None:
    """Write the filter of `posts` into a model folder. Raises PlatformError when the disk refuses."""
    runs = {run for post in posts for run in ngrams(words(post), VERBATIM_WORDS)}
    size = max(64, 8 * math.ceil(-len(runs) * math.log(WRONGLY) / math.log(2) ** 2 / 8))
    hashes = max(1, round(size / max(1, len(runs)) * math.log(2))) if runs else 1
    bits = bytearray(size // 8)
    for run in runs:
        for place in _places(run, size, hashes):
            bits[place >> 3] |= 1 << (place & 7)
    header = json.dumps({"words": VERBATIM_WORDS, "runs": len(runs), "hashes": hashes, "bytes": len(bits)})
    with storage_errors(folder):
        (folder / FILE).write_bytes(MAGIC + header.encode() + b"\n" + bits)


def read_bloom(folder: Path) -> Bloom | None:
    """The filter in a model folder, or None where there is none. Raises InputError when it is damaged."""
    path = folder / FILE
    if not path.is_file():
        return None
    with storage_errors(path):
        content = path.read_bytes()
    try:
        magic, header, bits = content[: len(MAGIC)], *content[len(MAGIC) :].split(b"\n", 1)
        told = json.loads(header)
        hashes, fits = told["hashes"], told["words"] == VERBATIM_WORDS and told["bytes"] == len(bits) <= MOST_BYTES
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path) from error
    if magic != MAGIC or not fits or not bits or not isinstance(hashes, int) or not 1 <= hashes <= 64:
        raise _damaged(path)
    return Bloom(bits, hashes)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is no filter of training posts, or a damaged one", "Fetch or train the bot again.")


def _places(run: Sequence[str], size: int, hashes: int) -> Iterable[int]:
    digest = blake2b(" ".join(run).encode("utf-8", "surrogatepass"), digest_size=16).digest()
    first, second = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little") | 1
    return ((first + number * second) % size for number in range(hashes))
