"""Validates cron schedules of five fields and converts them to the six fields of Kubeflow Pipelines.

Kubeflow uses robfig/cron v1, whose first field is the second (https://pkg.go.dev/github.com/robfig/cron@v1.2.0): it would accept the
five fields "0 3 * * 1" as "at second 0 of minute 3 of every hour in January".
"""

import calendar
import itertools

from mynah.core.errors import InputError

MONTHS = {calendar.month_abbr[number].upper(): number for number in range(1, 13)}
DAYS = {calendar.day_abbr[number - 1].upper(): number for number in range(7)}
FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}), ("minute", 0, 59, {}), ("hour", 0, 23, {}), ("day of the month", 1, 31, {}),
    ("month", 1, 12, MONTHS), ("day of the week", 0, 6, DAYS),
)  # fmt: skip
LONGEST = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}  # months with fewer than 31 days
EXAMPLE = 'Write five fields, for example "0 3 * * 1": at 3:00 every Monday (UTC, unless the cluster says otherwise).'


def kubeflow_cron(text: str) -> str:
    """Return a schedule of five fields, or of six with the second first, as six. Raises InputError that names an invalid field."""
    fields = text.split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise InputError(f"the schedule {text[:80]!r} has {len(fields)} fields", EXAMPLE)
    values = [_values(field, *definition) for field, definition in zip(fields, FIELDS, strict=True)]
    if fields[5] in ("*", "?") and not any(
        day <= LONGEST.get(month, 31) for day, month in itertools.product(values[3], values[4])
    ):
        raise InputError(f"the schedule {text[:80]!r} never comes: no such month has that day", EXAMPLE)
    return " ".join(fields)


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
