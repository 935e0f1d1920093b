"""Parse what a person names (`archive:my-export.zip`, `x://handle`, `posts.csv`, `sample`) into a source that can be opened."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.names import is_unicode
from mynah.data.posts import POSTS_FILE, Post
from mynah.data.source_records import SOURCES_FILE

SAMPLE = Path(__file__).parent / "sample" / "groundling.zip"
SUPPORTED_SOURCES = (
    "Supported sources: archive:EXPORT.zip or its unpacked folder (of X, Mastodon and its kin (also .tar.gz), Reddit, Threads, Instagram, "
    "Discord), a chat of WhatsApp or Telegram, FILE.csv, FILE.jsonl, FILE.parquet, "
    "FILE.car, x://HANDLE, bsky://HANDLE, mastodon://USER@HOST, s3://BUCKET/KEY, and the word sample."
)
FORMS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".car": "car"}
S3 = "s3://"
BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")  # also the names of old buckets, and of other vendors' stores
LONGEST_KEY = 1024  # bytes, https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html

# The scheme of an address (x://); without slashes at least two letters, so that a Windows drive (C:) is not one.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)|([A-Za-z][A-Za-z0-9+.-]+):")
# Accounts as each network writes them. Anything else in an address, such as a password, is neither recorded nor shown.
ACCOUNTS = {
    "x": (re.compile(r"@?([A-Za-z0-9_]{1,15})"), "x://HANDLE"),
    "bsky": (re.compile(r"@?([A-Za-z0-9.-]{1,253}|did:[a-z]+:[A-Za-z0-9.-]{1,240})"), "bsky://HANDLE, such as bsky://wren.bsky.social"),
    "mastodon": (re.compile(r"@?([\w.-]{1,64}@[\w.-]{1,253}(?::[0-9]{1,5})?)"), "mastodon://USER@HOST"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """Where posts come from: an existing file or folder, an object in S3, or an account on a network."""

    form: str  # archive, csv, jsonl, parquet, car, raw (a folder that `mynah fetch` wrote), x, bsky, mastodon
    path: Path = Path()  # of a file or folder; for S3 its name only
    address: str = ""  # s3://…, or the account, lower-cased: "wren", "wren@example.org"

    @property
    def is_account(self) -> bool:
        """Whether it is read from a network, page by page."""
        return self.form in ACCOUNTS

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return not self.address

    @property
    def is_sample(self) -> bool:
        """Whether it is the bundled sample."""
        return self.path == SAMPLE

    @property
    def name(self) -> str:
        """The file's or folder's own name, as the person wrote it (a link's target may have any name), or the account's."""
        if self.is_account:
            return self.address
        given = self.path.name
        return printable(given if given not in ("", "..") else self.path.resolve().name)

    @property
    def label(self) -> str:
        """Form and name, without the machine's path: safe to record and to show."""
        return f"{self.form}:{'//' if self.is_account else ''}{self.name}"

    @property
    def identity(self) -> str:
        """A string that is equal for sources of the same posts."""
        return f"{self.form}://{self.address}" if self.is_account else self.address or str(self.path.resolve())


@dataclass(frozen=True, slots=True)
class Content:
    """An opened source.

    `posts` is called once, with a function that receives the number of bytes read since its last call.
    """

    kind: str  # x-export, csv, mastodon-archive, reddit-export, …: the reader's KIND
    basis: str  # own-account for an account's own export; "" where a person must state it (consent.py)
    size: int  # bytes that `posts` will read; 0 where unknown
    posts: Callable[[Callable[[int], None]], Iterator[Post]]
    author: str = ""  # "" where each post has its own
    display_name: str = ""
    bio: str = ""
    avatar: bytes = b""  # a profile picture's file, untrusted


def parse_sources(names: Sequence[str]) -> list[Source]:
    """Parse each of `names`. Raises InputError when one is unknown, missing, or given twice."""
    if not names:
        raise InputError("no source given", SUPPORTED_SOURCES)
    names_by_identity: dict[str, str] = {}
    sources = []
    for name in names:
        source = parse_source(name)
        if source.identity in names_by_identity:
            raise InputError(
                f"the same source is given twice: {names_by_identity[source.identity]!r} and {name!r}", "Name each source once."
            )
        names_by_identity[source.identity] = name
        sources.append(source)
    return sources


def parse_source(name: str) -> Source:
    """Parse one source. Raises InputError when its scheme is unknown or its path does not exist."""
    if name == "sample":
        return Source("archive", SAMPLE)
    scheme = SCHEME.match(name)
    if scheme and scheme[2] and scheme[1] in ACCOUNTS:
        return Source(scheme[1], address=_account(scheme[1], name.removeprefix(scheme[0])))
    if name.startswith(S3):
        return _in_s3(name)
    if scheme and scheme[3] == "archive":
        path = _existing_path(name.removeprefix("archive:"), name)
        return Source("car" if path.suffix.lower() == ".car" and path.is_file() else "archive", path)
    if scheme and (scheme[2] or not Path(name).exists()):
        raise InputError(f"{_without_secrets(name)[:200]!r}: the source type {scheme[0]} is not supported", SUPPORTED_SOURCES)
    path = _existing_path(name, name)
    if path.is_dir() and (path / POSTS_FILE).is_file() and (path / SOURCES_FILE).is_file():
        return Source("raw", path)
    return Source("archive" if path.is_dir() else FORMS.get(path.suffix.lower(), "archive"), path)


def parse_s3(address: str) -> tuple[str, str]:
    """Split s3://BUCKET/KEY. Raises InputError when a part is missing or invalid."""
    bucket, _, key = address.removeprefix(S3).partition("/")
    is_valid_key = key and is_unicode(key) and len(key.encode()) <= LONGEST_KEY and "\0" not in key
    if not BUCKET.fullmatch(bucket) or not is_valid_key or key.rpartition("/")[2] in (".", ".."):
        raise InputError(f"{printable(address[:200])!r} does not name an object", "Write s3://BUCKET/KEY.")
    return bucket, key


def printable(text: str) -> str:
    """Return `text` with what UTF-8 cannot encode (a lone half of a surrogate pair) replaced by U+FFFD.

    JSON may spell such a half as an escape, and a file name may contain bytes that are not UTF-8.
    """
    return text if is_unicode(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _without_secrets(address: str) -> str:
    """Return `address` without what may be a secret: a password before the last @, and what follows a question mark."""
    return re.sub(r":(?!//).*@", ":…@", re.sub(r"\?.+", "?…", printable(address)))


def _account(network: str, text: str) -> str:
    pattern, example = ACCOUNTS[network]
    match = pattern.fullmatch(text)
    if not match:
        raise InputError(f"{_without_secrets(text)[:80]!r} is not an account of {network}://", f"Write {example}.")
    return match[1] if match[1].startswith("did:") else match[1].lower()


def _in_s3(address: str) -> Source:
    bucket, key = parse_s3(address)
    folder, _, name = key.rpartition("/")
    if not name:  # a folder that `mynah fetch` wrote
        return Source("raw", Path(folder.rpartition("/")[2] or bucket), address)
    return Source(FORMS.get(Path(name).suffix.lower(), "archive"), Path(name), address)


def _existing_path(text: str, name: str) -> Path:
    try:
        path = Path(text).expanduser()
        if text and (path.is_file() or path.is_dir()):
            return path
        problem = "is neither a file nor a folder" if text and path.exists() else "does not exist"
    except (OSError, ValueError, RuntimeError) as error:  # a NUL byte, a name too long, no permission, an unknown ~user
        problem = f"cannot be opened ({error.strerror if isinstance(error, OSError) else error})"
    raise InputError(f"source {printable(name[:200])!r} {problem}", SUPPORTED_SOURCES)
