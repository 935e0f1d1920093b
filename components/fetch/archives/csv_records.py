"""Read the CSV files of an export, whose columns its network names, row by row."""

import csv
from collections.abc import Callable, Iterator

from components.fetch.archives.members import MAX_LINE, member_lines, member_place
from components.fetch.archives.zip_folder import Archive
from mynah.core.errors import InputError

FIX = "Download the export again; if this file was edited, undo the edit at that place."
ONE_ROW = "expected after"  # in csv's error for characters behind a closing quote, with which the row ends


def csv_records(
    archive: Archive, member: str, advance: Callable[[int], None]
) -> Iterator[tuple[str, dict[str, str] | InputError]]:
    """Yield the rows of a CSV with a header.

    Args:
        archive: The export.
        member: The file.
        advance: Called with the number of bytes read.

    Yields:
        A row's place, and its values by lower-cased column, or why it is no CSV.

    Raises:
        InputError: The rows behind a place cannot be told, such as behind a quote that is never closed.
    """
    place = member_place(archive, member)
    size = [0]  # characters of the row so far: the reader joins lines until the row's quotes are closed

    def bounded() -> Iterator[str]:
        for number, line in member_lines(archive, member, advance):
            size[0] += len(line)
            if size[0] > MAX_LINE:
                raise InputError(f"{place}, line {number}: its row is longer than {MAX_LINE:,} characters", FIX)
            yield f"{line}\n"

    reader = csv.reader(bounded(), strict=True)
    columns: list[str] = []
    while True:
        size[0] = 0
        try:
            row = next(reader, None)
        except csv.Error as error:
            fault = InputError(f"{place}, line {reader.line_num}: is not valid CSV ({error})", FIX)
            if ONE_ROW not in str(error):
                raise fault from error
            yield f"{place}, line {reader.line_num}", fault
            continue
        if row is None:
            return
        if not columns:
            columns = [column.strip().lower() for column in row]
        elif any(row):
            yield f"{place}, line {reader.line_num}", dict(zip(columns, row, strict=False))
