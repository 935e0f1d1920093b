"""Read posts from a Parquet file, a few rows at a time, with Apache Arrow.

Only functions import pyarrow, which is of the extra `parquet` (`pip install 'mynah[parquet]'`).
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.fetch import untrusted_json
from components.fetch.archives.zip_folder import BOMB_RATIO, BOMB_SIZE
from components.fetch.sources import Content, printable
from components.fetch.tables.column_names import WHOLE, Role, key_of, role_of
from components.fetch.tables.csv_jsonl import posts_of
from components.fetch.tables.other_columns import OTHERS_NAMES
from components.fetch.tables.rows import POST_FIELDS, RowReader
from components.fetch.tables.settings import Table, TableSettings
from components.fetch.x.export_tweets import Account
from mynah.core.errors import InputError
from mynah.core.names import author_name

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS = 500  # per batch
MAX_BATCH_BYTES = 64 << 20  # of text in the rows that are decoded together
MAX_GROUP_BYTES = 1 << 30  # of the needed columns of one row group, uncompressed: so much may be held in memory
MAX_FIELD_CHARACTERS = 4 << 20
ROW_BYTES = 64  # counted per row, besides its text, against BOMB_RATIO: a table may repeat one text a billion times
FIX = "Write it again, with a column `text`; or save it as JSONL."
TELLING = ("id", "idstr", "text", "fulltext", "createdat")  # of another post's columns these suffice to know that there is one


def read_parquet(path: Path, label: str, settings: TableSettings) -> Content:
    """Open a Parquet file with a column of texts; `label` names it in messages. Raises InputError naming the row."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        fix = "pip install 'mynah[parquet]'; or save it as JSONL. For a cluster: run mynah fetch here, and mynah submit with its folder."
        raise InputError(f"{label}: reading Parquet needs pyarrow, which is not installed", fix) from error
    try:
        with pq.ParquetFile(path) as file:
            columns = [leaf for field in file.schema_arrow for leaf in _leaves(field)]
            needed = [name for name, kind in columns if _is_needed(name, kind, settings)]
            _refuse_unfit(file, label, needed, settings)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{label}: is damaged or not a Parquet file ({_cause(error)})", FIX) from error
    records = functools.partial(_records, path, label, needed)
    reader = RowReader(
        Table(label, Account(author_name(path.stem)), settings), "parquet", lambda: (row for _, row in records(lambda _: None))
    )
    for name, _ in columns:
        if name not in needed and role_of(name)[0] is Role.OTHER:
            reader.others.see(name)
    return Content("parquet", "", path.stat().st_size, lambda advance: posts_of(reader, records(advance)))


def _leaves(field: "pa.Field", prefix: str = "") -> Iterator[tuple[str, "pa.DataType"]]:
    """Yield the columns of a table, those within structs by names such as user.screen_name, with their types."""
    import pyarrow as pa

    name = f"{prefix}{field.name}"
    if not pa.types.is_struct(field.type):
        yield name, field.type
        return
    for inner in field.type:
        yield from _leaves(inner, f"{name}.")


def _is_needed(name: str, kind: "pa.DataType", settings: TableSettings) -> bool:
    role, _ = role_of(name)
    if name.strip().lower() in POST_FIELDS or key_of(name) in map(key_of, filter(None, settings.columns.to_record().values())):
        return True
    if role in WHOLE and "." in name:
        return key_of(name.rpartition(".")[2]) in TELLING
    # Whoever asked to be forgotten is looked for in every column of texts, or of lists, that may name its author.
    may_name = bool(settings.forgotten) and _may_name_people(kind) and not OTHERS_NAMES.search(name.casefold())
    return role is not Role.OTHER or may_name


