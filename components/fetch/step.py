"""fetch: read sources into `posts.jsonl`, with the provenance of each in `sources.json`."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.fetch.consent import require_agreement, require_basis
from components.fetch.read_source import FetchSelection, read_source
from components.fetch.s3_sources import download_sources
from components.fetch.sources import SUPPORTED_SOURCES, Source, parse_sources
from components.fetch.tables.columns import TableColumns
from components.fetch.tables.settings import TableSettings
from components.fetch.x.api_pages import PageCache
from components.fetch.x.api_price import Budget
from mynah.core.errors import InputError
from mynah.core.files import atomic_folder, refuse_foreign_folder
from mynah.core.names import author_name
from mynah.core.progress import notify
from mynah.data.avatars import write_avatar
from mynah.data.posts import Post, write_posts
from mynah.data.source_records import SourceRecord, write_sources
from mynah.mlflow_client.store import work_folders
from mynah.registry.forgotten_authors import read_forgotten, refuse_forgotten

if TYPE_CHECKING:
    from mynah.mlflow_client.store import Store


def fetch(
    sources: Sequence[str],
    out: Path,
    limit: int = 0,
    store: "Store | None" = None,
    basis: str = "",
    budget: Budget | None = None,
    author: str = "",
    columns: TableColumns | None = None,
) -> list[SourceRecord]:
    """Read sources and write `posts.jsonl`, `sources.json` and profile pictures, all or nothing.

    Args:
        sources: What a person names, such as "x://wren" or "posts.csv".
        out: The folder to write.
        limit: The newest posts to keep of each source; 0 for all.
        store: Knows which authors asked to be forgotten; None to check none.
        basis: On what basis posts may be used (consent.py), for sources that do not state their own.
        budget: What all accounts of X may cost together.
        author: Whose messages are read of a chat, and whose rows of a table of several authors; for other sources the author's name where
            they have none.
        columns: The columns of tables that a person names; None for those that are found by their names.

    Returns:
        The provenance of each source.

    Raises:
        InputError: A source is unknown, unsafe, damaged, given twice, or without a basis; there are no posts at all; the newest posts
            of a table cannot be told; an author asked to be forgotten; or `out` overlaps a source or must not be replaced.
        PlatformError: A network failed, or `out` cannot be written.
    """
    if limit < 0:
        raise InputError(f"the limit of posts is {limit}", "Give a number of posts, or 0 for all.")
    parsed = parse_sources(sources)
    require_basis(parsed, basis)
    require_agreement(parsed, limit, budget or Budget())
    refuse_foreign_folder(out, [source.path for source in parsed if source.is_local], work_folders(store))
    if store and (accounts := [author_name(source.address) for source in parsed if source.is_account]):
        refuse_forgotten(store, accounts)  # before any request or payment
    paid = sum(source.form == "x" for source in parsed)
    tables = TableSettings(columns or TableColumns(), limit > 0, read_forgotten(store))
    with download_sources(parsed) as local:
        selection = FetchSelection(limit, basis, _share(budget or Budget(), paid), author, tables)
        return _fetch(local, out, selection, store)


def _share(budget: Budget, accounts: int) -> Budget:
    """Divide a budget for all accounts among them."""
    max_cost = budget.max_cost_usd
    return budget if max_cost is None or accounts < 2 else replace(budget, max_cost_usd=max_cost / accounts)


def _fetch(parsed: Sequence[Source], out: Path, selection: FetchSelection, store: "Store | None") -> list[SourceRecord]:
    records: list[SourceRecord] = []
    with atomic_folder(out, [source.path for source in parsed if source.is_local], work_folders(store)) as folder:
        authors: set[str] = set()

        def report(source: SourceRecord, picture: bytes) -> None:
            records.append(replace(source, avatar=write_avatar(folder, len(records) + 1, picture)))

        posts = itertools.chain.from_iterable(read_source(source, selection, report) for source in parsed)
        write_posts(folder, _collect_authors(authors, posts))
        if not any(source.posts for source in records):
            raise InputError(f"no posts in {', '.join(source.source for source in records)}", SUPPORTED_SOURCES)
        if store:
            refuse_forgotten(store, sorted(authors))
        write_sources(folder, records)
    _remove_pages(source.address for source in parsed if source.form == "x")
    for source in records:
        if not source.posts:
            notify(f"{source.source} contains no posts", "warning")
    return records


def _remove_pages(accounts: Iterable[str]) -> None:
    """Remove the cached pages of accounts of X: they were paid for, and kept until all posts were written."""
    for account in accounts:
        PageCache(account).remove_finished()


def _collect_authors(authors: set[str], posts: Iterable[Post]) -> Iterator[Post]:
    for post in posts:
        authors.add(post.author)
        yield post
