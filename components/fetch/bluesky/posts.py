"""Convert a record of app.bsky.feed.post, from the network or from a repository's CAR file, to a Post.

https://github.com/bluesky-social/atproto/blob/main/lexicons/app/bsky/feed/post.json. Many different clients write records, and nobody
validates them: any field may have any type.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from components.fetch import untrusted_json
from mynah.data.posts import Kind, Post

COLLECTION = "app.bsky.feed.post"
FEATURES = {"link": "url", "mention": "mention", "tag": "hashtag"}
TID = re.compile(r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}")  # https://atproto.com/specs/tid
TID_LETTERS = "234567abcdefghijklmnopqrstuvwxyz"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def post_of(record: dict[str, Any], key: str, did: str, author: str, source: str, seen: datetime | None = None) -> Post:
    """Convert a record to a Post.

    Args:
        record: The record.
        key: Its key in the repository.
        did: The repository.
        author: The author's name in the dataset.
        source: Post.source.
        seen: When the network first indexed it, where known.

    Returns:
        The post.
    """
    text = untrusted_json.text(record.get("text"))
    embed = untrusted_json.record(record.get("embed"))
    languages = [language for language in map(untrusted_json.text, _list(record.get("langs"))) if language]
    parent = untrusted_json.text(untrusted_json.record(untrusted_json.record(record.get("reply")).get("parent")).get("uri"))
    kind = Kind.REPLY if record.get("reply") else Kind.QUOTE if _quotes(embed) else Kind.ORIGINAL
    return Post(
        id=key,
        author=author,
        text=text,
        created_at=_time(untrusted_json.parse_time(record.get("createdAt")), seen, key),
        kind=kind,
        language=languages[0] if len(languages) == 1 else "",
        source=source,
        entities=untrusted_json.entities(_spans(record, text), len(text)),
        reply_to=key_of(parent),
        reply_to_self=parent.startswith(f"at://{did}/"),
    )


def key_of(uri: str) -> str:
    """Return the last part of at://did:plc:…/app.bsky.feed.post/3k…, at most 512 characters; https://atproto.com/specs/record-key."""
    return uri.rpartition("/")[2][:512]


def _time(created_at: datetime | None, seen: datetime | None, key: str) -> datetime | None:
    """Return when a post was written.

    That is its own `createdAt` or else the time in its key (most clients derive it from the clock), but never later than `seen`, when the
    network first indexed it. Records that were carried over from elsewhere have earlier times; some clients write the year 1.
    """
    time = created_at if created_at and created_at > EPOCH else _time_of_key(key)
    return min(time, seen) if time and seen else time or seen


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
    """Return whether the embed is a post, and not a feed, a list or a starter pack."""
    inner = untrusted_json.record(embed.get("record"))
    uri = untrusted_json.text(inner.get("uri")) or untrusted_json.text(untrusted_json.record(inner.get("record")).get("uri"))
    return f"/{COLLECTION}/" in uri


def _spans(record: dict[str, Any], text: str) -> Iterator[tuple[int, int, str]]:
    """Yield links, mentions and hashtags. Facets count bytes of UTF-8, entities count code points."""
    facets = untrusted_json.records(record.get("facets"))
    raw = text.encode() if facets else b""
    starts = [offset for offset, byte in enumerate(raw) if byte & 0xC0 != 0x80]  # byte offset of each code point
    positions = {offset: number for number, offset in enumerate([*starts, len(raw)])}
    for facet in facets:
        index = untrusted_json.record(facet.get("index"))
        start, end = (
            positions.get(untrusted_json.number(index.get(name)), -1) for name in ("byteStart", "byteEnd")
        )  # -1 inside a character
        kinds = [
            untrusted_json.text(feature.get("$type")).rpartition("#")[2]
            for feature in untrusted_json.records(facet.get("features"))
        ]
        kind = next((FEATURES[name] for name in kinds if name in FEATURES), "")
        if kind and 0 <= start < end:
            yield start, end, kind


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