def _may_name_people(kind: "pa.DataType") -> bool:
    """Return whether a column holds texts, also by way of a dictionary (pandas' categories), or lists of texts or objects."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind) or types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _may_name_people(kind.value_type)
    if types.is_struct(kind):
        return any(_may_name_people(field.type) for field in kind)
    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view))


def _refuse_unfit(file: "pq.ParquetFile", label: str, needed: Sequence[str], settings: TableSettings) -> None:
    columns = [name.strip().lower() for name in file.schema_arrow.names]
    keys = {key_of(name) for name in needed}
    for role, wanted in settings.columns.to_record().items():
        if key_of(wanted) not in keys:
            raise InputError(
                f"{label}: has no column {wanted[:40]!r}; its columns are: {_names(columns)}", f"Name one with --{role}-column."
            )
    if not settings.columns.text and not any(role_of(name)[0] is Role.TEXT for name in needed):
        raise InputError(
            f"{label}: has no column `text`; its columns are: {_names(columns)}",
            "Name the column of the texts with --text-column.",
        )
    if len(set(columns)) < len(columns):
        raise InputError(f"{label}: has two columns with the same name", "Rename one of them.")
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        chunks = [group.column(index) for index in range(group.num_columns)]
        # A list of a million empty elements takes no bytes in the file, and eight each in memory.
        size = sum(
            chunk.total_uncompressed_size + 8 * chunk.num_values * ("." in chunk.path_in_schema)
            for chunk in chunks
            if any(chunk.path_in_schema == name or chunk.path_in_schema.startswith(f"{name}.") for name in needed)
        )
        if size > MAX_GROUP_BYTES:
            raise InputError(
                f"{label}, row group {number}: has {size:,} bytes; the limit is {MAX_GROUP_BYTES:,}",
                "Write it in smaller groups of rows.",
            )


def _records(path: Path, label: str, needed: list[str], advance: Callable[[int], None]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each row's place for messages, and its values by column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number, size, unpacked = 0, path.stat().st_size, 0
    try:
        with pq.ParquetFile(path, pre_buffer=False, read_dictionary=_text_columns(path, needed)) as file:
            rows = max(file.metadata.num_rows, 1)
            for nested in file.iter_batches(ROWS, columns=needed, use_threads=False):
                for batch in _flattened(nested):
                    plain = pa.schema([_plain(column) for column in batch.schema])
                    for part in _slices(batch):
                        for row in part.cast(plain, safe=False).to_pylist():
                            number += 1
                            place = f"{label}, row {number}"
                            unpacked += ROW_BYTES + _length(row, place)
                            if unpacked > BOMB_SIZE and unpacked > BOMB_RATIO * size:
                                raise InputError(
                                    f"{place}: looks like a decompression bomb ({size:,} bytes unpack to {unpacked:,} and more)",
                                    FIX,
                                )
                            yield place, {name.strip(): value for name, value in row.items()}
                advance(size * nested.num_rows // rows)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise InputError(f"{label}, after row {number}: is damaged ({_cause(error)})", FIX) from error


def _flattened(batch: "pa.RecordBatch") -> list["pa.RecordBatch"]:
    """Return `batch` with the columns within structs as columns of their own, such as user.screen_name."""
    import pyarrow as pa

    table = pa.Table.from_batches([batch])
    while any(pa.types.is_struct(column.type) for column in table.schema):
        table = table.flatten()
    return list(table.to_batches())


def _text_columns(path: Path, needed: list[str]) -> list[str]:
    """Return the text columns among `needed`. Their dictionaries are kept as in the file: each text once, however many rows repeat it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    is_text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    leaves = [leaf for field in pq.read_schema(path) for leaf in _leaves(field)]
    return [name for name, kind in leaves if name in needed and any(test(kind) for test in is_text)]


def _slices(batch: "pa.RecordBatch") -> Iterator["pa.RecordBatch"]:
    """Yield `batch` in parts whose texts fit into MAX_BATCH_BYTES, at least one row each."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [
        column
        for column in batch.columns
        if pa.types.is_dictionary(column.type) and not pa.types.is_primitive(column.type.value_type)
    ]
    longest = sum(pc.max(pc.binary_length(column.dictionary)).as_py() or 0 for column in columns)
    step = max(1, min(ROWS, MAX_BATCH_BYTES // max(longest, 1)))
    return (batch.slice(start, step) for start in range(0, batch.num_rows, step))


def _plain(column: "pa.Field") -> "pa.Field":
    """Return `column` with times in microseconds and UTC, which Python reads without a time zone database, and without dictionaries."""
    import pyarrow as pa

    plain = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_timestamp(plain):
        plain = pa.timestamp("us")
    elif pa.types.is_duration(plain):
        plain = pa.duration("us")
    elif pa.types.is_time(plain):
        plain = pa.time64("us")
    return column.with_type(plain)


def _length(row: dict[str, Any], place: str) -> int:
    """Return the characters of text in a row. Raises InputError for a field that is too long."""
    texts = {name: value for name, value in row.items() if isinstance(value, str)}
    name = max(texts, key=lambda column: len(texts[column]), default="")
    if name and len(texts[name]) > MAX_FIELD_CHARACTERS:
        problem = f"{place}: the column {name!r} has {len(texts[name]):,} characters; the limit is {MAX_FIELD_CHARACTERS:,}"
        raise InputError(problem, "Shorten it, or remove that row.")
    return sum(map(len, texts.values()))


def _names(columns: Sequence[str]) -> str:
    return ", ".join(untrusted_json.message_text(column)[:40] for column in columns[:30])


def _cause(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:200]
