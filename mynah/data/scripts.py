"""Unicode's scripts (UAX #24, https://www.unicode.org/reports/tr24/): which ones an author writes in, and which characters nobody can read.

Python's unicodedata has no scripts. The table is a file of this package, so that the server needs no library for it: fontTools has one
in 30 MB, and regex has only patterns.
"""

import functools
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.files import write_json
from mynah.core.json_reader import JsonField

TABLE = Path(__file__).with_name("unicode_scripts.txt")
FILE = "scripts.json"  # in a model folder, beside verbatim.bloom
UNREADABLE = "Zzzz"  # unassigned, private use, surrogate, noncharacter, U+FFFD
SHARED = frozenset({"Zyyy", "Zinh"})  # Common (digits, punctuation, emoji) and Inherited (accents): of every script


def script_of(character: str) -> str:
    """The code of ISO 15924 of a character's script, such as "Latn"."""
    starts, scripts = _table()
    return scripts[bisect_right(starts, ord(character)) - 1]


def scripts_of(text: str) -> frozenset[str]:
    """The scripts of all characters of `text`."""
    return frozenset(map(script_of, set(text)))


@functools.lru_cache(maxsize=4096)
def scripts_between(first: int, last: int) -> frozenset[str]:
    """The scripts of the code points from `first` to `last`."""
    starts, scripts = _table()
    return frozenset(scripts[bisect_right(starts, first) - 1 : bisect_right(starts, last)])


def author_scripts(posts: Iterable[str]) -> frozenset[str]:
    """The scripts that an author of `posts` may be expected to write: those used, and those that belong to every script."""
    characters = set[str]().union(*map(set, posts))
    return (frozenset(map(script_of, characters)) | SHARED) - {UNREADABLE}


def write_scripts(folder: Path, posts: Iterable[str]) -> None:
    """Write the scripts of `posts` into a model folder. Raises PlatformError when the disk refuses."""
    write_json(folder / FILE, {"scripts": sorted(author_scripts(posts))})


def read_scripts(folder: Path) -> frozenset[str] | None:
    """Read the scripts in a model folder; None where an earlier version wrote none. Raises InputError when the file is damaged."""
    path = folder / FILE
    if not path.is_file():
        return None
    found = frozenset(script.text() for script in JsonField.read(path, "finetune")["scripts"].list())
    if not SHARED <= found <= set(_table()[1]) - {UNREADABLE}:
        raise InputError(f"{path} is not a list of scripts", "Fetch or train the bot again.")
    return found


@functools.cache
def _table() -> tuple[list[int], list[str]]:
    """The first code points of the runs, ascending from 0, and the script of each run."""
    rows = [line.split() for line in TABLE.read_text("utf-8").splitlines() if not line.startswith("#")]
    return [int(start, 16) for start, _ in rows], [script for _, script in rows]
