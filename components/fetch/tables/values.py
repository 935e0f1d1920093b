"""Single values of a table: ids that a spreadsheet or pandas made to decimals, marks of true and false, and what counts as empty."""

import math
import re
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from components.fetch import untrusted_json
from components.fetch.sources import printable
from components.fetch.tables.column_names import Role
from components.fetch.x import export_json
from mynah.core.errors import InputError
from mynah.data.posts import Entity

ENTITY_KINDS = {"url", "mention", "hashtag", "media"}
FIX = "Correct or remove that row."

EXACT = 2**53  # a float holds whole numbers exactly below it
# As Excel and pandas write large numbers: 1.36600E+18, 1,366E+18, 1.366e+18. A bare 12e5 may be an id in base 36.
EXPONENT = re.compile(r"[0-9](?:[.,]([0-9]{1,40})[eE]\+?|[eE]\+)([0-9]{1,4})")
WITH_ZEROS = re.compile(r"([0-9]{1,40})\.0{1,10}")
# How pandas, R and spreadsheets write what is missing: `na_values` in https://pandas.pydata.org/docs/reference/api/pandas.read_csv.html
NOTHING = {
    "", "nan", "-nan", "na", "none", "null", "n/a", "#n/a", "#na", "#n/a n/a", "<na>", "nat", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", "[]",
    "{}",
}  # fmt: skip
# The same in a column of people, where `Nan` and `@null` are somebody.
NOBODY = {"", "nan", "NaN", "-nan", "-NaN", "NA", "None", "null", "NULL", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaT", "[]", "{}"}
# True and false as spreadsheets and forms write them in other languages.
YES = {
    "true", "t", "yes", "y", "1", "1.0", "x", "wahr", "ja", "vrai", "oui", "verdadero", "sí", "si", "vero", "sì", "verdadeiro", "sim", "waar",
    "sand", "sann", "sant", "tosi", "prawda", "tak", "pravda", "igaz", "igen", "doğru", "evet", "adevărat", "истина", "да", "αληθησ", "ναι",  # noqa: RUF001
}  # fmt: skip
NO = {
    *NOTHING, "false", "f", "no", "n", "0", "0.0", "falsch", "nein", "faux", "non", "falso", "não", "nao", "onwaar", "nee", "falsk", "usann",
    "falskt", "nej", "nei", "epätosi", "fałsz", "nie", "nepravda", "hamis", "nem", "yanlış", "yanliş", "hayır", "fals", "nu", "ложь", "нет",  # noqa: RUF001
    "ψευδησ", "όχι",
}  # fmt: skip

T = TypeVar("T")


def is_empty(value: object) -> bool:
    """Return whether a cell holds nothing: no text, or a NaN, as pandas has it for a missing number."""
    return value is None or value == "" or (isinstance(value, float | Decimal) and math.isnan(value))


def is_missing(value: object, role: Role) -> bool:
    """Return whether a cell is empty, or says in words that its value is missing. Of texts none is missing: a post may be the word NA."""
    if role in (Role.TEXT, Role.OTHER):
        return role is Role.OTHER and is_empty(value)
    if role is Role.AUTHOR:
        return is_nobody(value)
    return is_empty(value) or (isinstance(value, str) and len(value) < 20 and value.strip().casefold() in NOTHING)


def is_nobody(value: object) -> bool:
    """Return whether a cell of a column of authors is empty, or says in words that it names nobody."""
    return is_empty(value) or (isinstance(value, str) and len(value) < 20 and value.strip() in NOBODY)


def says_nothing(value: object) -> bool:
    """Return whether an id, a reference or a mark is absent, also as `NaN`, `None`, false or an empty list."""
    if isinstance(value, str):
        return value.strip().casefold() in NO
    return is_empty(value) or value is False or value in (0, [], {}, ())


def mark(value: object) -> bool | None:
    """Return what a column of true and false says; None for a value that is neither."""
    if says_nothing(value):
        return False
    if isinstance(value, str):
        return True if value.strip().casefold() in YES else None
    # An object or a list describes the shared post. A number other than 0 and 1 is a count.
    return True if isinstance(value, dict | list) or value == 1 else None


def whole(value: object) -> str | None:
    """Convert an id to text.

    Args:
        value: Text or a number.

    Returns:
        The id; "" where its last digits are lost, as in 1.36600E+18; None for what is neither text nor a whole number.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float | Decimal):
        if not math.isfinite(value) or value != int(value):
            return None
        return str(int(value)) if isinstance(value, Decimal) or abs(value) < EXACT else ""
    if not isinstance(value, int | str):
        return None
    text = printable(str(value))
    plain = text.strip()
    if plain.isalnum() and plain.isascii():  # the common case, without a pattern
        return plain
    if match := WITH_ZEROS.fullmatch(plain):
        return match[1] if int(match[1]) < EXACT else ""
    if match := EXPONENT.fullmatch(plain):
        return _written_out(plain) if len(match[1] or "") >= int(match[2]) else ""
    return text


def was_decimal(value: object) -> bool:
    """Return whether an id was written as a decimal number."""
    if isinstance(value, str):
        return not value.isalnum() and bool(WITH_ZEROS.fullmatch(value.strip()) or EXPONENT.fullmatch(value.strip()))
    return isinstance(value, float)


def shown(value: object) -> str:
    """Return a value for a message, in one short line."""
    return untrusted_json.message_text(value if isinstance(value, str) else str(value))[:60]


def typed(value: object, kind: type[T], what: str, place: str) -> T:
    """Return a value if it has the requested type.

    Args:
        value: The value.
        kind: The type.
        what: The column's name, for messages.
        place: File and line, for messages.

    Returns:
        The value.

    Raises:
        InputError: It has another type; the fix is a table's, unlike that of export_json.typed.
    """
    try:
        return export_json.typed(value, kind, what, place)
    except InputError as error:
        raise InputError(error.problem, FIX) from error


def _written_out(text: str) -> str:
    try:
        return str(int(Decimal(text.replace(",", "."))))
    except (InvalidOperation, ValueError, OverflowError):
        return ""


def own_entities(value: object, text: str) -> tuple[Entity, ...]:
    """Return the entities of a post as Mynah wrote them, without those that are not within `text`."""
    spans = (
        (untrusted_json.number(span.get("start")), untrusted_json.number(span.get("end")), untrusted_json.text(span.get("kind")))
        for span in untrusted_json.records(value)
    )
    return untrusted_json.entities((span for span in spans if span[2] in ENTITY_KINDS and span[0] >= 0), len(text))
