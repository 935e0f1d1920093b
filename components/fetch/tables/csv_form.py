"""The form of a CSV file, as its header shows it: the separator, the columns, and which of them holds the texts."""

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from components.fetch import untrusted_json
from components.fetch.sources import printable
from components.fetch.tables.column_names import Role, key_of, role_of
from components.fetch.tables.columns import TableColumns
from components.fetch.tables.lines import LONGEST_LINE
from components.fetch.tables.settings import Table
from mynah.core.errors import InputError
from mynah.core.progress import notify

CLOSE = 'Close every quote, and write a quote inside a field twice ("").'
FIXES = {
    "new-line character": "Save it with line ends of Unix or Windows (LF or CRLF).",
    "field limit": f"A field may have {csv.field_size_limit():,} characters. {CLOSE}",
}
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SEPARATOR_LINE = "sep="  # Excel's first line: sep=;
MAX_HEADER_LINES = 100  # a name between quotes may have line ends


@dataclass(frozen=True, slots=True)
class CsvForm:
    """The form of a CSV file."""

    columns: list[str]
    text_column: int  # the position of a column with texts
    separator: str = ","
    has_separator_line: bool = False

    @property
    def separator_name(self) -> str:
        """The separator in words."""
        return SEPARATORS.get(self.separator, "separator")


def csv_form(lines: Iterable[str], table: Table) -> CsvForm:
    """Find the form of a CSV file.

    Args:
        lines: Its lines.
        table: The table.

    Returns:
        The form.

    Raises:
        InputError: The file is empty, its header is not CSV, or no separator gives it a column of texts.
    """
    named, label = table.settings.columns, table.label
    head, separator = _head(lines, label)
    forms = [_form(head, each, bool(separator), named) for each in ([separator] if separator else SEPARATORS)]
    fit = [form for form in forms if form.text_column >= 0]
    if not fit:
        raise _no_text(head, forms, named, label)
    form = max(fit, key=lambda form: len(form.columns))  # of equal ones the first: a comma
    duplicate = next((column for column, number in Counter(map(str.lower, form.columns)).items() if column and number > 1), "")
    if duplicate:
        raise InputError(f"{label}, line 1: has two columns {printable(duplicate)[:40]!r}", "Rename one of them.")
    for role, name in (("author", named.author), ("time", named.time)):
        if name and key_of(name) not in map(key_of, form.columns):
            raise InputError(
                f"{label}: has no column {name[:40]!r}; its columns are: {_names(form)}", f"Name one with --{role}-column."
            )
    if form.separator != "," and len(form.columns) > 1:
        notify(f"{label}: its columns are separated by {form.separator_name}s")
    return form


def _head(lines: Iterable[str], label: str) -> tuple[list[str], str]:
    """Return the lines of the header, and the separator that a line before it states."""
    head: list[str] = []
    separator, quotes, has_lines = "", 0, False
    for line in lines:
        plain = line.strip("\r\n")
        if not has_lines and plain.lower().startswith(SEPARATOR_LINE) and plain[len(SEPARATOR_LINE) :] in SEPARATORS:
            separator = plain[-1]
        elif head or plain.strip(","):
            head.append(line)
            quotes += line.count('"')
        has_lines = True
        if head and (quotes % 2 == 0 or len(head) == MAX_HEADER_LINES or sum(map(len, head)) > LONGEST_LINE):
            break
    if not head:
        raise InputError(f"{label}: has only empty lines" if has_lines else f"{label}: is empty", "Name a file with posts.")
    return head, separator


def invalid_csv(error: csv.Error, place: str) -> InputError:
    """Return the error about what the csv module refused at `place`."""
    return InputError(
        f"{place}: is not valid CSV ({error})", next((fix for words, fix in FIXES.items() if words in str(error)), CLOSE)
    )


def _form(head: list[str], separator: str, has_separator_line: bool, named: TableColumns) -> CsvForm:
    try:
        row = next(csv.reader(iter(head), strict=True, delimiter=separator), [])
    except csv.Error:  # as for the comma in "id";"text"
        row = []
    columns = [column.strip() for column in row]
    texts = [place for place, column in enumerate(columns) if _is_text(column, named)]
    return CsvForm(
        columns, min(texts, key=lambda place: role_of(columns[place])[1]) if texts else -1, separator, has_separator_line
    )


def _is_text(column: str, named: TableColumns) -> bool:
    return key_of(column) == key_of(named.text) if named.text else role_of(column)[0] is Role.TEXT


def _names(form: CsvForm) -> str:
    return ", ".join(untrusted_json.message_text(column)[:40] for column in form.columns[:30])


def _no_text(head: list[str], forms: list[CsvForm], named: TableColumns, label: str) -> InputError:
    try:
        next(csv.reader(iter(head), strict=True))
    except csv.Error as error:
        return invalid_csv(error, f"{label}, line 1")
    form = max(forms, key=lambda form: len(form.columns))
    wanted = untrusted_json.message_text(named.text)[:40] or "text"
    fix = "Name one column `text`, or name it with --text-column. Columns are separated by commas, semicolons or tabs."
    return InputError(f"{label}: has no column `{wanted}`; its columns are: {_names(form)}", fix)
