"""The posts of a source, one by one, and what is kept of where they came from."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from components.avatars import MOST_BYTES, avatar_of
from components.errors import InputError
from components.events import progress, waiting
from components.fetch.basis import basis_of
from components.fetch.doors import opened
from components.fetch.sources import SOURCES_FILE, Content, Source
from components.fetch.x_export import KIND as X_EXPORT
from components.fetch.x_price import Spend
from components.files import digest, read_json
from components.posts import Post, newest, read_posts

LONG_READ = 32_000_000  # bytes; what is smaller is read before a progress bar could help
PRUNE_AT = 50_000  # posts held beyond the limit before the oldest are let go


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where posts came from: one per source, written to `sources.json` as a list of objects."""

    source: str  # "archive:my-export.zip", "x://wren": form and file name or account only, never a machine's path
    kind: str  # x-export, tweets-csv, csv, jsonl, parquet, x-api, bluesky, bluesky-car, mastodon or mastodon-archive
    author: str  # several authors in one file are separated by ", "
    display_name: str
    bio: str
    posts: int
    first: str  # the oldest and the newest post, ISO 8601 in UTC, or "" where no post has a time
    last: str
    sha256: str  # of the file, or of a folder's files with their names; of an account the posts that it gave
    fetched_at: str  # ISO 8601, UTC
    basis: str  # own-account, permission or public-figure-research
    avatar: str = ""  # "avatar-1.png", the profile picture beside sources.json; "" where there is none
    counts: dict[str, int] = field(default_factory=dict)  # of the posts, by their kind: original, reply, quote, repost


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of each source is wanted, on what basis, and for how much."""

    limit: int  # the newest so many posts; 0: all
    basis: str  # where a source does not tell its own
    spend: Spend  # on an account of X


class Tally:
    """Counts posts while they pass."""

    def __init__(self, hashes: bool) -> None:
        self.kinds: Counter[str] = Counter()
        self.authors: dict[str, None] = {}  # a set that keeps the order
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._hash = hashlib.sha256() if hashes else None

    def passing(self, posts: Iterable[Post]) -> Iterator[Post]:
        """`posts`, counted."""
        for post in posts:
            self.kinds[post.kind.value] += 1
            self.authors[post.author] = None
            if when := post.created_at:
                self.first, self.last = min(self.first or when, when), max(self.last or when, when)
            if self._hash:
                self._hash.update(json.dumps(post.to_record(), sort_keys=True).encode() + b"\n")
            yield post

    @property
    def sha256(self) -> str:
        """Of the posts, a line of JSON each."""
        return self._hash.hexdigest() if self._hash else ""


def read(source: Source, wanted: Wanted, report: Callable[[Provenance, bytes], None]) -> Iterator[Post]:
    """The posts of `source`, one by one; at their end, `report` gets its provenance and the file of its profile picture."""
    if source.form == "raw":  # fetched before: what was known of them then still holds
        for each in _provenances(source.path):
            report(each, _kept_picture(source.path, each))
        yield from newest(list(read_posts(source.path)), wanted.limit)
        return
    tally = Tally(source.is_account)
    with opened(source, wanted.limit, wanted.spend) as content:
        sha256 = "" if source.is_account else _digest(source)  # once it is known to be a source: any folder may be named
        yield from tally.passing(_limited(_with_progress(content, source), content, source, wanted.limit))
    report(
        Provenance(
            source=source.label,
            kind=content.kind,
            author=content.author or ", ".join(tally.authors),
            display_name=content.display_name,
            bio=content.bio,
            posts=tally.kinds.total(),
            first=tally.first.isoformat() if tally.first else "",
            last=tally.last.isoformat() if tally.last else "",
            sha256=sha256 or tally.sha256,
            fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
            basis=basis_of(source, wanted.basis),
            counts=dict(sorted(tally.kinds.items())),
        ),
        content.avatar,
    )


def _provenances(raw: Path) -> list[Provenance]:
    """The provenances in a folder that `fetch` wrote. Raises InputError when its sources.json is none."""
    path = raw / SOURCES_FILE
    try:
        return [Provenance(**record) for record in read_json(path, "fetch")]
    except TypeError as error:
        raise InputError(f"{path} is not what `mynah fetch` writes ({error})", "Run `mynah fetch` again.") from error


def _kept_picture(raw: Path, provenance: Provenance) -> bytes:
    path = avatar_of(raw, asdict(provenance))
    if not path or path.stat().st_size > MOST_BYTES:
        return b""
    return path.read_bytes()


def _digest(source: Source) -> str:
    try:
        with waiting(f"Reading {source.label}"):
            return digest(source.path)
    except OSError as error:
        raise InputError(f"{source.label}: cannot be read ({error.strerror})", "Make it readable.") from error


def _with_progress(content: Content, source: Source) -> Iterator[Post]:
    if source.is_account:  # nobody knows how many there are
        with waiting(f"Reading {source.label}"):
            yield from content.posts(lambda _: None)
    elif content.size < LONG_READ:
        yield from content.posts(lambda _: None)
    else:
        with progress(f"reading {source.label}", content.size / 1e6, "MB") as advance:
            yield from content.posts(lambda size: advance(size / 1e6))


def _limited(posts: Iterable[Post], content: Content, source: Source, limit: int) -> Iterable[Post]:
    """The newest `limit` of `posts`, holding no more than it must."""
    if not limit or source.form == "x":  # whose door knows the limit, and keeps what was paid for until it is through
        return posts
    if source.is_account:  # newest first, page by page: the rest is not asked for
        return itertools.islice(posts, limit)
    kept: list[Post] = []
    for post in posts:
        kept.append(post)
        # An export's ids are all numbers, so what is not among the newest now never will be; a table may change its rule.
        if content.kind == X_EXPORT and len(kept) >= limit + PRUNE_AT:
            kept = newest(kept, limit)
    return newest(kept, limit)
