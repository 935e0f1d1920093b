"""The first step: sources to `posts.jsonl`, with the provenance of each in `sources.json`."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.avatars import MOST_BYTES, avatar_of, write_avatar
from components.errors import InputError
from components.events import progress, say, waiting
from components.fetch.archives import open_archive
from components.fetch.s3 import downloaded
from components.fetch.sources import SOURCES_FILE, SOURCES_NOW, Content, Source, parse_sources
from components.fetch.tables import read_csv, read_jsonl
from components.fetch.x_export import KIND as X_EXPORT
from components.fetch.x_export import read_export
from components.files import atomic_folder, digest, read_json, write_json
from components.posts import Post, newest, read_posts, write_posts

if TYPE_CHECKING:
    from components.store import Store

LONG_READ = 32_000_000  # bytes; what is smaller is read before a progress bar could help
PRUNE_AT = 50_000  # posts held beyond the limit before the oldest are let go


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where posts came from: one per source, written to `sources.json` as a list of objects."""

    source: str  # "archive:my-export.zip": kind and file name only, never a machine's path
    kind: str  # x-export, tweets-csv, csv or jsonl
    author: str  # several authors in one file are separated by ", "
    display_name: str
    bio: str
    posts: int
    first: str  # the oldest and the newest post, ISO 8601 in UTC, or "" where no post has a time
    last: str
    sha256: str  # of the file, or of a folder's files with their names
    fetched_at: str  # ISO 8601, UTC
    basis: str  # "own-account" for exports, "unstated" for other files
    avatar: str = ""  # "avatar-1.png", the profile picture beside sources.json; "" where there is none


def fetch(sources: Sequence[str], out: Path, limit: int = 0, store: "Store | None" = None) -> list[Provenance]:
    """Read `sources` and write `posts.jsonl`, `sources.json` and profile pictures into the folder `out`, all or nothing.

    `limit` keeps the newest so many posts of each source (0: all). Raises InputError when a source is unknown, unsafe,
    damaged, or given twice, when there is no post at all, or when an author asked to be forgotten, as `store` knows;
    PlatformError when `out` cannot be written.
    """
    if limit < 0:
        raise InputError(f"the limit of posts is {limit}", "Give a number of posts, or 0 for all.")
    with downloaded(sources) as names:
        return _fetch(parse_sources(names), out, limit, store)


def _fetch(parsed: Sequence[Source], out: Path, limit: int, store: "Store | None") -> list[Provenance]:
    provenances: list[Provenance] = []
    with atomic_folder(out) as folder:
        authors: set[str] = set()

        def report(provenance: Provenance, picture: bytes) -> None:
            provenances.append(replace(provenance, avatar=write_avatar(folder, len(provenances) + 1, picture)))

        posts = itertools.chain.from_iterable(_read(source, limit, report) for source in parsed)
        write_posts(folder, _noting(authors, posts))
        if not any(provenance.posts for provenance in provenances):
            raise InputError(f"no posts in {', '.join(provenance.source for provenance in provenances)}", SOURCES_NOW)
        if store:
            from components.tombstones import refuse_forgotten

            refuse_forgotten(store, sorted(authors))
        write_json(folder / SOURCES_FILE, [asdict(provenance) for provenance in provenances])
    for provenance in provenances:
        if not provenance.posts:
            say(f"{provenance.source} holds no posts", "warning")
    return provenances


def _noting(authors: set[str], posts: Iterable[Post]) -> Iterator[Post]:
    for post in posts:
        authors.add(post.author)
        yield post


def _read(source: Source, limit: int, report: Callable[[Provenance, bytes], None]) -> Iterator[Post]:
    """The posts of `source`, one by one; at their end, `report` gets its provenance and the file of its profile picture."""
    if source.form == "raw":  # fetched before: what was known of them then still holds
        for each in _provenances(source.path):
            report(each, _kept_picture(source.path, each))
        yield from newest(list(read_posts(source.path)), limit)
        return
    with waiting(f"Reading {source.label}"):
        sha256 = _digest(source)
    count, authors, first, last = 0, dict[str, None](), None, None
    with _opened(source) as content:
        for post in _limited(_with_progress(content, source.label), content, limit):
            count += 1
            authors[post.author] = None
            if when := post.created_at:
                first, last = min(first or when, when), max(last or when, when)
            yield post
        author = content.author or ", ".join(authors)
    report(
        Provenance(
            source=source.label,
            kind=content.kind,
            author=author,
            display_name=content.display_name,
            bio=content.bio,
            posts=count,
            first=first.isoformat() if first else "",
            last=last.isoformat() if last else "",
            sha256=sha256,
            fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
            basis=content.basis,
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


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[Content]:
    if source.form == "archive":
        with open_archive(source.path, source.name) as archive:
            yield read_export(archive, Path(source.name).stem)
    else:
        yield (read_csv if source.form == "csv" else read_jsonl)(source.path, source.name)


def _digest(source: Source) -> str:
    try:
        return digest(source.path)
    except OSError as error:
        raise InputError(f"{source.label}: cannot be read ({error.strerror})", "Make it readable.") from error


def _with_progress(content: Content, label: str) -> Iterator[Post]:
    if content.size < LONG_READ:
        yield from content.posts(lambda _: None)
        return
    with progress(f"reading {label}", content.size / 1e6, "MB") as advance:
        yield from content.posts(lambda size: advance(size / 1e6))


def _limited(posts: Iterable[Post], content: Content, limit: int) -> Iterable[Post]:
    """The newest `limit` of `posts`, holding no more than it must."""
    if not limit:
        return posts
    kept: list[Post] = []
    for post in posts:
        kept.append(post)
        # An export's ids are all numbers, so what is not among the newest now never will be; a table may change its rule.
        if content.kind == X_EXPORT and len(kept) >= limit + PRUNE_AT:
            kept = newest(kept, limit)
    return newest(kept, limit)
