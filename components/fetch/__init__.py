"""The first step: sources to `posts.jsonl`, with the provenance of each in `sources.json`."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.avatars import write_avatar
from components.errors import InputError
from components.events import say
from components.fetch.basis import require_agreement, require_basis
from components.fetch.provenance import Provenance as Provenance
from components.fetch.provenance import Wanted, read
from components.fetch.s3 import downloaded
from components.fetch.sources import SOURCES_FILE, SOURCES_NOW, Source, parse_sources
from components.fetch.x_price import Spend
from components.files import atomic_folder, write_json
from components.names import author_name
from components.posts import Post, write_posts

if TYPE_CHECKING:
    from components.store import Store


def fetch(
    sources: Sequence[str], out: Path, limit: int = 0, store: "Store | None" = None, basis: str = "", spend: Spend | None = None
) -> list[Provenance]:
    """Read `sources` and write `posts.jsonl`, `sources.json` and profile pictures into the folder `out`, all or nothing.

    `limit` keeps the newest so many posts of each source (0: all); `basis` (see basis.py) is for all that do not tell their own;
    `spend` is what accounts of X may cost in all. Raises InputError when a source is unknown, unsafe, damaged, or given twice, when
    nothing tells its basis, when there is no post at all, or when an author asked to be forgotten, as `store` knows; PlatformError when a
    network fails, or `out` cannot be written.
    """
    if limit < 0:
        raise InputError(f"the limit of posts is {limit}", "Give a number of posts, or 0 for all.")
    parsed = parse_sources(sources)
    require_basis(parsed, basis)
    require_agreement(parsed, limit, spend or Spend())
    if store and (accounts := [author_name(source.address) for source in parsed if source.is_account]):
        _refuse_forgotten(store, accounts)  # before anything is asked of a network, or paid
    paid = sum(source.form == "x" for source in parsed)
    with downloaded(parsed) as here:
        return _fetch(here, out, Wanted(limit, basis, _share(spend or Spend(), paid)), store)


def _share(spend: Spend, accounts: int) -> Spend:
    """What each of several accounts may cost, when `spend` is for all of them."""
    cap = spend.max_cost_usd
    return spend if cap is None or accounts < 2 else replace(spend, max_cost_usd=cap / accounts)


def _fetch(parsed: Sequence[Source], out: Path, wanted: Wanted, store: "Store | None") -> list[Provenance]:
    provenances: list[Provenance] = []
    with atomic_folder(out) as folder:
        authors: set[str] = set()

        def report(provenance: Provenance, picture: bytes) -> None:
            provenances.append(replace(provenance, avatar=write_avatar(folder, len(provenances) + 1, picture)))

        posts = itertools.chain.from_iterable(read(source, wanted, report) for source in parsed)
        write_posts(folder, _noting(authors, posts))
        if not any(provenance.posts for provenance in provenances):
            raise InputError(f"no posts in {', '.join(provenance.source for provenance in provenances)}", SOURCES_NOW)
        if store:
            _refuse_forgotten(store, sorted(authors))
        write_json(folder / SOURCES_FILE, [asdict(provenance) for provenance in provenances])
    _forget_pages(source.address for source in parsed if source.form == "x")
    for provenance in provenances:
        if not provenance.posts:
            say(f"{provenance.source} holds no posts", "warning")
    return provenances


def _forget_pages(accounts: Iterable[str]) -> None:
    """Of accounts of X: their pages were paid for, and kept until all posts were written."""
    for account in accounts:
        from components.fetch.x_pages import Pages

        Pages(account).remove_finished()


def _refuse_forgotten(store: "Store", authors: Iterable[str]) -> None:
    from components.tombstones import refuse_forgotten

    refuse_forgotten(store, authors)


def _noting(authors: set[str], posts: Iterable[Post]) -> Iterator[Post]:
    for post in posts:
        authors.add(post.author)
        yield post
