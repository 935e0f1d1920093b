"""Posts from a Parquet file, a few rows at a time, by Apache Arrow; which only the part `parquet` of mynah brings."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import InputError
from components.fetch import shapes
from components.fetch.archives import BOMB_RATIO, BOMB_SIZE
from components.fetch.rows import COLUMNS, POST_FIELDS, row_post
from components.fetch.sources import Content, printable
from components.fetch.x_tweets import Account
from components.names import author_name
from components.posts import Post

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS = 500  # at a time
MOST_AT_ONCE = 64 << 20  # bytes of text in the rows that are unpacked together
MOST_OF_A_GROUP = 1 << 30  # bytes of the wanted columns of one group of rows, unpacked: so much may be held at once
LONGEST_TEXT = 4 << 20  # characters of any field
ROW = 64  # bytes that a row counts for, besides its text, in telling a bomb: a table may say one text a billion times
MEND = "Write it anew, with a column `text`; or save it as JSONL."


def read_parquet(path: Path, label: str) -> Content:
    """The rows of a Parquet file with a column `text`; `label` names the file in messages. Raises InputError naming the row."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        fix = "pip install 'mynah[parquet]'; or save it as JSONL. For a cluster: mynah fetch here, and mynah submit its folder."
        raise InputError(f"{label}: Parquet is read by pyarrow, which is not installed", fix) from error
    try:
        with pq.ParquetFile(path) as file:
            columns = {name.strip().lower(): name for name in file.schema_arrow.names}
            wanted = [columns[name] for name in columns if name in COLUMNS or name in POST_FIELDS]
            _refuse_unfit(file, label, list(columns), wanted)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{label}: is no Parquet file, or damaged ({_cause(error)})", MEND) from error
    account = Account(author_name(path.stem))
    return Content("parquet", "", path.stat().st_size, functools.partial(_posts, path, label, wanted, account))


def _refuse_unfit(file: "pq.ParquetFile", label: str, columns: list[str], wanted: list[str]) -> None:
    if "text" not in columns:
        found = ", ".join(shapes.words(column)[:40] for column in columns[:30])
        raise InputError(f"{label}: has no column `text`; its columns are: {found}", MEND)
    if len(set(columns)) < len(file.schema_arrow.names):
        raise InputError(f"{label}: has two columns of one name", "Rename one of them.")
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        chunks = [group.column(place) for place in range(group.num_columns)]
        # A list of a million empty elements takes no bytes in the file, and eight each in memory.
        size = sum(
            chunk.total_uncompressed_size + 8 * chunk.num_values * ("." in chunk.path_in_schema)
            for chunk in chunks
            if chunk.path_in_schema.partition(".")[0] in wanted
        )
        if size > MOST_OF_A_GROUP:
            raise InputError(
                f"{label}, row group {number}: has {size:,} bytes, and {MOST_OF_A_GROUP:,} are read at most",
                "Write it in smaller groups of rows.",
            )


def _posts(path: Path, label: str, wanted: list[str], account: Account, advance: Callable[[int], None]) -> Iterator[Post]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number, size, unpacked = 0, path.stat().st_size, 0
    try:
        with pq.ParquetFile(path, pre_buffer=False, read_dictionary=_texts(path, wanted)) as file:
            rows = max(file.metadata.num_rows, 1)
            for batch in file.iter_batches(ROWS, columns=wanted, use_threads=False):
                plain = pa.schema([_plain(each) for each in batch.schema])
                for few in _slices(batch):
                    for row in few.cast(plain, safe=False).to_pylist():
                        number += 1
                        place = f"{label}, row {number}"
                        unpacked += ROW + _length(row, place)
                        if unpacked > BOMB_SIZE and unpacked > BOMB_RATIO * size:
                            raise InputError(f"{place}: looks like a bomb ({size:,} bytes unpack to {unpacked:,} and more)", MEND)
                        yield row_post(_named(row), place, number, account, "parquet")
                advance(size * batch.num_rows // rows)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise InputError(f"{label}, after row {number}: is damaged ({_cause(error)})", MEND) from error


def _texts(path: Path, wanted: list[str]) -> list[str]:
    """The columns of text among `wanted`: they are read as a file has them, each text once, however many rows say it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    is_text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return [each.name for each in pq.read_schema(path) if each.name in wanted and any(test(each.type) for test in is_text)]


def _slices(batch: "pa.RecordBatch") -> Iterator["pa.RecordBatch"]:
    """The rows of `batch`, so few together that their texts fit into MOST_AT_ONCE; or one by one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [
        each for each in batch.columns if pa.types.is_dictionary(each.type) and not pa.types.is_primitive(each.type.value_type)
    ]
    longest = sum(pc.max(pc.binary_length(each.dictionary)).as_py() or 0 for each in columns)
    step = max(1, min(ROWS, MOST_AT_ONCE // max(longest, 1)))
    return (batch.slice(start, step) for start in range(0, batch.num_rows, step))


def _plain(column: "pa.Field") -> "pa.Field":
    """Times in UTC and microseconds, as Python has them without a database of time zones; all else as it is."""
    import pyarrow as pa

    plain = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return column.with_type(pa.timestamp("us") if pa.types.is_timestamp(plain) else plain)


def _length(row: dict[str, Any], place: str) -> int:
    """Characters of text in a row."""
    texts = {name: value for name, value in row.items() if isinstance(value, str)}
    name = max(texts, key=lambda each: len(texts[each]), default="")
    if name and len(texts[name]) > LONGEST_TEXT:
        problem = f"{place}: the column {name!r} has {len(texts[name]):,} characters, and {LONGEST_TEXT:,} is the most"
        raise InputError(problem, "Shorten it, or remove that row.")
    return sum(map(len, texts.values()))


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {name.strip().lower(): value for name, value in row.items()}


def _cause(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:200]
