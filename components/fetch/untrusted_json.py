"""Read untrusted JSON leniently: a value of the wrong type counts as missing, so that one odd post does not affect the others."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from components.fetch.sources import printable
from mynah.data.posts import Entity

Spans = Iterable[tuple[int, int, str]]  # start, end (code points) and kind


def record(value: object) -> dict[str, Any]:
    """Return `value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def records(value: object) -> list[dict[str, Any]]:
    """Return the objects in the list `value`; none if it is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """Return `value` if it is text, made valid for UTF-8; else ""."""
    return printable(value) if isinstance(value, str) else ""


def message_text(value: object) -> str:
    """Return the text `value` for a message: one short line, without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text(value)[:1000]).split())[:200]


def number(value: object) -> int:
    """Return `value` if it is a whole number, else -1."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def parse_time(value: object) -> datetime | None:
    """Convert an ISO 8601 text, or a time that a library parsed, to UTC; None for anything else. Without a zone: UTC."""
    try:
        when = value if isinstance(value, datetime) else datetime.fromisoformat(text(value).strip())
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def entities(spans: Spans, length: int) -> tuple[Entity, ...]:
    """Convert `spans` of a text of `length` code points to entities: sorted, without those outside or overlapping an earlier one."""
    kept: list[Entity] = []
    for start, end, kind in sorted(spans):
        if (kept[-1].end if kept else 0) <= start < end <= length:
            kept.append(Entity(start, end, kind))
    return tuple(kept)
