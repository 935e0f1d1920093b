"""Validates cron schedules of five fields and converts them to the six fields of Kubeflow Pipelines.

Kubeflow uses robfig/cron v1, whose first field is the second (https://pkg.go.dev/github.com/robfig/cron@v1.2.0): it would accept the
five fields "0 3 * * 1" as "at second 0 of minute 3 of every hour in January".
"""

import calendar
import itertools
import re
from collections.abc import Sequence
from datetime import datetime, time, timedelta

from mynah.core.errors import InputError

MONTHS = {calendar.month_abbr[number].upper(): number for number in range(1, 13)}
DAYS = {calendar.day_abbr[number - 1].upper(): number for number in range(7)}
FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}), ("minute", 0, 59, {}), ("hour", 0, 23, {}), ("day of the month", 1, 31, {}),
    ("month", 1, 12, MONTHS), ("day of the week", 0, 6, DAYS),
)  # fmt: skip
MAX_DAYS = 8 * 366  # to look ahead
LONGEST = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}  # months with fewer than 31 days
IN_WORDS = (  # the common shapes of five fields
    (r"\*/(\d+) \* \* \* \*", "every {0} minutes"),
    (r"(\d+) \* \* \* \*", "every hour at minute {0}"),
    (r"(\d+) \*/(\d+) \* \* \*", "every {1} hours at minute {0}"),
    (r"(\d+) (\d+) \* \* \*", "daily at {1:0>2}:{0:0>2}"),
    (r"(\d+) (\d+) \* \* [\w,-]+", "weekly on {days} at {1:0>2}:{0:0>2}"),
    (r"(\d+) (\d+) (\d+) \* \*", "monthly on day {2} at {1:0>2}:{0:0>2}"),
)
EXAMPLE = 'Write five fields, for example "0 3 * * 1": at 3:00 every Monday (UTC, unless the cluster says otherwise).'


def kubeflow_cron(text: str) -> str:
    """Return a schedule of five fields, or of six with the second first, as six. Raises InputError that names an invalid field."""
    fields = text.split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise InputError(f"the schedule {text[:80]!r} has {len(fields)} fields", EXAMPLE)
    values = [_values(*pair) for pair in _defined(fields)]
    if fields[5] in ("*", "?") and not any(
        day <= LONGEST.get(month, 31) for day, month in itertools.product(values[3], values[4])
    ):
        raise InputError(f"the schedule {text[:80]!r} never comes: no such month has that day", EXAMPLE)
    return " ".join(fields)


def next_time(cron: str, after: datetime) -> datetime | None:
    """Return when a schedule of six fields comes next after a time, in the time zone of that time.

    The days of the month and of the week count together: where both are restricted, either of them suffices, as in every cron.

    Returns:
        The time; None for an invalid schedule, and for one that does not come within eight years (29 February skips 2100).
    """
    fields = cron.split()
    try:
        seconds, minutes, hours, days, months, weekdays = (_values(*pair) for pair in _defined(fields))
    except (InputError, ValueError):
        return None
    both = fields[3][0] not in "*?" and fields[5][0] not in "*?"
    earliest = after.replace(microsecond=0) + timedelta(seconds=1)
    for day in (earliest.date() + timedelta(days=number) for number in range(MAX_DAYS)):
        of_month, of_week = day.day in days, day.isoweekday() % 7 in weekdays
        if day.month not in months or not (of_month or of_week if both else of_month and of_week):
            continue
        for hour, minute, second in itertools.product(sorted(hours), sorted(minutes), sorted(seconds)):
            found = datetime.combine(day, time(hour, minute, second), after.tzinfo)
            if found >= earliest:
                return found
    return None


def in_words(cron: str) -> str:
    """Return a schedule of six fields in words, such as "daily at 03:00"; an uncommon one as it is, without a second of 0."""
    five = re.sub(r"^0 (?=\S+( \S+){4}$)", "", cron)
    for pattern, words in IN_WORDS:
        if match := re.fullmatch(pattern, five.replace("?", "*")):
            return words.format(*match.groups(), days=_days(five.split()[4]))
    return five


def _days(field: str) -> str:
    """Return the days of a week's field by name, or the field itself where it is invalid."""
    try:
        return ", ".join(calendar.day_name[number - 1] for number in sorted(_values(field, *FIELDS[5])))
    except InputError:
        return field


def _defined(fields: Sequence[str]) -> list[tuple[str, str, int, int, dict[str, int]]]:
    return [(field, *definition) for field, definition in zip(fields, FIELDS, strict=True)]


def _values(field: str, name: str, lowest: int, highest: int, names: dict[str, int]) -> set[int]:
    """Return the numbers of a field: `*`, `?`, 5, 1-5, MON-FRI, */2, 10-30/5, and lists of these."""
    values: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if first in ("*", "?"):
            if dash:
                raise _wrong(field, name)
            start, end = lowest, highest
        else:
            start = _number(first, field, name, lowest, highest, names)
            end = _number(last, field, name, lowest, highest, names) if dash else (highest if slash else start)
        if start > end or (slash and not (step.isdecimal() and 0 < int(step) <= highest)):
            raise _wrong(field, name)
        values |= set(range(start, end + 1, int(step) if slash else 1))
    return values


def _number(text: str, field: str, name: str, lowest: int, highest: int, names: dict[str, int]) -> int:
    number = names.get(text.upper(), int(text) if text.isdecimal() and len(text) < 4 else -1)
    if not lowest <= number <= highest:
        raise _wrong(field, name, f"between {lowest} and {highest}" + (", or a name of three letters" if names else ""))
    return number


def _wrong(field: str, name: str, what: str = "a number, a range or a step") -> InputError:
    return InputError(f"the schedule's {name} is {field[:40]!r}, and must be {what}", EXAMPLE)
