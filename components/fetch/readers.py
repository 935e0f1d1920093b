"""Open a source with the reader for its form. The readers of networks are imported only when needed: they need the extra `sources`."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from components.fetch.archives.members import member_head
from components.fetch.archives.single_file import SingleFile
from components.fetch.archives.tar import is_tar, open_tar
from components.fetch.archives.zip_folder import Archive, open_archive
from components.fetch.discord.package import is_discord, open_discord
from components.fetch.foreign_exports import refuse_foreign_export, unknown_file
from components.fetch.mastodon.archive import OUTBOX, open_outbox, open_single_outbox
from components.fetch.meta.export import is_meta, open_meta
from components.fetch.reddit.export import BODY as REDDIT_TEXT
from components.fetch.reddit.export import has_authors, is_reddit, open_reddit
from components.fetch.sources import Content, Source
from components.fetch.tables.csv_jsonl import read_csv, read_jsonl
from components.fetch.tables.parquet import read_parquet
from components.fetch.tables.settings import TableSettings
from components.fetch.telegram.chat import is_telegram, open_telegram
from components.fetch.whatsapp.chat import is_whatsapp, open_whatsapp
from components.fetch.x.api_price import Budget
from components.fetch.x.export import is_modern, read_export
from components.fetch.x.export_2017 import is_old, read_old
from mynah.core.names import author_name
from mynah.core.progress import notify

OWN_EXPORTS: tuple[tuple[Callable[[Archive], bool], Callable[[Archive, str, str], Content]], ...] = (
    (is_reddit, open_reddit),
    (is_meta, open_meta),
    (is_discord, open_discord),
)
CHATS: tuple[tuple[Callable[[Archive], bool], Callable[[Archive, str], Content]], ...] = (
    (is_telegram, open_telegram),
    (is_whatsapp, open_whatsapp),
)
TABLES: dict[str, Callable[[Path, str, TableSettings], Content]] = {"csv": read_csv, "jsonl": read_jsonl, "parquet": read_parquet}


@contextlib.contextmanager
def open_source(source: Source, limit: int, budget: Budget, tables: TableSettings, author: str = "") -> Iterator[Content]:
    """Open a source for the duration of the block.

    Args:
        source: The source.
        limit: The newest posts to read of an account of X; 0 for all. Further pages are neither requested nor paid.
        budget: What an account of X may cost.
        tables: How to read a table.
        author: Whose messages are read of a chat or a table of several people; for other exports the author's name where they have none.

    Yields:
        The source's content.

    Raises:
        InputError, PlatformError: As the reader documents.
    """
    if source.form == "archive" and is_tar(source.path):
        with open_tar(source.path, source.name) as tar:
            yield open_outbox(tar)
    elif source.form == "archive" and _is_single(source.path):
        yield _of_file(source.path, source.name, author)
    elif source.form == "archive":
        with open_archive(source.path, source.name) as archive:
            yield _of_archive(archive, Path(source.name).stem, author)
    elif source.form == "csv" and is_reddit(SingleFile(source.path, source.name)):
        yield replace(open_reddit(SingleFile(source.path, source.name), Path(source.name).stem, author), basis="")
    elif source.form in TABLES:
        yield TABLES[source.form](source.path, source.name, replace(_of_posts(source, tables), author=author))
    elif source.form == "car":
        from components.fetch.bluesky.api import open_car

        yield open_car(source.path)
    elif source.form == "x":
        from components.fetch.x.api import open_timeline

        yield open_timeline(source.address, limit, budget)
    elif source.form == "bsky":
        from components.fetch.bluesky.api import open_feed

        yield open_feed(source.address)
    else:
        from components.fetch.mastodon.api import open_account

        yield open_account(source.address)


def _of_posts(source: Source, tables: TableSettings) -> TableSettings:
    """Return the settings with the column of the texts of Reddit's posts and comments, where a table of many authors has Reddit's columns."""
    if tables.columns.text or source.form != "csv" or not has_authors(SingleFile(source.path, source.name)):
        return tables
    return replace(tables, columns=replace(tables.columns, text=REDDIT_TEXT))


def _of_archive(archive: Archive, stem: str, author: str) -> Content:
    if is_modern(archive):
        return read_export(archive, stem)
    if is_old(archive):
        return read_old(archive, stem)
    if any(name.rpartition("/")[2] == OUTBOX for name in archive.names):
        return open_outbox(archive)
    if content := _of_other_export(archive, stem, author):
        return content
    refuse_foreign_export(archive)
    return read_export(archive, stem)  # which raises an error that names the missing files


def _of_other_export(archive: Archive, stem: str, author: str) -> Content | None:
    """Open the export of another network; None where it is none that Mynah knows."""
    for is_export, open_export in OWN_EXPORTS:
        if is_export(archive):
            content = open_export(archive, stem, author)
            if not author and content.author == author_name(stem):
                notify(
                    f"{archive.label}: its posts count as @{content.author}'s, after the file's name; mynah fetch --author names another"
                )
            return content
    for is_chat, open_chat in CHATS:
        if is_chat(archive):
            return open_chat(archive, author)
    return None


def _is_single(path: Path) -> bool:
    """Return whether a path is a file, and not a zip, whatever its name."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        return False  # a folder, or a file that may not be read
    return bool(start) and not start.startswith(b"PK")


def _of_file(path: Path, label: str, author: str) -> Content:
    """Open a file that was taken out of an export. Raises InputError for a file of another kind."""
    file = SingleFile(path, label)
    if content := _of_other_export(file, Path(label).stem, author):
        return content
    start = member_head(file, file.names[0])
    if '"orderedItems"' in start:
        return open_single_outbox(file, author)
    if path.suffix.lower() in (".json", ".xml", ".html"):
        refuse_foreign_export(file, with_texts=False)
    if error := unknown_file(path, label, start):
        raise error
    with open_archive(path, label) as archive:  # which raises an error that names the file's first bytes
        return _of_archive(archive, Path(label).stem, author)
