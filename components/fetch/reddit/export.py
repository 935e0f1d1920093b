"""Read the data that Reddit sends on request (https://www.reddit.com/settings/data-request): `comments.csv` and `posts.csv`.

Both have an id, a date, a subreddit and a body in Markdown; posts also have a title, and comments the comment that they answer. Of the other
files only `statistics.csv` is opened, which names the account: messages, votes and IP addresses are beside them.
"""

import functools
import re
from collections.abc import Callable, Collection, Iterator

from components.fetch import untrusted_json
from components.fetch.archives.csv_records import csv_records
from components.fetch.archives.members import find_members, member_head
from components.fetch.archives.zip_folder import Archive
from components.fetch.own_words import DELETED, without_quoted_lines
from components.fetch.skipped_posts import usable_posts
from components.fetch.sources import Content, printable
from components.fetch.tables.column_names import Role, role_of
from mynah.core.errors import InputError
from mynah.core.names import author_name
from mynah.data.posts import Kind, Post

KIND = "reddit-export"
MEMBER = re.compile(r"(?:[^/]+/){0,8}(comments|posts)\.csv", re.IGNORECASE)
STATISTICS = re.compile(r"(?:[^/]+/){0,8}statistics\.csv", re.IGNORECASE)
BODY = "body"
COLUMNS = {"id", "permalink", "date", "subreddit", BODY}
FULL_NAME = {
    "comments": "t1_",
    "posts": "t3_",
}  # prefixes of ids, which are counted apart: https://www.reddit.com/dev/api/#fullnames
ARCHIVE_NAME = re.compile(r"export_([A-Za-z0-9_-]{2,30})_[0-9]{8}.*")
MAX_ID_CHARACTERS = 200
NO_BODY = "it has no text"


def is_reddit(archive: Archive) -> bool:
    """Return whether an archive has comments.csv or posts.csv with Reddit's columns."""
    return bool(_tables(archive))


def open_reddit(archive: Archive, stem: str, author: str) -> Content:
    """Open an export.

    Args:
        archive: The export.
        stem: The file's name, which has the author's where Reddit named it.
        author: The author's name where the export has none.

    Returns:
        The comments and posts.

    Raises:
        InputError: A file is damaged.
    """
    tables = _tables(archive)
    named = ARCHIVE_NAME.fullmatch(stem)
    name = author_name(_account(archive) or author or (named[1] if named else stem))

    def posts(advance: Callable[[int], None]) -> Iterator[Post]:
        own = {
            f"{FULL_NAME[_what(table)]}{row.get('id')}"
            for table in tables
            for _, row in csv_records(archive, table, advance)
            if isinstance(row, dict)
        }
        conversions = (
            functools.partial(_post, _what(table), row, place, name, own)
            for table in tables
            for place, row in csv_records(archive, table, advance)
            if isinstance(row, InputError) or _is_written(row)
        )
        yield from usable_posts(archive.label, conversions)

    return Content(KIND, "own-account", 2 * sum(map(archive.size, tables)), posts, name)


def has_authors(archive: Archive) -> bool:
    """Return whether an archive has a table with the columns of Reddit's export and one of authors: then it is of many people, and no export."""
    return any(_is_of_many(_columns(archive, name)) for name in find_members(archive, MEMBER))


def _tables(archive: Archive) -> list[str]:
    columns = {name: _columns(archive, name) for name in find_members(archive, MEMBER)}
    return [name for name, found in columns.items() if found >= COLUMNS and not _is_of_many(found)]


def _columns(archive: Archive, table: str) -> set[str]:
    header = member_head(archive, table).partition("\n")[0]
    return {column.strip().strip('"').lower() for column in header.split(",")}


def _is_of_many(columns: set[str]) -> bool:
    return columns >= COLUMNS and any(role_of(column)[0] is Role.AUTHOR for column in columns)


def _what(table: str) -> str:
    return "comments" if table.lower().endswith("comments.csv") else "posts"


def _account(archive: Archive) -> str:
    """Return the account's name, a row of statistics.csv; "" where there is none."""
    for table in find_members(archive, STATISTICS):
        for _, row in csv_records(archive, table, lambda _: None):
            if isinstance(row, dict) and row.get("statistic", "").strip().lower() in ("account name", "username"):
                return row.get("value", "").strip()
    return ""


def _is_written(row: dict[str, str]) -> bool:
    """Return whether a row has a text that was not deleted."""
    return row.get("body", "").strip() not in DELETED and bool(row.get("body", "").strip() or row.get("title", "").strip())


def _post(what: str, row: dict[str, str] | InputError, place: str, author: str, own: Collection[str]) -> Post:
    if isinstance(row, InputError):
        raise row
    number = row.get("id", "").strip()
    if not number or len(number) > MAX_ID_CHARACTERS:
        raise InputError(f"{place}: has no id", "Correct or remove that row.")
    body = without_quoted_lines(row.get("body", ""))
    title = row.get("title", "").strip()
    parent = row.get("parent", "").strip().removeprefix("t1_")[:MAX_ID_CHARACTERS]
    answered = f"t1_{parent}" if parent and not parent.startswith("t3_") else _post_of_link(row.get("link", ""))
    return Post(
        id=printable(f"{FULL_NAME[what]}{number.removeprefix(FULL_NAME[what])}"),
        author=author,
        text=printable("\n\n".join(filter(None, (title, body)))),
        created_at=untrusted_json.parse_time(row.get("date", "").strip().removesuffix(" UTC")),
        kind=Kind.REPLY if what == "comments" else Kind.ORIGINAL,
        source=KIND,
        reply_to=printable(answered) if what == "comments" else "",
        reply_to_self=what == "comments" and answered in own,
    )


def _post_of_link(link: str) -> str:
    """Return the full name of the post in https://www.reddit.com/r/birds/comments/abc12/…; "" for another link."""
    match = re.search(r"/comments/([0-9a-z]{1,13})", link)
    return f"t3_{match[1]}" if match else ""
