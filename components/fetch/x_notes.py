"""The long texts of an X export, `note-tweet.js`, and which post each belongs to: their ids differ, so time joins them."""

import html
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from components.errors import InputError
from components.fetch.json_parts import MEND, typed
from components.fetch.sources import printable
from components.fetch.x_entities import entities_of_note
from components.posts import Entity

NOTE_WINDOW = timedelta(seconds=2)  # a note is stored up to this far from its tweet
LONG_TEXT = 100  # characters; a shorter text that carries no cut is whole, whatever note lies near
CUT = re.compile(r"…(?P<link>\s*https?://t\.co/\w+)?\s*$")
MOST_NEAR = 50  # notes before a post's second, and as many after it, that are compared with its beginning; people write no more
MOST_CHARACTERS = (
    50_000_000  # of all notes, which are held while the posts are read: at most 8 bytes each, as text and to compare
)
OVERHEAD = 100  # characters that a note, and each mark in it, counts for besides its text


@dataclass(frozen=True, slots=True)
class Note:
    """A long text, when it was posted, and what X marks in it."""

    created_at: datetime
    text: str
    comparable: str
    entities: tuple[Entity, ...] = ()


def read_notes(elements: Iterable[tuple[str, Any]]) -> list[Note]:
    """The long texts of the elements (each with its place), in the order of time. Raises InputError naming the place."""
    notes, characters = [], 0
    for place, element in elements:
        note = typed(typed(element, dict, "the element", place).get("noteTweet"), dict, "noteTweet", place)
        stamp = typed(note.get("createdAt"), str, "createdAt", place)
        core = typed(note.get("core"), dict, "core", place)
        text = printable(typed(core.get("text"), str, "core.text", place))
        entities = entities_of_note(core, text)
        characters += len(text) + OVERHEAD * (1 + len(entities))
        if characters > MOST_CHARACTERS:
            raise InputError(f"{place}: the long texts have more than {MOST_CHARACTERS:,} characters in all", MEND)
        notes.append(Note(_time(stamp, place), text, _comparable(text), entities))
    return sorted(notes, key=lambda note: note.created_at)


def _time(stamp: str, place: str) -> datetime:
    try:
        when = datetime.fromisoformat(stamp)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{place}: createdAt {printable(stamp)[:80]!r} is no ISO 8601 time", MEND) from error


def whole(text: str, when: datetime, notes: Sequence[Note]) -> Note | None:
    """The note that a post's `text` is the beginning of; None where there is none.

    The beginning decides among those near in time: posts of one thread lie seconds apart. Where X's own cut ("… https://t.co/…") has a
    single note near it, time alone suffices, since X may write a mention or a link otherwise in the note.
    """
    if not notes:
        return None
    cut = CUT.search(text)
    stem = _comparable(text[: cut.start()] if cut else text)
    if not cut and len(stem) < LONG_TEXT:
        return None
    first = bisect_left(notes, when - NOTE_WINDOW, key=lambda note: note.created_at)
    last = bisect_right(notes, when + NOTE_WINDOW, key=lambda note: note.created_at)
    middle = bisect_left(notes, when, key=lambda note: note.created_at)
    near = notes[max(first, middle - MOST_NEAR) : min(last, middle + MOST_NEAR)]
    fitting = [note for note in near if note.comparable.startswith(stem)]
    if fitting:
        return min(fitting, key=lambda note: abs(note.created_at - when))
    return near[0] if cut and cut["link"] and len(near) == 1 else None


def _comparable(text: str) -> str:
    """`text` without what X writes differently in a tweet and in its note: escapes, spaces, the mentions of a reply."""
    return re.sub(r"^(?:@\w+ )+", "", " ".join(html.unescape(text).split()))
