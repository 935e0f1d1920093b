"""The ids of a row: what a spreadsheet rounded is found again in another column that has the same id, or in the post's own address."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from components.fetch.tables.column_names import Role, key_of
from components.fetch.tables.values import EXACT, EXPONENT, WITH_ZEROS, whole

SPREADSHEET_DIGITS = 15  # that Excel and its kin keep of a number
# What keeps a spreadsheet from rounding an id: ="123", '123, rtweet's x123.
QUOTED_ID = re.compile(r'(?:="?|\'|x(?=[0-9]{15}))([0-9]{1,40})"?')
STATUS_LINK = re.compile(
    r"https?://(?:www\.|mobile\.)?(?:twitter|x)\.com/(\w{1,15})/status(?:es)?/([0-9]{1,20})(?:[/?#].*)?", re.I
)
Fields = Mapping[Role, Sequence[tuple[str, Any]]]


def without_quotes(value: object) -> object:
    """Return the id that a cell holds as a text, so that no spreadsheet takes it for a number; other values as they are."""
    match = QUOTED_ID.fullmatch(value.strip()) if isinstance(value, str) else None
    return match[1] if match else value


def repaired(value: object, others: Iterable[object]) -> str:
    """Return an id that a spreadsheet rounded.

    Args:
        value: The cell of the id.
        others: What else may hold the same id exactly.

    Returns:
        The first of `others` that is equal to `value` but for the lost digits; "" where there is none, or `value` is exact.
    """
    rounded = _rounded(value)
    numbers = (whole(other) or "" for other in others) if rounded else ()
    return next((number for number in numbers if rounded and _is_within(number, rounded)), "")


def own_links(fields: Fields) -> Iterator[re.Match[str]]:
    """Yield the addresses of the row's own post: name and id. A column `url` may hold a link of the text, unless it ends in the row's id."""
    links = [
        (name, match)
        for name, value in fields.get(Role.LINK, ())
        if isinstance(value, str) and (match := STATUS_LINK.fullmatch(value.strip()[:300]))
    ]
    if not links:
        return
    values = [without_quotes(value) for _, value in fields.get(Role.ID, ())]
    ids = {whole(value) for value in values}
    for name, match in links:
        if match[2] in ids or (not ids and key_of(name) != "url") or any(repaired(value, [match[2]]) for value in values):
            yield match


def _rounded(value: object) -> tuple[int, int] | None:
    """Return a number that may have lost its last digits, and how far it may be from the right one; None for other values."""
    if isinstance(value, float):
        return _by_digits(str(int(value))) if math.isfinite(value) and abs(value) >= EXACT else None
    text = value.strip() if isinstance(value, str) else str(value) if type(value) is int else ""
    if match := EXPONENT.fullmatch(text):
        lost = int(match[2]) - len(match[1] or "")
        return (int(Decimal(text.replace(",", "."))), 10**lost) if 0 < lost <= 40 and int(match[2]) <= 40 else None
    digits = match[1] if (match := WITH_ZEROS.fullmatch(text)) else text
    is_number = len(digits) > SPREADSHEET_DIGITS and digits.isascii() and digits.isdigit()
    may_be_rounded = is_number and (match or digits.endswith("0" * (len(digits) - SPREADSHEET_DIGITS)))
    return _by_digits(digits) if may_be_rounded and len(digits) <= 40 else None


def _by_digits(digits: str) -> tuple[int, int]:
    kept = min(SPREADSHEET_DIGITS, len(digits.rstrip("0")))
    return int(digits), 10 ** (len(digits) - kept)


def _is_within(number: str, rounded: tuple[int, int]) -> bool:
    is_number = number.isascii() and number.isdigit() and len(number) <= 40
    return is_number and int(number) != rounded[0] and abs(int(number) - rounded[0]) <= rounded[1]
