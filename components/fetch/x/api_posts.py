"""Convert a post of X's API (version 2) to a Post.

https://docs.x.com/x-api/fundamentals/data-dictionary. X's OpenAPI document of 2026 has `post` where the data dictionary, the responses
and tweepy have `tweet` (note_post for note_tweet, …): either name is read.
"""

import re
from collections.abc import Iterator
from typing import Any

from components.fetch import untrusted_json
from components.fetch.x.export_tweets import is_status_link
from mynah.data.posts import Kind, Post

SOURCE = "x-api"
# Fields without expansions: the objects that an expansion adds (quoted posts, their authors) are charged as well.
TWEET_FIELDS = [
    "created_at", "edit_history_tweet_ids", "entities", "in_reply_to_user_id", "lang", "note_tweet", "referenced_tweets", "source",
]  # fmt: skip


def is_superseded(tweet: dict[str, Any]) -> bool:
    """Return whether `tweet` is an earlier version of an edited post."""
    versions = _versions(tweet)
    return bool(versions) and int(versions[-1]) > int(tweet["id"])


def _versions(tweet: dict[str, Any]) -> list[str]:
    """Return the ids of the versions of `tweet`, the first one first."""
    versions = tweet.get("edit_history_tweet_ids") or tweet.get("edit_history_post_ids")
    return sorted(filter(_is_id, versions), key=int) if isinstance(versions, list) else []


def is_usable(tweet: dict[str, Any]) -> bool:
    """Return whether `tweet` has the fields that every post needs."""
    return _is_id(tweet.get("id")) and isinstance(tweet.get("text"), str)


def post_of(tweet: dict[str, Any], author: str, user_id: str) -> Post:
    """Convert a tweet to a Post. Text and positions stay escaped as X returns them.

    Args:
        tweet: A tweet for which `is_usable` is True.
        author: The author's name in the dataset.
        user_id: The id of the account.

    Returns:
        The post.
    """
    note = untrusted_json.record(tweet.get("note_tweet") or tweet.get("note_post"))
    note_text = untrusted_json.text(note.get("text"))
    text = note_text or untrusted_json.text(tweet["text"])
    entities = untrusted_json.record(note.get("entities") if note_text else tweet.get("entities"))
    referenced = {untrusted_json.text(item.get("type")): untrusted_json.text(item.get("id")) for item in _referenced(tweet)}
    reply_to_user = untrusted_json.text(tweet.get("in_reply_to_user_id"))
    versions = _versions(tweet)
    return Post(
        id=tweet["id"],
        author=author,
        text=text,
        created_at=untrusted_json.parse_time(tweet.get("created_at")),
        kind=_kind(referenced, reply_to_user, text, untrusted_json.record(tweet.get("entities"))),
        language=untrusted_json.text(tweet.get("lang")),
        source=SOURCE,
        entities=untrusted_json.entities(_spans(entities, text), len(text)),
        reply_to=referenced.get("replied_to", ""),
        reply_to_self=bool(reply_to_user) and reply_to_user == user_id,
        client=untrusted_json.text(tweet.get("source")),
        versions=tuple(versions) if len(versions) > 1 else (),
    )


def _referenced(tweet: dict[str, Any]) -> list[dict[str, Any]]:
    return untrusted_json.records(tweet.get("referenced_tweets") or tweet.get("referenced_posts"))


def _kind(referenced: dict[str, str], reply_to_user: str, text: str, entities: dict[str, Any]) -> Kind:
    if "retweeted" in referenced or text.startswith("RT @"):
        return Kind.REPOST
    if "replied_to" in referenced or reply_to_user:
        return Kind.REPLY
    links = (
        untrusted_json.text(url.get("expanded_url"))
        for url in untrusted_json.records(entities.get("urls"))
        if not url.get("media_key")
    )
    quotes = "quoted" in referenced or any(is_status_link(link) for link in links)  # a quoted post that is gone is only a link
    return Kind.QUOTE if quotes else Kind.ORIGINAL


def _spans(entities: dict[str, Any], text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the positions of links, media, mentions and hashtags."""
    for url in untrusted_json.records(entities.get("urls")):
        kind = "media" if url.get("media_key") or "/photo/" in untrusted_json.text(url.get("expanded_url")) else "url"
        yield from _placed(url, "", untrusted_json.text(url.get("url")), kind, text)
    for mention in untrusted_json.records(entities.get("mentions")):
        yield from _placed(mention, "[@\uff20]", untrusted_json.text(mention.get("username")), "mention", text)
    for hashtag in untrusted_json.records(entities.get("hashtags")):
        yield from _placed(hashtag, "[#\uff03]", untrusted_json.text(hashtag.get("tag")), "hashtag", text)


def _placed(entity: dict[str, Any], sign: str, shown: str, kind: str, text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the position of an entity in a text; the nearest one with the same words, since X's positions are not always exact.

    Args:
        entity: X's entity, with its start in code points.
        sign: A pattern that precedes the words, such as "[@]".
        shown: The words of the entity.
        kind: Entity.kind.
        text: The text.

    Yields:
        Start, end and kind; nothing where the words are not in the text.
    """
    start = untrusted_json.number(entity.get("start"))
    if shown and start >= 0:
        spans = [match.span() for match in re.finditer(rf"{sign}{re.escape(shown)}(?!\w)", text, re.IGNORECASE)]
        if spans:
            yield (*min(spans, key=lambda span: abs(span[0] - start)), kind)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}", value) is not None
