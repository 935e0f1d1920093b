"""A record of app.bsky.feed.post as a Post: the same from the network and from a repository's CAR file.

https://github.com/bluesky-social/atproto/blob/main/lexicons/app/bsky/feed/post.json. Clients of many makers write records, and nobody
checks them: any field may have any shape.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from components.fetch import shapes
from components.posts import Kind, Post

COLLECTION = "app.bsky.feed.post"
FEATURES = {"link": "url", "mention": "mention", "tag": "hashtag"}
TID = re.compile(r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}")  # https://atproto.com/specs/tid
TID_LETTERS = "234567abcdefghijklmnopqrstuvwxyz"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def post_of(record: dict[str, Any], key: str, did: str, author: str, source: str, seen: datetime | None = None) -> Post:
    """The post in `record` under `key` in the repository `did`; `seen` is when the network first saw it, where it says."""
    text = shapes.text(record.get("text"))
    embed = shapes.record(record.get("embed"))
    languages = [each for each in map(shapes.text, _list(record.get("langs"))) if each]
    parent = shapes.text(shapes.record(shapes.record(record.get("reply")).get("parent")).get("uri"))
    kind = Kind.REPLY if record.get("reply") else Kind.QUOTE if _quotes(embed) else Kind.ORIGINAL
    return Post(
        id=key,
        author=author,
        text=text,
        created_at=_time(shapes.moment(record.get("createdAt")), seen, key),
        kind=kind,
        language=languages[0] if len(languages) == 1 else "",
        source=source,
        entities=shapes.entities(_spans(record, text), len(text)),
        reply_to=key_of(parent),
        reply_to_self=parent.startswith(f"at://{did}/"),
    )


def key_of(uri: str) -> str:
    """The last part of at://did:plc:…/app.bsky.feed.post/3k…, of 512 characters at most; https://atproto.com/specs/record-key."""
    return uri.rpartition("/")[2][:512]


def _time(said: datetime | None, seen: datetime | None, key: str) -> datetime | None:
    """When a post was made: as it says, but not after it was seen; else by its key, which most clients make of the time."""
    found = said or _time_of_key(key)
    return min(found, seen) if found and seen else found or seen


def _time_of_key(key: str) -> datetime | None:
    if not TID.fullmatch(key):
        return None
    number = 0
    for letter in key:
        number = number * 32 + TID_LETTERS.index(letter)
    try:
        return EPOCH + timedelta(microseconds=number >> 10)
    except OverflowError:
        return None


def _quotes(embed: dict[str, Any]) -> bool:
    """Whether a post is embedded, and not a feed, a list or a starter pack."""
    inner = shapes.record(embed.get("record"))
    uri = shapes.text(inner.get("uri")) or shapes.text(shapes.record(inner.get("record")).get("uri"))
    return f"/{COLLECTION}/" in uri


def _spans(record: dict[str, Any], text: str) -> Iterator[tuple[int, int, str]]:
    """Links, mentions and hashtags; facets count bytes of UTF-8, entities code points."""
    facets = shapes.records(record.get("facets"))
    raw = text.encode() if facets else b""
    letters = [place for place, byte in enumerate(raw) if byte & 0xC0 != 0x80]  # where each begins
    places = {place: number for number, place in enumerate([*letters, len(raw)])}
    for facet in facets:
        index = shapes.record(facet.get("index"))
        start, end = (places.get(shapes.number(index.get(name)), -1) for name in ("byteStart", "byteEnd"))  # -1 within a letter
        kinds = [shapes.text(each.get("$type")).rpartition("#")[2] for each in shapes.records(facet.get("features"))]
        kind = next((FEATURES[each] for each in kinds if each in FEATURES), "")
        if kind and 0 <= start < end:
            yield start, end, kind


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
