"""Times as tables write them: ISO 8601, X's own, seconds and milliseconds since 1970, spreadsheets' dates, and dates in English words.

python-dateutil would parse more, and guesses: it reads 01/03/2021 as January, completes what is missing from today's date, and ignores the
names of zones that it does not know. Here a text is a time only if every part of it is understood. `1/3/2021` alone is not: which number is
the month is decided by the other dates of its column (`DateOrders`).
"""

import functools
import re
import unicodedata
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal

from components.fetch.x.export_tweets import MONTHS, time_of

MAX_CHARACTERS = 100
MAX_WORDS = 7
# Numbers since 1970 are told apart by their size: no post was written before 1990 or after 2100.
FIRST, LAST = 631_152_000, 4_102_444_800  # seconds
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = (1, 1_000, 1_000_000, 1_000_000_000)  # of seconds: s, ms, µs, ns
SPREADSHEET_EPOCH = datetime(
    1899, 12, 30, tzinfo=UTC
)  # Excel's and Google's day 0, https://support.microsoft.com/office/datevalue-function
SPREADSHEET_DAYS = (32_874, 73_050)  # 1990 to 2100
NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?")
COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?", re.ASCII)
CLOCK = re.compile(r"(?<![\d:.+-])(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?: ?([ap])\.? ?m\b\.?)?(?![\d:])", re.ASCII)
WEEKDAY = re.compile(r"\b(?:mon|tue|tues|wed|wednes|thu|thur|thurs|fri|sat|satur|sun)(?:day)?\b\.?", re.ASCII)
OFFSET = re.compile(r"(?:utc|gmt)?([+-])(\d{1,2}):?(\d\d)?", re.ASCII)
YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})", re.ASCII)
NUMERIC = re.compile(r"(?<!\d)(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d\d)", re.ASCII)
DAY_FIRST = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?[ -]([a-z]{3,9})\.?[ -](\d{4}|\d\d)", re.ASCII)
MONTH_FIRST = re.compile(r"([a-z]{3,9})\.? (\d{1,2})(?:st|nd|rd|th)? (\d{4})", re.ASCII)
YEAR_AND_NAME = re.compile(r"(\d{4})[ -]([a-z]{3,9})\.?[ -](\d{1,2})", re.ASCII)
MONTH_NAMES = {name.lower(): number for number, name in enumerate(MONTHS, 1)} | {
    name: number
    for number, name in enumerate(
        ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"), 1
    )
} | {"sept": 9}  # fmt: skip
# RFC 2822, section 4.3, defines the American ones. BST, IST and others name several zones and are not here.
ZONES = {
    "utc": 0, "gmt": 0, "ut": 0, "z": 0, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7, "akst": -9,
    "akdt": -8, "hst": -10, "wet": 0, "west": 1, "cet": 1, "cest": 2, "eet": 2, "eest": 3, "msk": 3, "jst": 9, "kst": 9, "aest": 10,
    "aedt": 11, "nzst": 12, "nzdt": 13,
}  # fmt: skip
ORDERS = ("dmy", "mdy", "ymd")  # of numeric dates; ymd only where the year has two digits


class DateOrders:
    """The order of day and month in dates such as 1/3/2021, as the other dates of the same column show it.

    Args:
        rows: Yields the values of the table's time columns, by column, a mapping for each row. It is called once, and only for a table
            with a date that could be two.
    """

    def __init__(self, rows: Callable[[], Iterable[Mapping[str, object]]]) -> None:
        self.shown: dict[
            str, tuple[str, str]
        ] = {}  # for each column whose order was needed: a date of two meanings, and its order
        self._rows = rows
        self._orders: dict[str, frozenset[str]] | None = None

    def parse(self, column: str, value: object) -> datetime | None:
        """Convert a value of a column to UTC; None for what is not a time, and for a date whose order nothing shows."""
        when = parse(value)
        if when or not (isinstance(value, str) and _by_order(value)):
            return when
        orders = self._find().get(column, frozenset())
        if "." in value and "dmy" in orders:  # DIN 5008 and its kin: with dots, the day is first
            orders = frozenset(["dmy"])
        when = parse(value, orders)
        if when:
            self.shown.setdefault(column, (value.strip(), next(iter(orders))))
        return when

    def _find(self) -> dict[str, frozenset[str]]:
        if self._orders is None:
            self._orders = {}
            for row in self._rows():
                for column, value in row.items():
                    if isinstance(value, str) and (orders := frozenset(_by_order(value))):
                        self._orders[column] = self._orders.get(column, orders) & orders
        return self._orders


