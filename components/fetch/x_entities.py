"""What X marks in a text of its exports: links, media, mentions, hashtags, by their places in the text as it stands, still escaped.

https://docs.x.com/x-api/fundamentals/data-dictionary; exports write the places as text. One of a wrong shape or place is left out:
without it a post is read all the same.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from components.fetch import shapes
from components.posts import Entity

# Of each kind: what it is called in a post, which field has its words, and what may stand before them.
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
LONGEST_FOLD = 3  # characters that str.casefold makes of one at most; a longer stretch is not even cut out, for there may be many
Spans = Iterator[tuple[int, int, str]]


def entities_of(tweet: dict[str, Any], text: str) -> tuple[Entity, ...]:
    """What is marked in the `text` of a tweet."""
    spans = set[tuple[int, int, str]]()
    for name in ("entities", "extended_entities"):
        marked = shapes.record(tweet.get(name))
        for key, (kind, field, signs) in IN_A_POST.items():
            for each in shapes.records(marked.get(key)):
                indices = each.get("indices")
                if isinstance(indices, list) and len(indices) == 2:
                    spans.update(_placed(text, indices, kind, shapes.text(each.get(field)), signs))
    return shapes.entities(spans, len(text))


def entities_of_note(core: dict[str, Any], text: str) -> tuple[Entity, ...]:
    """What is marked in the `text` of a long text's `core`."""
    spans = set[tuple[int, int, str]]()
    for key, (kind, field, signs) in IN_A_NOTE.items():
        for each in shapes.records(core.get(key)):
            spans.update(_placed(text, [each.get("fromIndex"), each.get("toIndex")], kind, shapes.text(each.get(field)), signs))
    return shapes.entities(spans, len(text))


def _placed(text: str, ends: Sequence[object], kind: str, words: str, signs: Sequence[str]) -> Spans:
    """The span from one of `ends` to the other, unless the text reads otherwise than `words` there: it is of another text then."""
    start, end = (_index(each) for each in ends)
    if not 0 <= start < end <= len(text) or (words and end - start > LONGEST_FOLD * len(words) + 1):
        return
    if not words or text[start:end].casefold() in [f"{sign}{words}".casefold() for sign in signs]:
        yield start, end, kind


def _index(value: object) -> int:
    """A place in a text; -1 for what is none."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        return int(value)
    return shapes.number(value)
