"""Convert one post of an X export: text, kind, time, entities, and the long text that belongs to it.

The exports of all years have the same fields, as text or as numbers; only times are written in two formats.
"""

import contextlib
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any

from components.fetch import untrusted_json
from components.fetch.sources import printable
from components.fetch.x.export_entities import entities_of
from components.fetch.x.export_json import DOWNLOAD_AGAIN, identity, typed
from components.fetch.x.export_notes import Note, find_note
from mynah.core.errors import InputError
from mynah.data.posts import Kind, Post

CREATED_AT = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d\d) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d) (\d{4})", re.ASCII)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
STATUS = re.compile(r"https?://(?:www\.|mobile\.)?(?:twitter|x)\.com/\w+/status(?:es)?/[0-9]+(?:[?#].*)?", re.IGNORECASE)
NUMBER = re.compile(r"[0-9]{1,20}")
LONGEST_CLIENT = 100  # characters


@dataclass(frozen=True, slots=True)
class Account:
    """The owner of an export; "" for what the export lacks."""

    author: str
    number: str = ""  # the account's id


def post_of(element: object, place: str, account: Account, notes: Sequence[Note], source: str) -> Post:
    """Convert one element, with or without its "tweet" wrapper.

    Args:
        element: The parsed JSON.
        place: File and position, for messages.
        account: The export's owner.
        notes: The export's long texts, ordered by time.
        source: Post.source.

    Returns:
        The post.

    Raises:
        InputError: A field is missing or has the wrong type; the message names `place`.
    """
    tweet = typed(element, dict, "the element", place)
    if "tweet" in tweet:
        tweet = typed(tweet["tweet"], dict, "tweet", place)
    number = identity(tweet.get("id_str", tweet.get("id")), "id_str", place)
    if not NUMBER.fullmatch(number):
        raise InputError(f"{place}: id_str {printable(number)[:80]!r} is not a number", DOWNLOAD_AGAIN)
    text = printable(typed(tweet.get("full_text", tweet.get("text")), str, "full_text", place))
    when = _time(tweet, place)
    kind = _kind(tweet, text, place)
    note = None if kind is Kind.REPOST else find_note(text, when, notes)
    reply_to_user = _reply_to(tweet, "user")
    return Post(
        id=number,
        author=account.author,
        text=note.text if note else text,
        created_at=when,
        kind=kind,
        language=printable(typed(tweet.get("lang") or "", str, "lang", place)),
        source=source,
        entities=note.entities if note else entities_of(tweet, text),
        reply_to="" if kind is Kind.REPOST else _reply_to(tweet, "status"),
        reply_to_self=kind is Kind.REPLY and bool(reply_to_user) and reply_to_user == (account.number or _own_number(tweet)),
        client=client_of(tweet.get("source")),
    )


def _time(tweet: dict[str, Any], place: str) -> datetime:
    stamp = typed(tweet.get("created_at"), str, "created_at", place)
    when = time_of(stamp)
    if when is None:
        problem = f"{place}: created_at {printable(stamp)[:80]!r} is not a time like 'Wed Feb 01 12:00:00 +0000 2023'"
        raise InputError(problem, DOWNLOAD_AGAIN)
    return when


def created_at(text: str) -> datetime | None:
    """Parse X's "Wed Feb 01 12:00:00 +0000 2023" to UTC; None for anything else.

    strptime reads month names by the machine's locale and takes five times as long.
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


def time_of(text: str) -> datetime | None:
    """Parse an ISO 8601 time, also as written before 2019 ("2017-01-01 21:48:41 +0000"), or X's own, to UTC; None for neither."""
    plain = text.strip()
    return created_at(plain) or untrusted_json.parse_time(plain.replace(" +", "+").replace(" -", "-"))


def is_status_link(url: str) -> bool:
    """Return whether `url` points to a post on X, as a quoting post's link does (a post's own photo and video links do not)."""
    return STATUS.fullmatch(url) is not None


def client_of(value: object) -> str:
    """Return the client's name in `<a href="…" rel="nofollow">Twitter for iPhone</a>`; "" for what is not text."""
    return _client(value) if isinstance(value, str) else ""


@functools.lru_cache(maxsize=256)  # a person uses few clients
def _client(text: str) -> str:
    parser = _TextCollector()
    with contextlib.suppress(AssertionError):  # raised by the standard library's parser at "<![x["; the text before it is kept
        parser.feed(text[: 10 * LONGEST_CLIENT])
        parser.close()
    return printable(" ".join("".join(parser.words).split()))[:LONGEST_CLIENT]


class _TextCollector(HTMLParser):
    """Collects the text between the tags of an HTML fragment."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _kind(tweet: dict[str, Any], text: str, place: str) -> Kind:
    # `retweeted` is false on every tweet of an export; before 2019 a repost contains the reposted post.
    if text.startswith("RT @") or isinstance(tweet.get("retweeted_status"), dict):
        return Kind.REPOST
    if any(_replies_to(tweet, what) for what in ("status", "user")):
        return Kind.REPLY
    urls = typed(typed(tweet.get("entities") or {}, dict, "entities", place).get("urls") or [], list, "entities.urls", place)
    for url in urls:
        expanded = typed(url, dict, "an entry of entities.urls", place).get("expanded_url") or ""
        if is_status_link(typed(expanded, str, "expanded_url", place)):
            return Kind.QUOTE
    return Kind.ORIGINAL


def _replies_to(tweet: dict[str, Any], what: str) -> bool:
    return any(tweet.get(f"in_reply_to_{what}_id{form}") for form in ("_str", ""))


def _reply_to(tweet: dict[str, Any], what: str) -> str:
    """Return the id of the post (`what`: status) or account (user) that it replies to; "" for none."""
    value = tweet.get(f"in_reply_to_{what}_id_str") or tweet.get(f"in_reply_to_{what}_id") or ""
    number = str(value) if type(value) in (int, str) else ""
    return number if NUMBER.fullmatch(number) else ""


def _own_number(tweet: dict[str, Any]) -> str:
    """Return the account's id in a tweet before 2019, which contains its author."""
    return untrusted_json.text(untrusted_json.record(tweet.get("user")).get("id_str"))
