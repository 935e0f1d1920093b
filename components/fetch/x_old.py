"""The export of an X account before 2019: `data/js/tweets/YYYY_MM.js`, a file for each month, and the same posts as `tweets.csv`.

The months say more (what the texts mark, who is repeated), so that the table is read only where they are not there.
"""

import re
from collections.abc import Callable, Iterator

from components.errors import InputError
from components.fetch.archives import Archive
from components.fetch.json_parts import identity, typed
from components.fetch.sources import Content, printable
from components.fetch.tables import csv_content
from components.fetch.x_export import KIND, counted, elements_in, object_in
from components.fetch.x_tweets import Account, post_of
from components.names import author_name
from components.posts import Post

MONTH = re.compile(r"((?:[^/]+/)?)data/js/tweets/[0-9]{4}_[0-9]{2}\.js")
TABLE = re.compile(r"((?:[^/]+/)?)tweets\.csv")


def is_old(archive: Archive) -> bool:
    """Whether an archive is an export of the old form."""
    return any(MONTH.fullmatch(name) or TABLE.fullmatch(name) for name in archive.names)


def read_old(archive: Archive, stem: str) -> Content:
    """What an old export holds; its author as in `read_export`. Raises InputError naming the member that is damaged."""
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
            lambda advance: counted(archive, table, advance), archive.size(table), f"{archive.label}, {table}", account
        )
        return Content(KIND, "own-account", content.size, content.posts, account.author, name, bio)

    def posts(advance: Callable[[int], None]) -> Iterator[Post]:
        for month in months:
            for at, element in elements_in(archive, month, advance):
                yield post_of(element, at, account, [], KIND)

    return Content(KIND, "own-account", sum(map(archive.size, months)), posts, account.author, name, bio)


def _months(archive: Archive) -> tuple[str, list[str]]:
    """The folder that an export lies in, and its months in order; none where it has but a table."""
    found = {name: match[1] for pattern in (MONTH, TABLE) for name in archive.names if (match := pattern.fullmatch(name))}
    tops = sorted(set(found.values()))
    if len(tops) > 1:
        raise InputError(f"{archive.label}: holds several exports ({', '.join(tops[:3])})", "Give each as a source of its own.")
    return tops[0], sorted(name for name in found if MONTH.fullmatch(name))
