"""The modern X export: `data/manifest.js` lists the parts of `data/tweets.js`; long texts lie in `data/note-tweet.js`.

Only these, `account.js`, `profile.js` and the profile picture are ever opened: direct messages and phone numbers lie beside them.
"""

import html
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from components.errors import InputError
from components.fetch.archives import Archive
from components.fetch.json_parts import MEND, elements, identity, single_value, typed
from components.fetch.profile_picture import read_avatar
from components.fetch.sources import Content, printable
from components.names import author_name
from components.posts import Kind, Post

KIND = "x-export"
PART = re.compile(r"tweets?(?:-part([0-9]{1,9}))?\.js")
NOTE_PART = re.compile(r"note-tweet(?:-part([0-9]{1,9}))?\.js")
DATA_FOLDER = re.compile(r"(?:(?:[^/]+/)?data/)?(?=[^/]+$)")
MOST_PARTS = 1000
NOTE_WINDOW = timedelta(seconds=2)  # a note is stored up to this far from its tweet; the ids differ
LONG_TEXT = 100  # characters; a shorter text that carries no cut is whole, whatever note lies near
CUT = re.compile(r"…(?P<link>\s*https?://t\.co/\w+)?\s*$")
CREATED_AT = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d\d) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d) (\d{4})", re.ASCII)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
STATUS = re.compile(r"https?://(?:www\.|mobile\.)?(?:twitter|x)\.com/\w+/status(?:es)?/[0-9]+(?:[?#].*)?", re.IGNORECASE)
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Note:
    """A long text, and when it was posted."""

    created_at: datetime
    text: str


def read_export(archive: Archive, stem: str) -> Content:
    """What the export in `archive` holds. Its author is the account's handle, or else made from the file's name `stem`.

    Raises InputError when it is no modern X export, lacks a part that it lists, or holds something else than it should.
    """
    data = _data_folder(archive)
    manifest = _object(archive, f"{data}manifest.js")
    parts = _listed_parts(archive, data, manifest) or _numbered(archive, data, PART)
    if not parts:
        raise InputError(f"{archive.label}: has no tweets.js in {data or 'its top'}", "Download the archive from X again.")
    if len(parts) > MOST_PARTS:
        raise InputError(f"{archive.label}: has {len(parts)} parts of tweets, and {MOST_PARTS} are read at most", MEND)
    notes = _numbered(archive, data, NOTE_PART)[:MOST_PARTS]
    size = sum(archive.size(member) for member in (*parts, *notes))
    author, display_name, bio, picture = _profile(archive, data, manifest)
    author = author_name(author or stem)

    def posts(advance: Advance) -> Iterator[Post]:
        known = _read_notes(archive, notes, advance)
        for part in parts:
            for place, element in _elements(archive, part, advance):
                yield _post(element, place, author, known)

    return Content(KIND, "own-account", size, posts, author, display_name, bio, read_avatar(archive, data, picture))