def parse(value: object, orders: Iterable[str] = ORDERS) -> datetime | None:
    """Convert a value of a time column to UTC. A time without a zone, and a date, are taken as UTC.

    Args:
        value: Text, a number, or a time that a library parsed.
        orders: In which orders a date such as 1/3/2021 may be written.

    Returns:
        The time; None for what is not a time, or is several times depending on the order.
    """
    if isinstance(value, datetime):
        return _utc(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _from_number(float(value))
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS:
        return None
    text = value.strip()
    if NUMBER.fullmatch(text):
        return _from_number(float(text))
    if when := time_of(text):
        return when
    found = {when for order in orders if (when := _from_words(text, order))}
    return found.pop() if len(found) == 1 else None


def is_clock(value: object) -> bool:
    """Return whether a value is a time of day alone, such as 10:00:00 or 9:05 PM."""
    return isinstance(value, str) and bool(CLOCK.fullmatch(value.strip().lower()[:MAX_CHARACTERS]))


def _by_order(text: str) -> dict[str, datetime]:
    """Return what a date in numbers is in each order that it may have; nothing for other texts."""
    if len(text) > MAX_CHARACTERS or not NUMERIC.search(text):
        return {}
    return {order: when for order in ORDERS if (when := _from_words(text.strip(), order))}


def _utc(when: datetime) -> datetime | None:
    try:
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _from_number(number: float) -> datetime | None:
    """Convert seconds, milliseconds, microseconds or nanoseconds since 1970, a spreadsheet's day, or YYYYMMDD with or without hhmm[ss]."""
    for unit in UNITS:
        if FIRST * unit <= number < LAST * unit:
            return EPOCH + timedelta(seconds=number / unit)
    if SPREADSHEET_DAYS[0] <= number < SPREADSHEET_DAYS[1]:
        return SPREADSHEET_EPOCH + timedelta(seconds=round(number * 86_400))
    match = COMPACT.fullmatch(str(int(number))) if 0 < number < 1e15 and number == int(number) else None
    return _built(int(match[1]), int(match[2]), int(match[3]), [int(part or 0) for part in match.groups()[3:]]) if match else None


def _from_words(text: str, order: str) -> datetime | None:
    """Parse a date, and perhaps a time of day and a zone, of which every word must be understood."""
    plain = _without_brackets(unicodedata.normalize("NFKC", text).lower())
    clock = CLOCK.search(plain)
    if clock:
        plain = re.sub(r"(?<=\d)t$", "", plain[: clock.start()]) + f" {plain[clock.end() :]}"
    # X's page writes "10:00 PM - 1 Mar 2021", with a dash between blanks.
    words = re.sub(r"[,·|]|\bat\b|(?<!\S)[-–—](?!\S)", " ", WEEKDAY.sub(" ", plain)).split()  # noqa: RUF001
    parts = _clock_parts(clock) if clock else [0, 0, 0, 0]
    if not 1 <= len(words) <= MAX_WORDS or parts is None:
        return None
    for is_day, rest in _splits(words):
        if day := _date(is_day, order):
            is_named_offset = len(rest) == 2 and OFFSET.fullmatch(rest[0]) and rest[1].isalpha()  # +0100 CET
            zone = _zone(rest[0] if is_named_offset else "".join(rest))
            return _built(*day, parts, zone) if zone and (clock or not rest) else None
    return None


def _without_brackets(text: str) -> str:
    """Return `text` without the zone's name that JavaScript and Java append in brackets to an offset; other brackets are opened."""
    plain = re.sub(r"(\d\d|z) ?[(\[][\w /+-]{1,60}[)\]]$", r"\1", text) if re.search(r"[+-]\d\d:?\d\d ?[(\[]|z\[", text) else text
    return re.sub(r"[()\[\]]", " ", plain)


def _clock_parts(match: re.Match[str]) -> list[int] | None:
    """Return hour, minute, second and microsecond; None where a 12-hour clock has no such hour."""
    hour, half = int(match[1]), match[5]
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    return [hour, int(match[2]), int(match[3] or 0), int((match[4] or "").ljust(6, "0")[:6])]


def _splits(words: list[str]) -> Iterable[tuple[str, list[str]]]:
    """Yield the ways to take words as a date and a zone: all, all but some at one end, and all but one within ("mar 01 utc 2021")."""
    for count in range(len(words), 0, -1):
        for start in range(len(words) - count + 1):
            yield " ".join(words[start : start + count]), words[:start] + words[start + count :]
    for place in range(1, len(words) - 1):
        yield " ".join(words[:place] + words[place + 1 :]), [words[place]]


def _date(text: str, order: str) -> tuple[int, int, int] | None:
    """Return year, month and day of a text that is a date; the numbers may be out of range."""
    if match := YEAR_FIRST.fullmatch(text):
        return int(match[1]), int(match[3]), int(match[4])
    if match := NUMERIC.fullmatch(text):
        parts = dict(zip(order, (match[1], match[3], match[4]), strict=True))
        return (
            None
            if order == "ymd" and (len(match[4]) == 4 or match[2] == ".")
            else (_year(parts["y"]), int(parts["m"]), int(parts["d"]))
        )
    if match := DAY_FIRST.fullmatch(text):
        year, name, day = match[3], match[2], match[1]
    elif match := MONTH_FIRST.fullmatch(text):
        year, name, day = match[3], match[1], match[2]
    elif match := YEAR_AND_NAME.fullmatch(text):
        year, name, day = match[1], match[2], match[3]
    else:
        return None
    return (_year(year), MONTH_NAMES[name], int(day)) if name in MONTH_NAMES else None


def _year(text: str) -> int:
    return int(text) if len(text) == 4 else 2000 + int(text)


def _zone(text: str) -> tzinfo | None:
    """Return the zone that words name; UTC for none, and None for what is not a zone."""
    if text in ZONES or not text:
        return timezone(timedelta(hours=ZONES[text])) if ZONES.get(text) else UTC
    if match := OFFSET.fullmatch(text):
        ahead = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        return timezone(-ahead if match[1] == "-" else ahead) if ahead < timedelta(hours=24) else None
    return _place(text) if "/" in text else None


@functools.lru_cache(maxsize=256)
def _place(name: str) -> tzinfo | None:
    """Return the zone of the IANA database with a name such as Europe/Berlin, written in any case."""
    titled = "/".join("_".join(part.capitalize() for part in step.split("_")) for step in name.split("/"))
    try:
        return zoneinfo.ZoneInfo(titled)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _built(year: int, month: int, day: int, clock: list[int], zone: tzinfo = UTC) -> datetime | None:
    try:
        hour, minute, second, microsecond = (*clock, 0, 0, 0, 0)[:4]
        return _utc(datetime(year, month, day, hour, minute, second, microsecond, zone))
    except (ValueError, OverflowError):
        return None
