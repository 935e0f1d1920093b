"""`Post`: the one record that every source yields."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from components.errors import InputError
from components.files import read_lines, write_lines

POSTS_FILE = "posts.jsonl"


class Kind(StrEnum):
    """What a post is to other posts."""

    ORIGINAL = "original"
    REPLY = "reply"
    QUOTE = "quote"
    REPOST = "repost"


@dataclass(frozen=True, slots=True)
class Entity:
    """A stretch of a post's text that its platform marks: code points from `start` up to, but not with, `end`."""

    start: int
    end: int
    kind: str  # url, mention, hashtag or media


@dataclass(frozen=True, slots=True)
class Post:
    """One post as its platform gave it: the text is not yet unescaped or cleaned."""

    id: str
    author: str
    text: str
    created_at: datetime | None = None  # with a time zone
    kind: Kind = Kind.ORIGINAL
    language: str = ""  # BCP 47, or "" where the source does not say
    source: str = ""  # the door it came through: x-export, tweets-csv, csv, jsonl
    entities: tuple[Entity, ...] = ()  # of the text as it stands; sorted, none overlaps another
    reply_to: str = ""  # the id of the post that it answers, where that is known
    reply_to_self: bool = False  # it answers the same author
    client: str = ""  # the program that it was written with: "Twitter for iPhone"

    def to_record(self) -> dict[str, object]:
        """The post as a JSON object; `created_at` in ISO 8601, UTC."""
        when = self.created_at.astimezone(UTC).isoformat() if self.created_at else None
        return asdict(self) | {"created_at": when, "kind": self.kind.value}

    @classmethod
    def from_record(cls, record: dict[str, object]) -> "Post":
        """The inverse of `to_record`. Raises InputError when a field is missing or of the wrong type."""
        try:
            when = record.get("created_at")
            return cls(
                id=str(record["id"]),
                author=str(record["author"]),
                text=_text(record["text"]),
                created_at=_moment(str(when)) if when else None,
                kind=Kind(str(record.get("kind") or "original")),
                language=str(record.get("language") or ""),
                source=str(record.get("source") or ""),
                entities=_entities(record.get("entities")),
                reply_to=str(record.get("reply_to") or ""),
                reply_to_self=record.get("reply_to_self") is True,
                client=str(record.get("client") or ""),
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"not a post ({error!r}): {str(record)[:120]}", "Run `mynah fetch` again.") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("the text is no text")  # str(None) would be a post that says "None"
    return value


def _entities(value: object) -> tuple[Entity, ...]:
    return tuple(Entity(**each) for each in value) if isinstance(value, list) else ()


def _moment(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError("created_at has no time zone")
    return when


def newest(posts: list[Post], limit: int) -> list[Post]:
    """The `limit` newest posts in their given order (0: all).

    Newest by id where every id is a number, since a platform's ids grow with time; else by time; else the last ones given.
    Posts without an id of their own have row-N, which is no number, for the order of a file says nothing.
    """
    if not limit or len(posts) <= limit:
        return posts
    places = range(len(posts))
    if all(post.id.isascii() and post.id.isdigit() for post in posts):
        ranked = sorted(places, key=lambda place: _as_number(posts[place].id))
    elif all(post.created_at for post in posts):
        ranked = sorted(places, key=lambda place: posts[place].created_at or datetime.min)
    else:
        ranked = list(places)
    return [posts[place] for place in sorted(ranked[-limit:])]


def _as_number(digits: str) -> tuple[int, str]:
    """A key that orders numbers of any length; int() refuses those of more than 4,300 digits."""
    plain = digits.lstrip("0")
    return len(plain), plain


def write_posts(folder: Path, posts: Iterable[Post]) -> None:
    """Write `posts.jsonl` into `folder`."""
    write_lines(folder / POSTS_FILE, (post.to_record() for post in posts))


def read_posts(folder: Path) -> Iterator[Post]:
    """Read the `posts.jsonl` that `mynah fetch` wrote into `folder`."""
    return (Post.from_record(record) for record in read_lines(folder / POSTS_FILE, "fetch"))
