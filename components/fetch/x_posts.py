"""A post of X's API (version 2) as a Post.

https://docs.x.com/x-api/fundamentals/data-dictionary. Its OpenAPI document of 2026 says `post` where the data dictionary, the answers
and tweepy say `tweet` (note_post for note_tweet, …): either name is read.
"""

import re
from collections.abc import Iterator
from typing import Any

from components.fetch import shapes
from components.fetch.x_tweets import is_status_link
from components.posts import Kind, Post

SOURCE = "x-api"
# Fields, and no expansion: what an expansion brings along (the quoted posts, their authors) is charged as well.
TWEET_FIELDS = [
    "created_at", "edit_history_tweet_ids", "entities", "in_reply_to_user_id", "lang", "note_tweet", "referenced_tweets", "source",
]  # fmt: skip


def is_superseded(tweet: dict[str, Any]) -> bool:
    """Whether it is an earlier version of an edited post."""
    versions = tweet.get("edit_history_tweet_ids") or tweet.get("edit_history_post_ids")
    numbers = [int(each) for each in versions if _is_id(each)] if isinstance(versions, list) else []
    return bool(numbers) and max(numbers) > int(tweet["id"])


def is_usable(tweet: dict[str, Any]) -> bool:
    """Whether it has what no post can do without."""
    return _is_id(tweet.get("id")) and isinstance(tweet.get("text"), str)


def post_of(tweet: dict[str, Any], author: str, user_id: str) -> Post:
    """A usable `tweet` of the account `user_id`, called `author`; text and positions as X escapes them."""
    note = shapes.record(tweet.get("note_tweet") or tweet.get("note_post"))
    whole = shapes.text(note.get("text"))
    text = whole or shapes.text(tweet["text"])
    marked = shapes.record(note.get("entities") if whole else tweet.get("entities"))
    named = {shapes.text(each.get("type")): shapes.text(each.get("id")) for each in _referenced(tweet)}
    answered = shapes.text(tweet.get("in_reply_to_user_id"))
    return Post(
        id=tweet["id"],
        author=author,
        text=text,
        created_at=shapes.moment(tweet.get("created_at")),
        kind=_kind(named, answered, text, shapes.record(tweet.get("entities"))),
        language=shapes.text(tweet.get("lang")),
        source=SOURCE,
        entities=shapes.entities(_spans(marked, text), len(text)),
        reply_to=named.get("replied_to", ""),
        reply_to_self=bool(answered) and answered == user_id,
        client=shapes.text(tweet.get("source")),
    )


def _referenced(tweet: dict[str, Any]) -> list[dict[str, Any]]:
    return shapes.records(tweet.get("referenced_tweets") or tweet.get("referenced_posts"))


def _kind(named: dict[str, str], answered: str, text: str, marked: dict[str, Any]) -> Kind:
    if "retweeted" in named or text.startswith("RT @"):
        return Kind.REPOST
    if "replied_to" in named or answered:
        return Kind.REPLY
    links = (shapes.text(url.get("expanded_url")) for url in shapes.records(marked.get("urls")) if not url.get("media_key"))
    quotes = "quoted" in named or any(is_status_link(link) for link in links)  # a quoted post that is gone is only a link
    return Kind.QUOTE if quotes else Kind.ORIGINAL


def _spans(marked: dict[str, Any], text: str) -> Iterator[tuple[int, int, str]]:
    """Where links, media, mentions and hashtags stand."""
    for url in shapes.records(marked.get("urls")):
        kind = "media" if url.get("media_key") or "/photo/" in shapes.text(url.get("expanded_url")) else "url"
        yield from _placed(url, "", shapes.text(url.get("url")), kind, text)
    for mention in shapes.records(marked.get("mentions")):
        yield from _placed(mention, "[@\uff20]", shapes.text(mention.get("username")), "mention", text)
    for hashtag in shapes.records(marked.get("hashtags")):
        yield from _placed(hashtag, "[#\uff03]", shapes.text(hashtag.get("tag")), "hashtag", text)


def _placed(entity: dict[str, Any], sign: str, words: str, kind: str, text: str) -> Iterator[tuple[int, int, str]]:
    """Where the entity stands, or else the nearest place that reads as it does: X's positions are not always those of its text."""
    start = shapes.number(entity.get("start"))
    if words and start >= 0:
        found = [match.span() for match in re.finditer(rf"{sign}{re.escape(words)}(?!\w)", text, re.IGNORECASE)]
        if found:
            yield (*min(found, key=lambda span: abs(span[0] - start)), kind)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}", value) is not None
