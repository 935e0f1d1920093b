"""Posts from a Parquet file, a few rows at a time, by Apache Arrow; which only the part `parquet` of mynah brings."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import InputError
from components.fetch.rows import COLUMNS, POST_FIELDS, row_post
from components.fetch.sources import Content, printable
from components.fetch.x_tweets import Account
from components.names import author_name
from components.posts import Post

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS = 500  # at a time
MOST_OF_A_GROUP = 1 << 30  # bytes of the wanted columns of one group of rows, unpacked: so much may be held at once
LONGEST_TEXT = 4 << 20  # characters
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
        found = ", ".join(printable(column)[:40] for column in columns[:30])
        raise InputError(f"{label}: has no column `text`; its columns are: {found}", MEND)
    if len(set(columns)) < len(file.schema_arrow.names):
        raise InputError(f"{label}: has two columns of one name", "Rename one of them.")
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        chunks = [group.column(place) for place in range(group.num_columns)]
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.partition(".")[0] in wanted)
        if size > MOST_OF_A_GROUP:
            raise InputError(
                f"{label}, row group {number}: has {size:,} bytes, and {MOST_OF_A_GROUP:,} are read at most",
                "Write it in smaller groups of rows.",
            )


def _posts(path: Path, label: str, wanted: list[str], account: Account, advance: Callable[[int], None]) -> Iterator[Post]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number, size = 0, path.stat().st_size
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            rows = max(file.metadata.num_rows, 1)
            for batch in file.iter_batches(ROWS, columns=wanted, use_threads=False):
                plain = pa.schema([_plain(each) for each in batch.schema])
                for row in batch.cast(plain, safe=False).to_pylist():
                    number += 1
                    yield row_post(_named(row, f"{label}, row {number}"), f"{label}, row {number}", number, account, "parquet")
                advance(size * batch.num_rows // rows)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise InputError(f"{label}, after row {number}: is damaged ({_cause(error)})", MEND) from error


def _plain(column: "pa.Field") -> "pa.Field":
    """Times in UTC and microseconds, as Python has them without a database of time zones; all else as it is."""
    import pyarrow as pa

    return column.with_type(pa.timestamp("us")) if pa.types.is_timestamp(column.type) else column


def _named(row: dict[str, Any], place: str) -> dict[str, Any]:
    text = next(value for name, value in row.items() if name.strip().lower() == "text")
    if isinstance(text, str) and len(text) > LONGEST_TEXT:
        raise InputError(f"{place}: the text has {len(text):,} characters, and {LONGEST_TEXT:,} is the most", "Is it a post?")
    return {name.strip().lower(): value for name, value in row.items()}


def _cause(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:200]
