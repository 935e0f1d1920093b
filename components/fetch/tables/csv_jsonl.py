"""Read posts from a CSV or JSONL file, line by line."""

import csv
import functools
import json
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from components.fetch.skipped_posts import usable_posts
from components.fetch.sources import Content
from components.fetch.tables.csv_form import CLOSE, CsvForm, csv_form, invalid_csv
from components.fetch.tables.lines import LONGEST_LINE, Advance, Chunks, as_text, chunks_of, ignore, lines
from components.fetch.tables.one_author import posts_of_author
from components.fetch.tables.rows import TWEETS_CSV, RowReader
from components.fetch.tables.settings import Table, TableSettings
from components.fetch.tables.values import typed
from components.fetch.x.export_tweets import Account
from mynah.core.errors import InputError
from mynah.core.names import author_name
from mynah.data.posts import Post

Row = dict[str, Any]  # the values by column
Record = tuple[str, Row | InputError]  # a row's place for messages, and the row or its fault
ONE_ROW = ("expected after",)  # csv's errors that end with the row: characters behind a closing quote


def read_csv(path: Path, label: str, settings: TableSettings) -> Content:
    """Open a CSV file with a header; `label` names it in messages. Raises InputError naming the line."""
    table = Table(label, Account(author_name(path.stem)), settings)
    return csv_content(chunks_of(path, label), path.stat().st_size, table)


def read_jsonl(path: Path, label: str, settings: TableSettings) -> Content:
    """Open a JSONL file of objects; `label` names it in messages. Raises InputError naming the line."""
    table = Table(label, Account(author_name(path.stem)), settings)
    records = functools.partial(_json_records, as_text(chunks_of(path, label), label), label)
    reader = RowReader(table, "jsonl", lambda: _usable(records(ignore)))
    return Content("jsonl", "", path.stat().st_size, lambda advance: posts_of(reader, records(advance)))


def csv_content(chunks: Chunks, size: int, table: Table) -> Content:
    """Open a CSV table, whose columns are separated by commas, semicolons, tabs or bars.

    Args:
        chunks: Yields its bytes.
        size: Its bytes in all.
        table: The table.

    Returns:
        The table's content.

    Raises:
        InputError: The table is empty, not CSV, or without a column of texts.
    """
    decoded = as_text(chunks, table.label)
    with closing(lines(decoded(ignore), table.label)) as first_lines:
        form = csv_form(first_lines, table)
    lowered = [column.lower() for column in form.columns]
    kind = "tweets-csv" if set(lowered) >= TWEETS_CSV else "csv"
    columns = lowered if kind == "tweets-csv" else form.columns
    records = functools.partial(_csv_records, decoded, table.label, form, columns)
    reader = RowReader(table, kind, lambda: _usable(records(ignore)))
    return Content(kind, "", size, lambda advance: posts_of(reader, records(advance)))


def posts_of(reader: RowReader, records: Iterator[Record]) -> Iterator[Post]:
    """Yield the posts of a table; rows that cannot be converted are left out and reported.

    Args:
        reader: Converts the rows.
        records: The rows with their places.

    Yields:
        The posts.

    Raises:
        InputError: No row can be converted, none is the chosen author's, or the table as a whole cannot be used (RowReader.finish).
    """
    author = reader.table.settings.author if reader.choose_author() else ""
    numbered = enumerate(records, 1)
    conversions = (functools.partial(_post, reader, row, place, number) for number, (place, row) in numbered)
    posts = usable_posts(reader.table.label, conversions)
    yield from posts_of_author(posts, author, reader.table.label) if author else posts
    reader.finish()


def _post(reader: RowReader, row: Row | InputError, place: str, number: int) -> Post:
    if isinstance(row, InputError):
        raise row
    return reader.post(row, place, number)


def _usable(records: Iterator[Record]) -> Iterator[Row]:
    return (row for _, row in records if not isinstance(row, InputError))


def _csv_records(chunks: Chunks, label: str, form: CsvForm, columns: list[str], advance: Advance) -> Iterator[Record]:
    with closing(_rows(chunks(advance), label, form)) as rows:
        next(rows)  # the header
        for line, row in rows:
            place = f"{label}, line {line}"
            yield place, row if isinstance(row, InputError) else _csv_row(row, form, columns, place)


def _csv_row(row: list[str], form: CsvForm, columns: list[str], place: str) -> Row | InputError:
    if any(row[len(columns) :]):
        problem = f"{place}: has {len(row)} fields, and the header has {len(columns)}"
        return InputError(problem, f"Put texts with {form.separator_name}s between double quotes.")
    if len(row) <= form.text_column:
        return InputError(f"{place}: ends before the column `{columns[form.text_column]}`", "Complete or remove that line.")
    return dict(zip(columns, row, strict=False))


def _json_records(chunks: Chunks, label: str, advance: Advance) -> Iterator[Record]:
    """Yield the lines that are not empty. Raises InputError where the file was cut off within the last one."""
    with closing(lines(chunks(advance), label)) as texts:
        for line, text in enumerate(texts, 1):
            if text.strip():
                place = f"{label}, line {line}"
                try:
                    yield place, _json_row(text, place)
                except InputError as fault:
                    if not text.endswith("\n"):
                        _value(text, place)
                    yield place, fault


def _json_row(text: str, place: str) -> Row:
    row = typed(_value(text, place), dict, "the line", place)
    return row["tweet"] if isinstance(row.get("tweet"), dict) and "text" not in row else row


def _value(text: str, place: str) -> object:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise InputError(f"{place}: is nested too deeply", "Write one flat object a line.") from error
    except ValueError as error:  # not JSON, or a number of more than 4,300 digits
        raise InputError(f"{place}: is not valid JSON ({error})", "Write one JSON object a line.") from error


def _rows(
    chunks: Generator[bytes, None, None], label: str, form: CsvForm
) -> Generator[tuple[int, list[str] | InputError], None, None]:
    """Yield the rows that are not empty, or why one is no CSV, each with the number of its last line.

    Raises InputError where the rows behind it cannot be told either, such as behind a quote that is never closed.
    """
    with closing(lines(chunks, label)) as texts:
        bounded = _BoundedLines(texts, label)
        skipped = bool(next(bounded.lines(), "")) if form.has_separator_line else False
        reader = csv.reader(bounded.lines(), strict=True, delimiter=form.separator)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                fault = invalid_csv(error, f"{label}, line {reader.line_num + skipped}")
                if not any(words in str(error) for words in ONE_ROW):
                    raise fault from error
                yield reader.line_num + skipped, fault
            else:
                if row is None:
                    return
                if any(row):
                    yield reader.line_num + skipped, row
            bounded.size = 0


class _BoundedLines:
    """Feeds lines to csv.reader, and bounds the length of a row: the reader joins lines until the row's quotes are closed."""

    def __init__(self, lines: Iterator[str], label: str) -> None:
        self.size = 0  # characters of the row so far
        self._lines, self._label, self._number = lines, label, 0

    def lines(self) -> Iterator[str]:
        """Yield the remaining lines."""
        for line in self._lines:
            self._number += 1
            self.size += len(line)
            if self.size > LONGEST_LINE:
                raise InputError(f"{self._label}, line {self._number}: its row is longer than {LONGEST_LINE} characters", CLOSE)
            yield line
