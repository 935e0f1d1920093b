"""A row of a table as a Post: which columns say what, by the names that people and other programs give them."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from components.errors import InputError
from components.fetch import json_parts, shapes
from components.fetch.sources import printable
from components.fetch.x_tweets import Account, client_of, is_status_link, time_of
from components.names import author_name
from components.posts import Entity, Kind, Post

LONGEST_ID = 200  # characters
TWEETS_CSV = {"tweet_id", "timestamp", "text", "retweeted_status_id"}  # the columns of X's own tweets.csv (to 2019)
IDS = ("id", "tweet_id")
AUTHORS = ("author", "username", "screen_name")
TIMES = ("created_at", "timestamp", "date")
LANGUAGES = ("language", "lang")
ANSWERED = ("reply_to", "in_reply_to_status_id")
CLIENTS = ("client", "source")
COLUMNS = {"text", "kind", "in_reply_to_user_id", *IDS, *AUTHORS, *TIMES, *LANGUAGES, *ANSWERED, *CLIENTS}
# What Mynah itself writes; the fields after the first seven are younger than some files.
POST_FIELDS = [field.name for field in fields(Post)]
ALWAYS = set(POST_FIELDS[:7])
MEND = "Mend or remove that row."
ENTITY_KINDS = {"url", "mention", "hashtag", "media"}

T = TypeVar("T")


def row_post(row: Mapping[str, Any], place: str, number: int, account: Account, door: str) -> Post:
    """The post of a row, the `number`-th of its table, which came through `door`. Raises InputError naming `place`."""
    # Only a file that mynah wrote says in `source` which door a post came through; others mean an app or a site.
    own = ALWAYS <= row.keys() <= set(POST_FIELDS) and isinstance(row["source"], str)
    text = printable(typed(row.get("text"), str, "text", place))
    own_id = _identity(_first(row, IDS, f"row-{number}"), place)
    if len(own_id) > LONGEST_ID:
        raise InputError(f"{place}: the id has {len(own_id)} characters, and {LONGEST_ID} is the most", "Shorten or remove it.")
    named = typed(_first(row, AUTHORS, ""), str, "the author", place)
    answered = _answered(row)
    return Post(
        id=printable(own_id),
        author=author_name(printable(named)) if named else account.author,
        text=text,
        created_at=_time(_first(row, TIMES, "")),
        kind=_tweet_kind(row) if door == "tweets-csv" else _kind(row.get("kind"), text, answered, place),
        language=printable(typed(_first(row, LANGUAGES, ""), str, "language", place)),
        source=printable(str(row["source"])) if own else door,
        entities=_entities(row.get("entities"), text) if own else (),
        reply_to=answered,
        reply_to_self=row.get("reply_to_self") is True if own else _answers_itself(row, account),
        client=printable(str(row.get("client") or "")) if own else client_of(_first(row, CLIENTS, "")),
    )


def typed(value: object, kind: type[T], what: str, place: str) -> T:
    """As json_parts has it; what mends an export does not mend a table."""
    try:
        return json_parts.typed(value, kind, what, place)
    except InputError as error:
        raise InputError(error.problem, MEND) from error


def _identity(value: object, place: str) -> str:
    return str(value) if type(value) is int else typed(value, str, "id", place)


def _first(row: Mapping[str, Any], names: tuple[str, ...], default: object) -> object:
    """The first of the fields `names` that says something."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), default)


def _answered(row: Mapping[str, Any]) -> str:
    value = _first(row, ANSWERED, "")
    number = printable(str(value)) if type(value) in (int, str) else ""
    return number if len(number) <= LONGEST_ID else ""


def _answers_itself(row: Mapping[str, Any], account: Account) -> bool:
    return bool(account.number) and str(row.get("in_reply_to_user_id") or "") == account.number


def _kind(value: object, text: str, answered: str, place: str) -> Kind:
    if value in (None, ""):
        return Kind.REPOST if text.startswith("RT @") else Kind.REPLY if answered else Kind.ORIGINAL
    try:
        return Kind(typed(value, str, "kind", place).strip().lower())
    except ValueError as error:
        problem = f"{place}: kind {printable(str(value))[:80]!r} is none of {', '.join(Kind)}"
        raise InputError(problem, "Write one of these, or leave it empty.") from error


def _tweet_kind(row: Mapping[str, Any]) -> Kind:
    if row.get("retweeted_status_id") or row["text"].startswith("RT @"):
        return Kind.REPOST
    if row.get("in_reply_to_status_id") or row.get("in_reply_to_user_id"):
        return Kind.REPLY
    links = (row.get("expanded_urls") or "").split(",")
    return Kind.QUOTE if any(is_status_link(link.strip()) for link in links) else Kind.ORIGINAL


def _time(value: object) -> datetime | None:
    """A time in UTC, of what a table has for one; None where it is none. Without a zone: UTC."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return time_of(value) if isinstance(value, str) else None


def _entities(value: object, text: str) -> tuple[Entity, ...]:
    spans = (
        (shapes.number(each.get("start")), shapes.number(each.get("end")), shapes.text(each.get("kind")))
        for each in shapes.records(value)
    )
    return shapes.entities((span for span in spans if span[2] in ENTITY_KINDS and span[0] >= 0), len(text))
