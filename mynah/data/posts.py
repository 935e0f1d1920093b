"""`Post`, the record that every source yields."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.files import read_lines, write_lines

POSTS_FILE = "posts.jsonl"
OLDEST = datetime.min.replace(tzinfo=UTC)


class Kind(StrEnum):
    """The relation of a post to other posts."""

    ORIGINAL = "original"
    REPLY = "reply"
    QUOTE = "quote"
    REPOST = "repost"


@dataclass(frozen=True, slots=True)
class Entity:
    """A span of a post's text that its platform marks: code points from `start` up to, but not including, `end`."""

    start: int
    end: int
    kind: str  # url, mention, hashtag or media


@dataclass(frozen=True, slots=True)
class Post:
    """A post as its platform returned it; the text is neither unescaped nor cleaned."""

    id: str
    author: str
    text: str
    created_at: datetime | None = None  # with a time zone
    kind: Kind = Kind.ORIGINAL
    language: str = ""  # BCP 47, or "" where unknown
    source: str = ""  # the reader it came through, such as x-export, tweets-csv, csv or jsonl
    entities: tuple[Entity, ...] = ()  # of the text as it is; sorted, without overlaps
    reply_to: str = ""  # the id of the post that it replies to, where known
    reply_to_self: bool = False  # it replies to its own author
    client: str = ""  # the program it was written with, such as "Twitter for iPhone"
    versions: tuple[
        str, ...
    ] = ()  # the ids of all known versions of an edited post whose every version has an id, the first one first
    edited_at: datetime | None = None  # when this text replaced an earlier one under the same id, where known

    def to_record(self) -> dict[str, object]:
        """Return the post as a JSON object; times in ISO 8601, UTC. What only edited posts have is left out of others."""
        record: dict[str, object] = {  # dataclasses.asdict would take as long as all else of reading a post
            "id": self.id, "author": self.author, "text": self.text, "created_at": _iso(self.created_at), "kind": self.kind.value,
            "language": self.language, "source": self.source,
            "entities": [{"start": each.start, "end": each.end, "kind": each.kind} for each in self.entities],
            "reply_to": self.reply_to, "reply_to_self": self.reply_to_self, "client": self.client,
        }  # fmt: skip
        if self.versions:
            record["versions"] = list(self.versions)
        if self.edited_at:
            record["edited_at"] = _iso(self.edited_at)
        return record

    @classmethod
    def from_record(cls, record: dict[str, object]) -> "Post":
        """Convert a record of `to_record` back to a Post. Raises InputError when a field is missing or of the wrong type."""
        try:
            when, edited = record.get("created_at"), record.get("edited_at")
            return cls(
                id=str(record["id"]),
                author=str(record["author"]),
                text=_text(record["text"]),
                created_at=_parse_time(str(when)) if when else None,
                kind=Kind(str(record.get("kind") or "original")),
                language=str(record.get("language") or ""),
                source=str(record.get("source") or ""),
                entities=_entities(record.get("entities")),
                reply_to=str(record.get("reply_to") or ""),
                reply_to_self=record.get("reply_to_self") is True,
                client=str(record.get("client") or ""),
                versions=versions_of(record.get("versions")),
                edited_at=_parse_time(str(edited)) if edited else None,
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"not a post ({error!r}): {str(record)[:120]}", "Run `mynah fetch` again.") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("the text is not a string")  # str(None) would be a post that says "None"
    return value


def _entities(value: object) -> tuple[Entity, ...]:
    return tuple(Entity(**fields) for fields in value) if isinstance(value, list) else ()


def versions_of(value: object) -> tuple[str, ...]:
    """Return `versions` of a record; none for what is no list of texts."""
    return tuple(value) if isinstance(value, list) and all(isinstance(version, str) for version in value) else ()


def _iso(time: datetime | None) -> str | None:
    return time.astimezone(UTC).isoformat() if time else None


def _parse_time(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError("created_at has no time zone")
    return when


def newest(posts: list[Post], limit: int) -> list[Post]:
    """Return the `limit` newest posts in their given order (0: all).

    Newest by id where every id is a number, since a platform's ids grow with time; else by time, where a post without one counts as older
    than those with one; else the last ones given. Posts without an id of their own have row-N, which is not a number: the order of a
    file is not chronological.
    """
    if not limit or len(posts) <= limit:
        return posts
    indices = range(len(posts))
    if _has_numbers(posts):
        ranked = sorted(indices, key=lambda index: _as_number(posts[index].id))
    else:
        ranked = sorted(indices, key=lambda index: posts[index].created_at or OLDEST)
    return [posts[index] for index in sorted(ranked[-limit:])]


def is_order_known(posts: list[Post]) -> bool:
    """Return whether ids or times say which of `posts` are the newest."""
    return _has_numbers(posts) or all(post.created_at for post in posts)


def _has_numbers(posts: list[Post]) -> bool:
    return all(post.id.isascii() and post.id.isdigit() for post in posts)


def _as_number(digits: str) -> tuple[int, str]:
    """Return a key that orders numbers of any length; int() rejects more than 4,300 digits."""
    plain = digits.lstrip("0")
    return len(plain), plain


def write_posts(folder: Path, posts: Iterable[Post]) -> None:
    """Write `posts.jsonl` into `folder`."""
    write_lines(folder / POSTS_FILE, (post.to_record() for post in posts))


def read_posts(folder: Path) -> Iterator[Post]:
    """Read the `posts.jsonl` that `mynah fetch` wrote into `folder`."""
    return (Post.from_record(record) for record in read_lines(folder / POSTS_FILE, "fetch"))
