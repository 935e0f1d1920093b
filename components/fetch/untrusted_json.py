"""JSON of strangers, read leniently: what has the wrong shape counts as not there, so that one odd post costs no other."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from components.events import say
from components.fetch.sources import printable
from components.posts import Entity

Spans = Iterable[tuple[int, int, str]]  # start, end (code points) and kind


def record(value: object) -> dict[str, Any]:
    """`value` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def records(value: object) -> list[dict[str, Any]]:
    """The objects in the list `value`; none where it is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """`value` where it is text, fit for UTF-8; else an empty one."""
    return printable(value) if isinstance(value, str) else ""


def words(value: object) -> str:
    """The text `value` for a message: one short line, without what a terminal would obey."""
    return " ".join("".join(each if each.isprintable() else " " for each in text(value)[:1000]).split())[:200]


def number(value: object) -> int:
    """`value` where it is a whole number, else -1."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def moment(value: object) -> datetime | None:
    """A time in UTC, of one in ISO 8601 or as a library has read it; None for anything else. Without a zone: UTC."""
    try:
        when = value if isinstance(value, datetime) else datetime.fromisoformat(text(value).strip())
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def entities(spans: Spans, length: int) -> tuple[Entity, ...]:
    """`spans` of a text of `length` code points as entities: sorted, and without those that lie outside or overlap an earlier one."""
    kept: list[Entity] = []
    for start, end, kind in sorted(spans):
        if (kept[-1].end if kept else 0) <= start < end <= length:
            kept.append(Entity(start, end, kind))
    return tuple(kept)


class LeftOut:
    """Counts the posts of `source` that cannot be used, and tells of them once."""

    def __init__(self, source: str) -> None:
        self._source, self._count, self._first = source, 0, ""

    def add(self, identity: str, reason: str) -> None:
        """One more post."""
        self._count += 1
        self._first = self._first or f"{words(identity)[:80] or 'one without an id'}: {reason}"

    def tell(self) -> None:
        """Warn, where there was any."""
        if self._count:
            number = "1 post is" if self._count == 1 else f"{self._count:,} posts are"
            say(f"{self._source}: {number} left out ({self._first})", "warning")
