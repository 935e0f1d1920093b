"""Posts from a CSV or JSONL file, a line at a time."""

import csv
import functools
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.errors import InputError
from components.fetch.json_parts import identity, typed
from components.fetch.sources import Content, printable
from components.fetch.x_export import created_at, is_status_link
from components.names import author_name
from components.posts import Kind, Post

LONGEST_LINE = 4 << 20  # bytes
LONGEST_ID = 200  # characters
TWEETS_CSV = {"tweet_id", "timestamp", "text", "retweeted_status_id"}  # the columns of X's own tweets.csv (to 2019)
IDS = ("id", "tweet_id")
AUTHORS = ("author", "username", "screen_name")
TIMES = ("created_at", "timestamp", "date")
LANGUAGES = ("language", "lang")
POST_FIELDS = {field.name for field in fields(Post)}
Advance = Callable[[int], None]


def read_csv(path: Path, label: str) -> Content:
    """The rows of a CSV with a header; `label` names the file in messages. Raises InputError naming the line."""
    header = next(_rows(path, label, _ignore))[1]
    columns = [column.strip().lower() for column in header]
    if "text" not in columns:
        found = ", ".join(printable(column)[:40] for column in header[:30])
        raise InputError(
            f"{label}: has no column `text`; its columns are: {found}", "Name one column `text`, separated by commas."
        )
    twice = next((column for column in columns if column and columns.count(column) > 1), "")
    if twice:
        raise InputError(f"{label}, line 1: has two columns {printable(twice)[:40]!r}", "Rename one of them.")
    kind = "tweets-csv" if set(columns) >= TWEETS_CSV else "csv"
    return Content(kind, "unstated", path.stat().st_size, functools.partial(_csv_posts, path, label, columns, kind))


def read_jsonl(path: Path, label: str) -> Content:
    """The objects of a JSONL file; `label` names the file in messages. Raises InputError naming the line."""
    return Content("jsonl", "unstated", path.stat().st_size, functools.partial(_jsonl_posts, path, label))


def _csv_posts(path: Path, label: str, columns: list[str], kind: str, advance: Advance) -> Iterator[Post]:
    author = author_name(path.stem)
    rows = _rows(path, label, advance)
    next(rows)  # the header
    for number, (line, row) in enumerate(rows, 1):
        place = f"{label}, line {line}"
        if any(row[len(columns) :]):
            problem = f"{place}: has {len(row)} fields, and the header has {len(columns)}"
            raise InputError(problem, "Put texts that hold commas between double quotes.")
        record = dict(zip(columns, row, strict=False))
        if "text" not in record:
            raise InputError(f"{place}: ends before the column `text`", "Complete or remove that line.")
        if kind == "tweets-csv":
            record["kind"] = _tweet_kind(record)
        yield _post(record, place, number, author, kind)


def _jsonl_posts(path: Path, label: str, advance: Advance) -> Iterator[Post]:
    author = author_name(path.stem)
    number = 0
    for line, text in enumerate(_lines(path, label, advance), 1):
        place = f"{label}, line {line}"
        if not text.strip():
            continue
        number += 1
        try:
            value = json.loads(text)
        except RecursionError as error:
            raise InputError(f"{place}: is nested too deeply", "Write one flat object a line.") from error
        except ValueError as error:  # not JSON, or a number of more than 4,300 digits
            raise InputError(f"{place}: is not valid JSON ({error})", "Write one JSON object a line.") from error
        record = typed(value, dict, "the line", place)
        # Only a file that mynah wrote says in `source` which door a post came through; others mean an app or a site.
        own = record.keys() == POST_FIELDS and isinstance(record["source"], str)
        yield _post(record, place, number, author, str(record["source"]) if own else "jsonl")


def _post(record: dict[str, Any], place: str, number: int, author: str, source: str) -> Post:
    text = printable(typed(record.get("text"), str, "text", place))
    own_id = identity(_first(record, IDS, f"row-{number}"), "id", place)
    if len(own_id) > LONGEST_ID:
        raise InputError(f"{place}: the id has {len(own_id)} characters, and {LONGEST_ID} is the most", "Shorten or remove it.")
    named = typed(_first(record, AUTHORS, ""), str, "the author", place)
    return Post(
        id=printable(own_id),
        author=author_name(printable(named)) if named else author,
        text=text,
        created_at=_time(_first(record, TIMES, "")),
        kind=_kind(record.get("kind"), text, place),
        language=printable(typed(_first(record, LANGUAGES, ""), str, "language", place)),
        source=printable(source),
    )


def _first(record: dict[str, Any], names: tuple[str, ...], default: object) -> object:
    """The first of the fields `names` that says something."""
    return next((record[name] for name in names if record.get(name) not in (None, "")), default)


def _kind(value: object, text: str, place: str) -> Kind:
    if value in (None, ""):
        return Kind.REPOST if text.startswith("RT @") else Kind.ORIGINAL
    try:
        return Kind(typed(value, str, "kind", place).strip().lower())
    except ValueError as error:
        problem = f"{place}: kind {printable(str(value))[:80]!r} is none of {', '.join(Kind)}"
        raise InputError(problem, "Write one of these, or leave it empty.") from error


def _tweet_kind(record: dict[str, str]) -> str:
    if record.get("retweeted_status_id") or record["text"].startswith("RT @"):
        return Kind.REPOST
    if record.get("in_reply_to_status_id") or record.get("in_reply_to_user_id"):
        return Kind.REPLY
    links = record.get("expanded_urls", "").split(",")
    return Kind.QUOTE if any(is_status_link(link.strip()) for link in links) else Kind.ORIGINAL


def _time(value: object) -> datetime | None:
    """An ISO 8601 time (also "2017-01-01 21:48:41 +0000") or X's own, in UTC; None where it is neither. Without a zone: UTC."""
    if not isinstance(value, str):
        return None
    text = value.strip()
    try:
        when = datetime.fromisoformat(text.replace(" +", "+").replace(" -", "-"))
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        return created_at(text)


def _rows(path: Path, label: str, advance: Advance) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold something, each with the number of its last line."""
    with closing(_lines(path, label, advance)) as lines:
        reader = csv.reader(lines, strict=True)
        try:
            for row in reader:
                if any(row):
                    yield reader.line_num, row
        except csv.Error as error:
            raise InputError(
                f"{label}, line {reader.line_num}: is not valid CSV ({error})",
                'Close every quote, and write a quote inside a field twice ("").',
            ) from error
    if not reader.line_num:
        raise InputError(f"{label}: is empty", "Name a file that holds posts.")


def _lines(path: Path, label: str, advance: Advance) -> Generator[str, None, None]:
    number = position = 0
    try:
        with path.open("rb") as file:
            while raw := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(raw) > LONGEST_LINE:
                    raise InputError(f"{label}, line {number}: is longer than {LONGEST_LINE} bytes", "Is it a file of posts?")
                yield _decoded(raw, f"{label}, line {number}", position)
                position += len(raw)
                advance(len(raw))
    except OSError as error:
        raise InputError(f"{label}: cannot be read ({error.strerror})", "Make the file readable.") from error


def _decoded(raw: bytes, place: str, position: int) -> str:
    """The line `raw`, which begins at byte `position` of its file."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{place}, byte {position + error.start}: is not UTF-8 ({error.reason})", "Save it as UTF-8.") from error
    if "\0" in text:
        raise InputError(f"{place}, byte {position + raw.index(0)}: holds a NUL byte", "Save it as plain UTF-8 text.")
    return text if position else text.removeprefix("\ufeff")


def _ignore(_: int) -> None:
    """For the header, whose bytes are read again with the rows."""
