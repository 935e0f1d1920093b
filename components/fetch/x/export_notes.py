"""The long texts of an X export, `note-tweet.js`, and the posts that they belong to: their ids differ, so they are matched by time."""

import html
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from components.fetch.skipped_posts import SkippedPosts
from components.fetch.sources import printable
from components.fetch.x.export_entities import entities_of_note
from components.fetch.x.export_json import DOWNLOAD_AGAIN, typed
from mynah.core.errors import InputError
from mynah.data.posts import Entity

NOTE_WINDOW = timedelta(seconds=2)  # a note is stored up to this far from its tweet
LONG_TEXT = 100  # characters; a shorter text without an ellipsis is complete, even if a note is near
CUT = re.compile(r"…(?P<link>\s*https?://t\.co/\w+)?\s*$")
MAX_NEARBY_NOTES = 50  # notes before a post's time, and as many after it, that are compared with its text
MAX_CHARACTERS = 50_000_000  # of all notes, which are held in memory twice, as text and to compare: at most 8 bytes each
OVERHEAD = 100  # characters counted for a note and for each of its entities, besides its text


@dataclass(frozen=True, slots=True)
class Note:
    """A long text, its time, and its entities."""

    created_at: datetime
    text: str
    comparable: str
    entities: tuple[Entity, ...] = ()


def read_notes(elements: Iterable[tuple[str, Any]], source: str) -> list[Note]:
    """Return the long texts of the elements, ordered by time; one that is wrong is left out with a warning.

    Args:
        elements: The parsed elements, each with its place.
        source: The export's name, for the warning.

    Returns:
        The long texts.

    Raises:
        InputError: The texts are too long to be held in memory, or all are wrong; the message names the place.
    """
    notes, characters = [], 0
    skipped = SkippedPosts(source)
    first: InputError | None = None
    for place, element in elements:
        try:
            note = _note(element, place)
        except InputError as error:
            first = first or error
            skipped.add(place, error.problem.removeprefix(f"{place}: "))
            continue
        characters += len(note.text) + OVERHEAD * (1 + len(note.entities))
        if characters > MAX_CHARACTERS:
            raise InputError(f"{place}: the long texts have more than {MAX_CHARACTERS:,} characters in all", DOWNLOAD_AGAIN)
        notes.append(note)
    if first and not notes:
        raise first
    skipped.warn()
    return sorted(notes, key=lambda note: note.created_at)


def _note(element: object, place: str) -> Note:
    note = typed(typed(element, dict, "the element", place).get("noteTweet"), dict, "noteTweet", place)
    stamp = typed(note.get("createdAt"), str, "createdAt", place)
    core = typed(note.get("core"), dict, "core", place)
    text = printable(typed(core.get("text"), str, "core.text", place))
    return Note(_time(stamp, place), text, _comparable(text), entities_of_note(core, text))


def _time(stamp: str, place: str) -> datetime:
    try:
        when = datetime.fromisoformat(stamp)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{place}: createdAt {printable(stamp)[:80]!r} is not an ISO 8601 time", DOWNLOAD_AGAIN) from error


def find_note(text: str, when: datetime, notes: Sequence[Note]) -> Note | None:
    """Find the note that begins with a post's text.

    The text decides among the notes that are near in time: posts of one thread are seconds apart. Where X truncated the text
    ("… https://t.co/…") and a single note is near it, time alone suffices, since X may write a mention or a link differently in the note.

    Args:
        text: The post's text.
        when: The post's time.
        notes: All notes, ordered by time.

    Returns:
        The note; None where none matches.
    """
    if not notes:
        return None
    ellipsis = CUT.search(text)
    beginning = _comparable(text[: ellipsis.start()] if ellipsis else text)
    if not ellipsis and len(beginning) < LONG_TEXT:
        return None
    first = bisect_left(notes, when - NOTE_WINDOW, key=lambda note: note.created_at)
    last = bisect_right(notes, when + NOTE_WINDOW, key=lambda note: note.created_at)
    middle = bisect_left(notes, when, key=lambda note: note.created_at)
    near = notes[max(first, middle - MAX_NEARBY_NOTES) : min(last, middle + MAX_NEARBY_NOTES)]
    matching = [note for note in near if note.comparable.startswith(beginning)]
    if matching:
        return min(matching, key=lambda note: abs(note.created_at - when))
    return near[0] if ellipsis and ellipsis["link"] and len(near) == 1 else None


def _comparable(text: str) -> str:
    """Return `text` without what differs between a tweet and its note: escapes, spaces, a reply's leading mentions."""
    return re.sub(r"^(?:@\w+ )+", "", " ".join(html.unescape(text).split()))
