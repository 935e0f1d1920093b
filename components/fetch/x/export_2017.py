"""Read the export of an X account before 2019: `data/js/tweets/YYYY_MM.js`, a file for each month, and the same posts as `tweets.csv`.

The months hold more (entities, reposted authors), so the table is read only where they are missing.
"""

import functools
import re
from collections.abc import Callable, Iterator

from components.fetch.archives.zip_folder import Archive
from components.fetch.skipped_posts import usable_posts
from components.fetch.sources import Content, printable
from components.fetch.tables.csv_jsonl import csv_content
from components.fetch.tables.settings import Table
from components.fetch.x.export import KIND, counted, elements_in, object_in
from components.fetch.x.export_json import identity, typed
from components.fetch.x.export_tweets import Account, post_of
from mynah.core.errors import InputError
from mynah.core.names import author_name
from mynah.data.posts import Post

MONTH = re.compile(r"((?:[^/]+/){0,8})data/js/tweets/[0-9]{4}_[0-9]{2}\.js")
TABLE = re.compile(r"((?:[^/]+/){0,8})tweets\.csv")


def is_old(archive: Archive) -> bool:
    """Return whether an archive is an export of the old form."""
    return any(MONTH.fullmatch(name) or TABLE.fullmatch(name) for name in archive.names)


def read_old(archive: Archive, stem: str) -> Content:
    """Open an old export; its author as in `read_export`. Raises InputError naming the member that is damaged."""
    top, months = _months(archive)
    details, place = f"{top}data/js/user_details.js", f"{archive.label}, {top}data/js/user_details.js"
    user = object_in(archive, details)
    handle = typed(user.get("screen_name") or "", str, "screen_name", place)
    account = Account(author_name(handle or stem), identity(user.get("id") or "", "id", place))
    name = printable(typed(user.get("full_name") or "", str, "full_name", place))
    bio = printable(typed(user.get("bio") or "", str, "bio", place))
    if not months:
        table = f"{top}tweets.csv"
        content = csv_content(
            lambda advance: counted(archive, table, advance),
            archive.size(table),
            Table(f"{archive.label}, {table}", account, is_export=True),
        )
        return Content(KIND, "own-account", content.size, content.posts, account.author, name, bio)

    def posts(advance: Callable[[int], None]) -> Iterator[Post]:
        conversions = (
            functools.partial(post_of, element, position, account, [], KIND)
            for month in months
            for position, element in elements_in(archive, month, advance)
        )
        yield from usable_posts(archive.label, conversions)

    return Content(KIND, "own-account", sum(map(archive.size, months)), posts, account.author, name, bio)


def _months(archive: Archive) -> tuple[str, list[str]]:
    """Return the folder of the export, and its months in order; no months where it has only a table."""
    folders = {name: match[1] for pattern in (MONTH, TABLE) for name in archive.names if (match := pattern.fullmatch(name))}
    tops = sorted(set(folders.values()))
    if len(tops) > 1:
        raise InputError(
            f"{archive.label}: contains several exports ({', '.join(tops[:3])})", "Give each as a source of its own."
        )
    return tops[0], sorted(name for name in folders if MONTH.fullmatch(name))
