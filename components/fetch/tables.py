"""Posts from a CSV or JSONL file, a line at a time."""

import csv
import functools
import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from components.errors import InputError
from components.fetch import shapes
from components.fetch.rows import TWEETS_CSV, row_post, typed
from components.fetch.sources import Content, printable
from components.fetch.x_tweets import Account
from components.names import author_name
from components.posts import Post

CHUNK = 1 << 20  # bytes
LONGEST_LINE = 4 << 20  # bytes
CLOSE = 'Close every quote, and write a quote inside a field twice ("").'
CSV_FIXES = {
    "new-line character": "Save it with line ends of Unix or Windows (LF or CRLF).",
    "field limit": f"A field may have {csv.field_size_limit():,} characters. {CLOSE}",
}
Advance = Callable[[int], None]
Chunks = Callable[[Advance], Generator[bytes, None, None]]  # of a table; each is told to the function given


def read_csv(path: Path, label: str) -> Content:
    """The rows of a CSV with a header; `label` names the file in messages. Raises InputError naming the line."""
    return csv_content(functools.partial(_chunks, path, label), path.stat().st_size, label, Account(author_name(path.stem)))


def read_jsonl(path: Path, label: str) -> Content:
    """The objects of a JSONL file; `label` names the file in messages. Raises InputError naming the line."""
    account, chunks = Account(author_name(path.stem)), functools.partial(_chunks, path, label)
    return Content("jsonl", "", path.stat().st_size, functools.partial(_jsonl_posts, chunks, label, account))


def csv_content(chunks: Chunks, size: int, label: str, account: Account) -> Content:
    """The rows of a CSV that is read in `chunks` of `size` bytes in all; whose row names no author, `account` wrote."""
    with closing(_rows(chunks(lambda _: None), label)) as rows:
        _, header = next(rows, (0, []))
    if not header:
        raise InputError(f"{label}: has no line that holds anything", "Name a file that holds posts.")
    columns = [column.strip().lower() for column in header]
    if "text" not in columns:
        found = ", ".join(shapes.words(column)[:40] for column in header[:30])
        raise InputError(
            f"{label}: has no column `text`; its columns are: {found}", "Name one column `text`, separated by commas."
        )
    twice = next((column for column, number in Counter(columns).items() if column and number > 1), "")
    if twice:
        raise InputError(f"{label}, line 1: has two columns {printable(twice)[:40]!r}", "Rename one of them.")
    kind = "tweets-csv" if set(columns) >= TWEETS_CSV else "csv"
    return Content(kind, "", size, functools.partial(_csv_posts, chunks, label, columns, account, kind))


def _csv_posts(chunks: Chunks, label: str, columns: list[str], account: Account, kind: str, advance: Advance) -> Iterator[Post]:
    with closing(_rows(chunks(advance), label)) as rows:
        next(rows)  # the header
        for number, (line, row) in enumerate(rows, 1):
            place = f"{label}, line {line}"
            if any(row[len(columns) :]):
                problem = f"{place}: has {len(row)} fields, and the header has {len(columns)}"
                raise InputError(problem, "Put texts that hold commas between double quotes.")
            record = dict(zip(columns, row, strict=False))
            if "text" not in record:
                raise InputError(f"{place}: ends before the column `text`", "Complete or remove that line.")
            yield row_post(record, place, number, account, kind)


def _jsonl_posts(chunks: Chunks, label: str, account: Account, advance: Advance) -> Iterator[Post]:
    number = 0
    with closing(_lines(chunks(advance), label)) as lines:
        for line, text in enumerate(lines, 1):
            if text.strip():
                number += 1
                place = f"{label}, line {line}"
                yield row_post(typed(_value(text, place), dict, "the line", place), place, number, account, "jsonl")


def _value(text: str, place: str) -> object:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise InputError(f"{place}: is nested too deeply", "Write one flat object a line.") from error
    except ValueError as error:  # not JSON, or a number of more than 4,300 digits
        raise InputError(f"{place}: is not valid JSON ({error})", "Write one JSON object a line.") from error


def _rows(chunks: Generator[bytes, None, None], label: str) -> Generator[tuple[int, list[str]], None, None]:
    """The rows that hold something, each with the number of its last line."""
    with closing(_lines(chunks, label)) as lines:
        row_of = _Rows(lines, label)
        reader = csv.reader(row_of, strict=True)
        try:
            for row in reader:
                row_of.size = 0
                if any(row):
                    yield reader.line_num, row
        except csv.Error as error:
            problem = f"{label}, line {reader.line_num}: is not valid CSV ({error})"
            raise InputError(problem, next((fix for words, fix in CSV_FIXES.items() if words in str(error)), CLOSE)) from error
    if not reader.line_num:
        raise InputError(f"{label}: is empty", "Name a file that holds posts.")


class _Rows:
    """Lines for a reader of CSV, which adds lines to a row until its quotes are closed: they may have so many characters together."""

    def __init__(self, lines: Iterator[str], label: str) -> None:
        self.size = 0  # of the row so far
        self._lines, self._label, self._number = lines, label, 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._number += 1
            self.size += len(line)
            if self.size > LONGEST_LINE:
                raise InputError(f"{self._label}, line {self._number}: its row is longer than {LONGEST_LINE} characters", CLOSE)
            yield line


def _lines(chunks: Generator[bytes, None, None], label: str) -> Generator[str, None, None]:
    position = 0
    with closing(chunks):
        for number, raw in enumerate(_split(chunks), 1):
            if len(raw) > LONGEST_LINE:
                raise InputError(
                    f"{label}, line {number}: is longer than {LONGEST_LINE} bytes",
                    "Write one post a line; is it a file of posts?",
                )
            yield _decoded(raw, f"{label}, line {number}", position)
            position += len(raw)


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines, each with its end; one that is too long is given as far as it was read."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(rest) > LONGEST_LINE:
            break
    if rest:
        yield rest


def _decoded(raw: bytes, place: str, position: int) -> str:
    """The line `raw`, which begins at byte `position` of its file."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{place}, byte {position + error.start}: is not UTF-8 ({error.reason})", "Save it as UTF-8.") from error
    if "\0" in text:
        raise InputError(f"{place}, byte {position + raw.index(0)}: holds a NUL byte", "Save it as plain UTF-8 text.")
    return text if position else text.removeprefix("\ufeff")


def _chunks(path: Path, label: str, advance: Advance) -> Generator[bytes, None, None]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
                advance(len(chunk))
    except OSError as error:
        raise InputError(f"{label}: cannot be read ({error.strerror})", "Make the file readable.") from error
