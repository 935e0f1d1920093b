"""From what a person names (`archive:my-export.zip`, `x://handle`, `posts.csv`, `sample`) to a source that can be opened."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.errors import InputError
from components.names import is_unicode
from components.posts import POSTS_FILE, Post

SAMPLE = Path(__file__).parent / "sample" / "groundling.zip"
SOURCES_NOW = (
    "Sources now: archive:EXPORT.zip or its unpacked folder (of Mastodon also .tar.gz), FILE.csv, FILE.jsonl, FILE.parquet, FILE.car, x://HANDLE, "
    "bsky://HANDLE, mastodon://USER@HOST, s3://BUCKET/KEY, and the word sample."
)
SOURCES_FILE = "sources.json"  # beside posts.jsonl in a folder that `mynah fetch` wrote
FORMS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".car": "car"}
S3 = "s3://"
BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")  # as old ones of Amazon's and other makers' stores may be called
LONGEST_KEY = 1024  # bytes, https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html

# The scheme of an address (x://); without slashes two letters at least, so that a Windows drive (C:) is none.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)|([A-Za-z][A-Za-z0-9+.-]+):")
# Accounts as each network writes them. Whatever else an address might hold, such as a password, is never recorded nor shown.
ACCOUNTS = {
    "x": (re.compile(r"@?([A-Za-z0-9_]{1,15})"), "x://HANDLE"),
    "bsky": (re.compile(r"@?([A-Za-z0-9.-]{1,253}|did:[a-z]+:[A-Za-z0-9.-]{1,240})"), "bsky://HANDLE, such as bsky://wren.bsky.social"),
    "mastodon": (re.compile(r"@?([\w.-]{1,64}@[\w.-]{1,253}(?::[0-9]{1,5})?)"), "mastodon://USER@HOST"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """One place that posts come from: a file or folder that exists, an object in S3, or an account of a network."""

    form: str  # archive, csv, jsonl, parquet, car, raw (a folder that `mynah fetch` wrote), x, bsky, mastodon
    path: Path = Path()  # of a file or folder, or what it is called in S3
    address: str = ""  # s3://…, or the account, lower-cased: "wren", "wren@example.org"

    @property
    def is_account(self) -> bool:
        """Whether it is read from a network, page by page."""
        return self.form in ACCOUNTS

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine."""
        return not self.address

    @property
    def is_sample(self) -> bool:
        """Whether it is the bundled one."""
        return self.path == SAMPLE

    @property
    def name(self) -> str:
        """The file's or folder's own name, as the person gave it (a link's target may be called anything), or the account's."""
        if self.is_account:
            return self.address
        given = self.path.name
        return printable(given if given not in ("", "..") else self.path.resolve().name)

    @property
    def label(self) -> str:
        """The form and the name, without the machine's path: safe to record and to show."""
        return f"{self.form}:{'//' if self.is_account else ''}{self.name}"

    @property
    def place(self) -> str:
        """The same for whatever names the same posts."""
        return f"{self.form}://{self.address}" if self.is_account else self.address or str(self.path.resolve())


@dataclass(frozen=True, slots=True)
class Content:
    """What an opened source holds. `posts` is called once, with a function that is told of each stretch of bytes read."""

    kind: str  # x-export, tweets-csv, csv, jsonl, parquet, x-api, bluesky, bluesky-car, mastodon, mastodon-archive
    basis: str  # own-account for an account's own export; "" where a person must say (see basis.py)
    size: int  # bytes that `posts` will read; 0 where that is not known
    posts: Callable[[Callable[[int], None]], Iterator[Post]]
    author: str = ""  # "" where each post names its own
    display_name: str = ""
    bio: str = ""
    avatar: bytes = b""  # the file of a profile picture, as a stranger made it


def parse_sources(names: Sequence[str]) -> list[Source]:
    """Each of `names` as a Source. Raises InputError when one is unknown, missing, or given twice."""
    if not names:
        raise InputError("no source given", SOURCES_NOW)
    found: dict[str, str] = {}
    sources = []
    for name in names:
        source = parse_source(name)
        if source.place in found:
            raise InputError(f"the same source is given twice: {found[source.place]!r} and {name!r}", "Name each source once.")
        found[source.place] = name
        sources.append(source)
    return sources


def parse_source(name: str) -> Source:
    """The Source that `name` means. Raises InputError when its scheme is unknown or nothing lies at its path."""
    if name == "sample":
        return Source("archive", SAMPLE)
    scheme = SCHEME.match(name)
    if scheme and scheme[2] and scheme[1] in ACCOUNTS:
        return Source(scheme[1], address=_account(scheme[1], name.removeprefix(scheme[0])))
    if name.startswith(S3):
        return _in_s3(name)
    if scheme and scheme[3] == "archive":
        path = _existing(name.removeprefix("archive:"), name)
        return Source("car" if path.suffix.lower() == ".car" and path.is_file() else "archive", path)
    if scheme and (scheme[2] or not Path(name).exists()):
        raise InputError(f"{_shown(name)[:200]!r}: there is no source {scheme[0]} in this version", SOURCES_NOW)
    path = _existing(name, name)
    if path.is_dir() and (path / POSTS_FILE).is_file() and (path / SOURCES_FILE).is_file():
        return Source("raw", path)
    return Source("archive" if path.is_dir() else FORMS.get(path.suffix.lower(), "archive"), path)


def parse_s3(address: str) -> tuple[str, str]:
    """Bucket and key of s3://BUCKET/KEY. Raises InputError when one is missing."""
    bucket, _, key = address.removeprefix(S3).partition("/")
    is_key = key and is_unicode(key) and len(key.encode()) <= LONGEST_KEY and "\0" not in key
    if not BUCKET.fullmatch(bucket) or not is_key or key.rpartition("/")[2] in (".", ".."):
        raise InputError(f"{printable(address[:200])!r} names no object", "Write s3://BUCKET/KEY.")
    return bucket, key


def printable(text: str) -> str:
    """`text` with what UTF-8 cannot carry (a lone half of a surrogate pair) replaced by U+FFFD.

    JSON may spell such a half as an escape, and a file name may hold bytes that are not UTF-8.
    """
    return text if is_unicode(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _shown(address: str) -> str:
    """`address` without what may be a secret: a password before the last @, and what follows a question mark."""
    return re.sub(r":(?!//).*@", ":…@", re.sub(r"\?.+", "?…", printable(address)))


def _account(network: str, text: str) -> str:
    pattern, example = ACCOUNTS[network]
    match = pattern.fullmatch(text)
    if not match:
        raise InputError(f"{_shown(text)[:80]!r} is no account of {network}://", f"Write {example}.")
    return match[1] if match[1].startswith("did:") else match[1].lower()


def _in_s3(address: str) -> Source:
    bucket, key = parse_s3(address)
    folder, _, name = key.rpartition("/")
    if not name:  # a folder that `mynah fetch` wrote
        return Source("raw", Path(folder.rpartition("/")[2] or bucket), address)
    return Source(FORMS.get(Path(name).suffix.lower(), "archive"), Path(name), address)


def _existing(text: str, name: str) -> Path:
    try:
        path = Path(text).expanduser()
        if text and (path.is_file() or path.is_dir()):
            return path
        problem = "is neither a file nor a folder" if text and path.exists() else "does not exist"
    except (OSError, ValueError, RuntimeError) as error:  # a NUL byte, a name too long, no permission, an unknown ~user
        problem = f"cannot be opened ({error.strerror if isinstance(error, OSError) else error})"
    raise InputError(f"source {printable(name[:200])!r} {problem}", SOURCES_NOW)
