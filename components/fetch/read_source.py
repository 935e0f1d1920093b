"""Read the posts of a source one by one, and record their provenance."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from components.fetch.consent import basis_of, require_basis_of_content
from components.fetch.readers import open_source
from components.fetch.sources import Content, Source
from components.fetch.tables.settings import TableSettings
from components.fetch.x.api_price import Budget
from components.fetch.x.export import KIND as X_EXPORT
from mynah.core.errors import InputError
from mynah.core.files import digest
from mynah.core.progress import notify, progress, waiting
from mynah.data.avatars import MAX_BYTES, avatar_file
from mynah.data.posts import Post, is_order_known, newest, read_posts
from mynah.data.source_records import SourceRecord, read_sources

LONG_READ = 32_000_000  # bytes; a smaller source is read before a progress bar could help
PRUNE_AT = 50_000  # posts held beyond the limit before the oldest are dropped


@dataclass(frozen=True, slots=True)
class FetchSelection:
    """What to read of each source, on what basis, and at what cost."""

    limit: int  # the newest posts to keep; 0: all
    basis: str  # for sources that do not state their own
    budget: Budget  # for each account of X
    author: str = ""  # whose posts are read of a chat or a table of several people, and who is the author where none is named
    tables: TableSettings = field(default_factory=TableSettings)


class PostStatistics:
    """Counts posts that pass through `count`."""

    def __init__(self, hashes: bool) -> None:
        self.kinds: Counter[str] = Counter()
        self.authors: dict[str, None] = {}  # a set that keeps the order
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._hash = hashlib.sha256() if hashes else None

    def count(self, posts: Iterable[Post]) -> Iterator[Post]:
        """Yield `posts`, counting them."""
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
        """Digest of the posts, one line of JSON each."""
        return self._hash.hexdigest() if self._hash else ""


def read_source(source: Source, selection: FetchSelection, report: Callable[[SourceRecord, bytes], None]) -> Iterator[Post]:
    """Yield the posts of a source.

    Args:
        source: The source.
        selection: What to read of it.
        report: Called at the end with the provenance and the profile picture's file.

    Yields:
        The posts.

    Raises:
        InputError, PlatformError: As the source's reader documents.
    """
    if source.form == "raw":  # fetched before: their recorded provenance is still valid
        for record in read_sources(source.path):
            report(record, _avatar(source.path, record))
        yield from newest(list(read_posts(source.path)), selection.limit)
        return
    statistics = PostStatistics(source.is_account)
    with open_source(source, selection.limit, selection.budget, selection.tables, selection.author) as content:
        require_basis_of_content(source, content, selection.basis)
        sha256 = "" if source.is_account else _digest(source)  # after open_source has accepted it: a person may name any folder
        yield from statistics.count(_limited(_with_progress(content, source), content, source, selection.limit))
    report(
        SourceRecord(
            source=source.label,
            kind=content.kind,
            author=content.author or ", ".join(statistics.authors),
            display_name=content.display_name,
            bio=content.bio,
            posts=statistics.kinds.total(),
            first=statistics.first.isoformat() if statistics.first else "",
            last=statistics.last.isoformat() if statistics.last else "",
            sha256=sha256 or statistics.sha256,
            fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
            basis=basis_of(source, selection.basis),
            counts=dict(sorted(statistics.kinds.items())),
        ),
        content.avatar,
    )


def _avatar(raw: Path, source: SourceRecord) -> bytes:
    path = avatar_file(raw, source.avatar)
    if not path or path.stat().st_size > MAX_BYTES:
        return b""
    return path.read_bytes()


def _digest(source: Source) -> str:
    try:
        with waiting(f"Reading {source.label}"):
            return digest(source.path)
    except OSError as error:
        raise InputError(f"{source.label}: cannot be read ({error.strerror})", "Make it readable.") from error


def _with_progress(content: Content, source: Source) -> Iterator[Post]:
    if source.is_account:  # of unknown length
        with waiting(f"Reading {source.label}"):
            yield from content.posts(lambda _: None)
    elif content.size < LONG_READ:
        yield from content.posts(lambda _: None)
    else:
        with progress(f"reading {source.label}", content.size / 1e6, "MB") as advance:
            yield from content.posts(lambda size: advance(size / 1e6))


def _limited(posts: Iterable[Post], content: Content, source: Source, limit: int) -> Iterable[Post]:
    """Return the newest posts, holding as few in memory as possible.

    Args:
        posts: The posts.
        content: The opened source that they are from.
        source: The source.
        limit: How many to return; 0 for all.

    Returns:
        The posts in their order.
    """
    if not limit or source.form == "x":  # its reader knows the limit, and caches what was paid for until the end
        return posts
    if source.is_account:  # newest first, page by page: further pages are not requested
        return itertools.islice(posts, limit)
    kept: list[Post] = []
    for post in posts:
        kept.append(post)
        # An export's ids are all numbers, so a dropped post could never return; a table's ids may be of several kinds.
        if content.kind == X_EXPORT and len(kept) >= limit + PRUNE_AT:
            kept = newest(kept, limit)
    if len(kept) > limit and not is_order_known(kept):
        notify(
            f"{source.label}: some posts have neither a number as their id nor a time, and count as the oldest, in the order given",
            "warning",
        )
    return newest(kept, limit)
