"""From what a person names (`archive:my-export.zip`, `posts.csv`, `sample`) to a file or folder that can be read."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.errors import InputError
from components.names import is_unicode
from components.posts import POSTS_FILE, Post

SAMPLE = Path(__file__).parent / "sample" / "groundling.zip"
SOURCES_NOW = "Sources now: archive:EXPORT.zip or its unpacked folder, FILE.csv, FILE.jsonl, and the word sample."
SOURCES_FILE = "sources.json"  # beside posts.jsonl in a folder that `mynah fetch` wrote
FORMS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}

# The scheme of an address (x://); without slashes two letters at least, so that a Windows drive (C:) is none.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)|([A-Za-z][A-Za-z0-9+.-]+):")


@dataclass(frozen=True, slots=True)
class Source:
    """One place that posts come from; it exists."""

    path: Path
    form: str  # archive, csv, jsonl, or raw: a folder that `mynah fetch` wrote

    @property
    def name(self) -> str:
        """The file's or folder's own name, as the person gave it (a link's target may be called anything)."""
        given = self.path.name
        return printable(given if given not in ("", "..") else self.path.resolve().name)

    @property
    def label(self) -> str:
        """The form and the name, without the machine's path: safe to record and to show."""
        return f"{self.form}:{self.name}"


@dataclass(frozen=True, slots=True)
class Content:
    """What an opened source holds. `posts` is called once, with a function that is told of each stretch of bytes read."""

    kind: str  # x-export, tweets-csv, csv or jsonl
    basis: str  # why these posts may be used: own-account, unstated
    size: int  # bytes that `posts` will read
    posts: Callable[[Callable[[int], None]], Iterator[Post]]
    author: str = ""  # "" where each post names its own
    display_name: str = ""
    bio: str = ""
    avatar: bytes = b""  # the file of a profile picture, as a stranger made it


def parse_sources(names: Sequence[str]) -> list[Source]:
    """Each of `names` as a Source. Raises InputError when one is unknown, missing, or given twice."""
    if not names:
        raise InputError("no source given", SOURCES_NOW)
    found: dict[Path, str] = {}
    sources = []
    for name in names:
        source = parse_source(name)
        place = source.path.resolve()
        if place in found:
            raise InputError(f"the same source is given twice: {found[place]!r} and {name!r}", "Name each source once.")
        found[place] = name
        sources.append(source)
    return sources


def parse_source(name: str) -> Source:
    """The Source that `name` means. Raises InputError when its scheme is unknown or nothing lies at its path."""
    if name == "sample":
        return Source(SAMPLE, "archive")
    scheme = SCHEME.match(name)
    if scheme and scheme[3] == "archive":
        return Source(_existing(name.removeprefix("archive:"), name), "archive")
    if scheme and (scheme[2] or not Path(name).exists()):
        raise InputError(f"{name[:200]!r}: there is no source {scheme[0]} in this version", SOURCES_NOW)
    path = _existing(name, name)
    if path.is_dir() and (path / POSTS_FILE).is_file() and (path / SOURCES_FILE).is_file():
        return Source(path, "raw")
    form = "archive" if path.is_dir() else FORMS.get(path.suffix.lower(), "archive")
    return Source(path, form)


def printable(text: str) -> str:
    """`text` with what UTF-8 cannot carry (a lone half of a surrogate pair) replaced by U+FFFD.

    JSON may spell such a half as an escape, and a file name may hold bytes that are not UTF-8.
    """
    return text if is_unicode(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _existing(text: str, name: str) -> Path:
    try:
        path = Path(text).expanduser()
        if text and (path.is_file() or path.is_dir()):
            return path
        problem = "is neither a file nor a folder" if text and path.exists() else "does not exist"
    except (OSError, ValueError, RuntimeError) as error:  # a NUL byte, a name too long, no permission, an unknown ~user
        problem = f"cannot be opened ({error.strerror if isinstance(error, OSError) else error})"
    raise InputError(f"source {printable(name[:200])!r} {problem}", SOURCES_NOW)
