"""Entities in X exports: links, media, mentions and hashtags, by their positions in the text as stored, still escaped.

https://docs.x.com/x-api/fundamentals/data-dictionary; exports store positions as text. An invalid entity is skipped, and its post is
read all the same.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from components.fetch import untrusted_json
from mynah.data.posts import Entity

# For each field: the entity's kind, the field with its text, and the signs that may precede it.
IN_A_POST = {
    "urls": ("url", "url", ("",)),
    "media": ("media", "url", ("",)),
    "user_mentions": ("mention", "screen_name", ("@", "\uff20")),
    "hashtags": ("hashtag", "text", ("#", "\uff03")),
}
IN_A_NOTE = {
    "urls": ("url", "shortUrl", ("",)),
    "mentions": ("mention", "screenName", ("@", "\uff20")),
    "hashtags": ("hashtag", "text", ("#", "\uff03")),
}
LONGEST_FOLD = (
    3  # str.casefold turns one character into at most three; longer spans are rejected without slicing, as there may be many
)
Spans = Iterator[tuple[int, int, str]]


def entities_of(tweet: dict[str, Any], text: str) -> tuple[Entity, ...]:
    """Return the entities in the `text` of a tweet."""
    spans = set[tuple[int, int, str]]()
    for name in ("entities", "extended_entities"):
        entities = untrusted_json.record(tweet.get(name))
        for key, (kind, field, signs) in IN_A_POST.items():
            for entity in untrusted_json.records(entities.get(key)):
                indices = entity.get("indices")
                if isinstance(indices, list) and len(indices) == 2:
                    spans.update(_placed(text, indices, kind, untrusted_json.text(entity.get(field)), signs))
    return untrusted_json.entities(spans, len(text))


def entities_of_note(core: dict[str, Any], text: str) -> tuple[Entity, ...]:
    """Return the entities in the `text` of a note's `core`."""
    spans = set[tuple[int, int, str]]()
    for key, (kind, field, signs) in IN_A_NOTE.items():
        for entity in untrusted_json.records(core.get(key)):
            spans.update(
                _placed(
                    text, [entity.get("fromIndex"), entity.get("toIndex")], kind, untrusted_json.text(entity.get(field)), signs
                )
            )
    return untrusted_json.entities(spans, len(text))


def _placed(text: str, ends: Sequence[object], kind: str, shown: str, signs: Sequence[str]) -> Spans:
    """Yield the span of an entity, unless the text there differs from its words: then the position belongs to another text.

    Args:
        text: The text.
        ends: Start and end in code points, as numbers or text.
        kind: Entity.kind.
        shown: The words of the entity; "" where unknown.
        signs: What may precede the words, such as "@".

    Yields:
        Start, end and kind.
    """
    start, end = (_index(position) for position in ends)
    if not 0 <= start < end <= len(text) or (shown and end - start > LONGEST_FOLD * len(shown) + 1):
        return
    if not shown or text[start:end].casefold() in [f"{sign}{shown}".casefold() for sign in signs]:
        yield start, end, kind


def _index(value: object) -> int:
    """Convert a position in a text; -1 for an invalid one."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        return int(value)
    return untrusted_json.number(value)
