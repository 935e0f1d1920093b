"""Validates cron schedules of five fields, converts them to the six fields of Kubeflow Pipelines, and describes them.

Kubeflow uses robfig/cron v1, whose first field is the second (https://pkg.go.dev/github.com/robfig/cron@v1.2.0): it would accept the
five fields "0 3 * * 1" as "at second 0 of minute 3 of every hour in January". The next times are croniter's and the words cron-descriptor's;
both accept more than Kubeflow does (a day 7, L, W, #), so the fields are validated here first.

Both libraries take tens of milliseconds to import, which `mynah --help` need not: only functions import them.
"""

import calendar
from collections.abc import Sequence
from datetime import UTC, datetime

from mynah.core.errors import InputError

MONTHS = {calendar.month_abbr[number].upper(): number for number in range(1, 13)}
DAYS = {calendar.day_abbr[number - 1].upper(): number for number in range(7)}
FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}), ("minute", 0, 59, {}), ("hour", 0, 23, {}), ("day of the month", 1, 31, {}),
    ("month", 1, 12, MONTHS), ("day of the week", 0, 6, DAYS),
)  # fmt: skip
MAX_YEARS = 8  # to look ahead: 29 February skips 2100
EXAMPLE = 'Write five fields, for example "0 3 * * 1": at 3:00 every Monday (UTC, unless the cluster says otherwise).'


def kubeflow_cron(text: str) -> str:
    """Return a schedule of five fields, or of six with the second first, as six. Raises InputError that names an invalid field."""
    fields = text.split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise InputError(f"the schedule {text[:80]!r} has {len(fields)} fields", EXAMPLE)
    _require_valid(fields)
    six = " ".join(fields)
    if next_time(six, datetime.now(UTC)) is None:
        raise InputError(f"the schedule {text[:80]!r} never comes: no such month has that day", EXAMPLE)
    return six


def next_time(cron: str, after: datetime) -> datetime | None:
    """Return when a schedule of six fields comes next after a time, in the time zone of that time.

    The days of the month and of the week count together: where both are restricted, either of them suffices. Kubeflow's cron takes a
    field that begins with * for unrestricted, also */2, which croniter calls cron's bug.

    Returns:
        The time; None for an invalid schedule, and for one that does not come within eight years.
    """
    from croniter import CroniterBadDateError, croniter

    if not _is_valid(cron):
        return None
    options = {"second_at_beginning": True, "implement_cron_bug": True, "max_years_between_matches": MAX_YEARS}
    fields = [_spelled_out(*pair) for pair in zip(cron.split(), FIELDS, strict=True)]
    try:
        found: datetime = croniter(" ".join(fields), after, ret_type=datetime, **options).get_next()
    except CroniterBadDateError:
        return None
    return found


def _spelled_out(field: str, definition: tuple[str, int, int, dict[str, int]]) -> str:
    """Return a valid field as a list of numbers, which nothing reads in two ways: croniter 7.0 takes the days 0-0 for all seven."""
    return field.replace("?", "*") if field[0] in "*?" else ",".join(map(str, sorted(_values(field, *definition))))


def in_words(cron: str) -> str:
    """Return a schedule of six fields in words, such as "At 03:00, only on Monday"; an invalid one as it is."""
    from cron_descriptor import Options, get_description

    if not _is_valid(cron):
        return cron
    options = Options(use_24hour_time_format=True, locale_code="en_US")  # not the machine's language
    return str(get_description(cron, options))


def _is_valid(cron: str) -> bool:
    fields = cron.split()
    if len(fields) != len(FIELDS):
        return False
    try:
        _require_valid(fields)
    except InputError:
        return False
    return True


def _require_valid(fields: Sequence[str]) -> None:
    """Raise InputError that names the first of six fields that Kubeflow's cron would refuse or misread."""
    for field, definition in zip(fields, FIELDS, strict=True):
        _values(field, *definition)


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