def created_at(text: str) -> datetime | None:
    """X's "Wed Feb 01 12:00:00 +0000 2023" in UTC; None where it is anything else.

    By hand, because strptime reads month names by the machine's locale and takes five times as long.
    """
    match = CREATED_AT.fullmatch(text)
    if not match or match[1] not in MONTHS:
        return None
    _, day, hour, minute, second, sign, ahead_h, ahead_m, year = match.groups()
    try:
        ahead = timedelta(hours=int(ahead_h), minutes=int(ahead_m))
        zone = timezone(-ahead if sign == "-" else ahead) if ahead else UTC
        month = MONTHS.index(match[1]) + 1
        return datetime(int(year), month, int(day), int(hour), int(minute), int(second), tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def is_status_link(url: str) -> bool:
    """Whether `url` points to a post on X, as a quoting post's link does (a post's own photo and video links do not)."""
    return STATUS.fullmatch(url) is not None


def _data_folder(archive: Archive) -> str:
    """The prefix of the export's data files: "data/", or "NAME/data/" where the export was packed anew, or ""."""
    found = set()
    for name in archive.names:
        match = DATA_FOLDER.match(name)
        if match and (name[match.end() :] == "manifest.js" or PART.fullmatch(name, match.end())):
            found.add(match[0])
    if "data/" in found:
        return "data/"
    inner = sorted(found - {""})
    if len(inner) > 1:
        raise InputError(f"{archive.label}: holds several exports ({', '.join(inner[:3])})", "Give each as a source of its own.")
    if not found:
        raise _not_an_export(archive)
    return inner[0] if inner else ""


def _not_an_export(archive: Archive) -> InputError:
    names = archive.names
    if any(name.endswith("tweets.csv") or "data/js/" in name for name in names):
        return InputError(
            f"{archive.label}: is an export of the old form (before 2019)", "Unpack it, and name its tweets.csv instead."
        )
    if "posts.jsonl" in names:
        return InputError(f"{archive.label}: is a folder of posts, not an X export", "Name its posts.jsonl instead.")
    problem = f"{archive.label}: is not an X export: it has neither data/manifest.js nor data/tweets.js"
    return InputError(problem, "Name the zip that X sent under Settings, Your account, Download an archive of your data.")


def _listed_parts(archive: Archive, data: str, manifest: dict[str, Any]) -> list[str]:
    """The members that the manifest lists as parts of the tweets; none where it lists none."""
    place = f"{archive.label}, {data}manifest.js"
    types = typed(manifest.get("dataTypes", {}), dict, "dataTypes", place)
    members: dict[str, None] = {}  # a set that keeps the order
    for key in ("tweets", "tweet"):
        files = typed(typed(types.get(key, {}), dict, f"dataTypes.{key}", place).get("files", []), list, "files", place)
        for file in files:
            name = typed(typed(file, dict, "an entry of files", place).get("fileName"), str, "fileName", place)
            folder, _, base = name.rpartition("/")
            if folder not in ("", "data") or not PART.fullmatch(base):
                raise InputError(f"{place}: lists {printable(name)[:200]!r} as tweets, which is no part of them", MEND)
            members[data + base] = None
    missing = sorted(members.keys() - set(archive.names))
    if missing:
        problem = f"{place}: lists {missing[0]}, which is not there"
        raise InputError(problem, "The archive is incomplete: download it from X again, or unpack it whole.")
    return list(members)


def _numbered(archive: Archive, data: str, pattern: re.Pattern[str]) -> list[str]:
    """The members of the data folder whose names fit `pattern`, in the order of their part numbers."""
    found = []
    for name in archive.names:
        match = pattern.fullmatch(name.removeprefix(data)) if name.startswith(data) else None
        if match:
            found.append((int(match[1] or 0), name))
    return [name for _, name in sorted(found)]


def _object(archive: Archive, member: str) -> dict[str, Any]:
    """The object that a small file assigns; {} where the archive lacks it."""
    if member not in archive.names:
        return {}
    place = f"{archive.label}, {member}"
    with closing(archive.chunks(member)) as chunks:
        return typed(single_value(chunks, place), dict, "the value", place)


def _first_element(archive: Archive, member: str, key: str) -> dict[str, Any]:
    """The object under `key` of the first element of a small file; {} where the archive lacks it."""
    if member not in archive.names:
        return {}
    found = [
        typed(typed(element, dict, "the element", place).get(key, {}), dict, key, place)
        for place, element in _elements(archive, member)
    ]
    return found[0] if found else {}


def _profile(archive: Archive, data: str, manifest: dict[str, Any]) -> tuple[str, str, str, str]:
    """Handle, display name, bio and the profile picture's address; "" for what the export does not say."""
    place = f"{archive.label}, {data}manifest.js"
    user = typed(manifest.get("userInfo", {}), dict, "userInfo", place)
    account = _first_element(archive, f"{data}account.js", "account")
    profile = _first_element(archive, f"{data}profile.js", "profile")
    description = typed(profile.get("description") or {}, dict, "description", f"{archive.label}, {data}profile.js")
    handle = user.get("userName") or account.get("username") or ""
    name = user.get("displayName") or account.get("accountDisplayName") or ""
    return (
        typed(handle, str, "the handle", place),
        printable(typed(name, str, "the display name", place)),
        printable(typed(description.get("bio") or "", str, "the bio", f"{archive.label}, {data}profile.js")),
        str(profile.get("avatarMediaUrl") or ""),  # of an odd shape it names no file
    )


def _elements(archive: Archive, member: str, advance: Advance = lambda _: None) -> Iterator[tuple[str, Any]]:
    """The elements of a member, with their places; the member is closed at the end, also at a bad one."""
    with closing(_counted(archive, member, advance)) as chunks:
        yield from elements(chunks, f"{archive.label}, {member}")


def _counted(archive: Archive, member: str, advance: Advance) -> Generator[bytes, None, None]:
    with closing(archive.chunks(member)) as chunks:
        for chunk in chunks:
            yield chunk
            advance(len(chunk))


def _read_notes(archive: Archive, members: list[str], advance: Advance) -> list[Note]:
    """The long texts, in the order of time."""
    notes = []
    for member in members:
        for place, element in _elements(archive, member, advance):
            note = typed(typed(element, dict, "the element", place).get("noteTweet"), dict, "noteTweet", place)
            stamp = typed(note.get("createdAt"), str, "createdAt", place)
            text = typed(typed(note.get("core"), dict, "core", place).get("text"), str, "core.text", place)
            notes.append(Note(_note_time(stamp, place), printable(text)))
    return sorted(notes, key=lambda note: note.created_at)


def _note_time(stamp: str, place: str) -> datetime:
    try:
        when = datetime.fromisoformat(stamp)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{place}: createdAt {printable(stamp)[:80]!r} is no ISO 8601 time", MEND) from error


def _post(element: object, place: str, author: str, notes: list[Note]) -> Post:
    """The post that one element of a part describes, with or without its "tweet" wrapper."""
    tweet = typed(element, dict, "the element", place)
    if "tweet" in tweet:
        tweet = typed(tweet["tweet"], dict, "tweet", place)
    number = identity(tweet.get("id_str", tweet.get("id")), "id_str", place)
    if not re.fullmatch(r"[0-9]{1,20}", number):
        raise InputError(f"{place}: id_str {printable(number)[:80]!r} is no number", MEND)
    text = printable(typed(tweet.get("full_text", tweet.get("text")), str, "full_text", place))
    stamp = typed(tweet.get("created_at"), str, "created_at", place)
    when = created_at(stamp)
    if when is None:
        problem = f"{place}: created_at {printable(stamp)[:80]!r} is no time like 'Wed Feb 01 12:00:00 +0000 2023'"
        raise InputError(problem, MEND)
    kind = _kind(tweet, text, place)
    language = printable(typed(tweet.get("lang") or "", str, "lang", place))
    whole = text if kind is Kind.REPOST else _whole_text(text, when, notes)
    return Post(number, author, whole, when, kind, language, KIND)


def _kind(tweet: dict[str, Any], text: str, place: str) -> Kind:
    if text.startswith("RT @"):  # `retweeted` is false on every tweet of an export
        return Kind.REPOST
    if any(tweet.get(f"in_reply_to_{what}_id{form}") for what in ("status", "user") for form in ("", "_str")):
        return Kind.REPLY
    urls = typed(typed(tweet.get("entities") or {}, dict, "entities", place).get("urls") or [], list, "entities.urls", place)
    for url in urls:
        expanded = typed(url, dict, "an entry of entities.urls", place).get("expanded_url") or ""
        if is_status_link(typed(expanded, str, "expanded_url", place)):
            return Kind.QUOTE
    return Kind.ORIGINAL


def _whole_text(text: str, when: datetime, notes: list[Note]) -> str:
    """The note's text where `text` is its beginning, else `text`.

    Ids of notes and tweets differ, so time joins them and the beginning decides: posts of one thread lie seconds apart.
    Where X's own cut ("… https://t.co/…") has a single note near it, time alone suffices, since X may write a mention or
    a link otherwise in the note.
    """
    if not notes:
        return text
    cut = CUT.search(text)
    stem = _comparable(text[: cut.start()] if cut else text)
    if not cut and len(stem) < LONG_TEXT:
        return text
    first = bisect_left(notes, when - NOTE_WINDOW, key=lambda note: note.created_at)
    last = bisect_right(notes, when + NOTE_WINDOW, key=lambda note: note.created_at)
    near = notes[first:last]
    fitting = [note for note in near if _comparable(note.text).startswith(stem)]
    if fitting:
        return min(fitting, key=lambda note: abs(note.created_at - when)).text
    return near[0].text if cut and cut["link"] and len(near) == 1 else text


def _comparable(text: str) -> str:
    """`text` without what X writes differently in a tweet and in its note: escapes, spaces, the mentions of a reply."""
    return re.sub(r"^(?:@\w+ )+", "", " ".join(html.unescape(text).split()))
